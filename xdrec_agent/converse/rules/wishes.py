"""What is left. Reads a text without mentions and limits, produces a free wish, small talk, or "not for us"."""

from __future__ import annotations

import re
from typing import Final, Literal

from xdrec_agent.converse.rules.mention_masking import MARK
from xdrec_agent.converse.state import WISH

Talk = Literal["greeting", "thanks", "bye", "help", "off_topic", "dropped_question"]

_TALK: Final[tuple[tuple[Talk, re.Pattern[str]], ...]] = (
    (
        "help",
        re.compile(
            r"^(?:help|what can you do|how do(?:es)? (?:this|it|that) work|what (?:are|is) (?:you|this)"
            r"|who are you)\b|你能做什么|你会什么|怎么用|帮助|你是谁",
            re.I,
        ),
    ),
    (
        "greeting",
        re.compile(
            r"^(?:hi|hello|hey|good (?:morning|evening|afternoon)|greetings|yo)(?:\s+(?:there|again"
            r"|everyone))?\s*[!.,]*\s*$|^(?:你好|您好|嗨|哈喽|早上好|晚上好)[呀啊！!。]*$",
            re.I,
        ),
    ),
    (
        "thanks",
        re.compile(
            r"^(?:ok(?:ay)?[\s,]+)?(?:many )?(?:thanks|thank you|thx|cheers|great|perfect|cool|nice|awesome"
            r"|lovely)\b|^(?:多谢|谢谢|谢了|太好了|好的谢谢)",
            re.I,
        ),
    ),
    (
        "bye",
        re.compile(
            r"^(?:good ?bye|bye|see you|good night|that['’]?s all|quit|exit)\b|^(?:再见|拜拜|晚安|就这样)", re.I
        ),
    ),
    (
        "dropped_question",
        re.compile(
            r"^(?:never ?mind|forget it|no(?:pe)?|none(?: of (?:them|these|those))?|no,? none.*|neither|skip it"
            r"|ok(?:ay)?|yes|yep|sure|fine)\s*[.!]*$|^(?:算了|那算了|不是|都不是|不用了|没事|好的?|嗯"
            r"|是的?)[。！!吧]*$",
            re.I,
        ),
    ),
)
_ORDERS: Final = re.compile(
    r"^(?:please\s+|can you\s+|could you\s+|now\s+)?(?:write|compose|translate|calculate|compute|solve"
    r"|draw|print|sing|ignore|disregard|pretend|act as|repeat|summari[sz]e|open|run|execute|delete|buy"
    r"|order|set|call|send|convert|reveal|output|teach|spell|code|tell me (?:a joke|who|what|how|when"
    r"|where))\b"
    r"|\b(?:system prompt|previous instructions|your instructions)\b|天气|几点|翻译|帮我写"
    r"|写一?[首篇段封]|算一下|等于几|讲个笑话"
    r"|唱首|忽略(?:之前|以上|你)",
    re.I,
)
_ASKS: Final = re.compile(
    r"^(?:so\s+|and\s+|hey\s+)?(?:what|who|when|where|how|which|why|is|are|do|does|did|can|could|will"
    r"|would|should)\b|[吗呢么？]$|什么|怎么|谁|哪里|哪儿|为什么|多少|[0-9]\s*[+*/]\s*[0-9]",
    re.I,
)
_OURS: Final = re.compile(
    r"\b(?:recommend\w*|suggest\w*|read|reading|watch|watching|book|books|film|films|movie|movies|novels?"
    r"|stor(?:y|ies)|something|anything|authors?|directors?|titles?|genres?|one like)\b|推荐|看什么"
    r"|读什么|书|电影|小说"
    r"|故事|好看|片",
    re.I,
)
_TRIGGER: Final = re.compile(
    r"\b(?:about|set in|set during|with|something|anything|mood|feel\w*|atmospher\w+|a bit|kind of|sort of"
    r"|where|ending|characters?|vibe|tone|themes?|stor(?:y|ies)|tale|like)\b|\b(?:more|less)\s+\w+"
    r"|\b(?:i (?:want|need)|i['’]d like|looking for|give me)\b"
    r"|\b(?!other\b|after\b|never\b|over\b|ever\b|together\b|number\b|author\b|writer\b|director\b"
    r"|remember\b|another\b|rather\b|under\b|later\b|newer\b|older\b|earlier\b|shorter\b|longer\b|reader\b"
    r"|either\b|answer\b|prefer\b|consider\b|however\b|summer\b|winter\b|order\b|whatever\b|matter\b"
    r"|order\b|letter\b|mother\b|father\b|brother\b|sister\b|character\b|ever\b|weather\b|water\b"
    r"|thriller\b|power\b|computer\b|paper\b|better\b)[a-z]{3,}er\b"
    r"|关于|想看|想读|想要|讲|一点|一些|点的|心情|氛围|感觉|风格|治愈|温暖|轻松|有趣|故事|[\u4e00-\u9fff]感",
    re.I,
)
_FILLER: Final = re.compile(
    r"\b(?:please|except|less|how|maybe|perhaps|published|released|written|made|something|anything|some|any|books?"
    r"|films?|movies?|novels?|ones?|only|just|also|too|well|though|really|actually|instead|now|then|hmm+"
    r"|ok(?:ay)?|i|i['’]?m|i['’]d|i['’]ve|we|you|me|it|to|be|the|a|an|of|for|from|in|by|and|or|but|if|can"
    r"|could|would|will|like|want|wanted|need|give|show|find|get|have|has|had|make|recommend|suggest|read"
    r"|watch|see|look(?:ing)?|after|is|are|was|do|does|did|so|that|this|there|hi|hey|hello|thanks|what"
    r"|which|should|next|not|no|nothing|don['’]?t|more|as|than|stuff|keep|good|time|one|more|please|again"
    r"|let['’]?s|go|with|about|prefer|rather|back|either|things?|lot|out|us|them|these|those|my|your)\b"
    r"|我|想|要|看|读|请|给|推荐|的|吧|吗|呢|啊|了|一个|一本|一部|本|部|些|点|有|没|没有|书|电影|小说"
    r"|故事|还|也|是|就|行|最好|可以|或者|和|与|有没有|来|不|那|这"
    r"|再|几|片|类|出版|别|好|什么|喜欢|都|很|今晚|今天",
    re.I,
)
_LEAD: Final = re.compile(
    r"^\W*(?:(?:i (?:want|need|would like)(?: it to be| to (?:read|watch|see))?|i['’]d (?:like"
    r"|love)(?: to (?:read|watch|see))?|i['’]m (?:looking for|after|in the mood for)|looking for|give me"
    r"|show me|find me|recommend(?: me)?|suggest|please|can you|could you|maybe|hmm|ok(?:ay)?)\b[\s,]*)+"
    r"|^(?:我?(?:想|要)(?:看|读|要|找)?|请|给我|推荐|最好|来点|来一?[本部个])+",
    re.I,
)


def small_talk(text: str) -> Talk | None:
    """What kind of small talk a whole utterance is; None: it is none."""
    bare = text.strip().strip("!.?~ ！。？")
    return next((talk for talk, pattern in _TALK if pattern.search(bare)), None)


def off_topic(text: str, *, understood: bool) -> bool:
    """Whether an utterance asks for something that a recommender does not do.

    Args:
        text: masked, without limits.
        understood: whether titles or limits were found in it: then only an order for something else is off topic.
    """
    bare = text.strip()
    if understood:
        return False
    if _ORDERS.search(bare):
        return True
    return not _OURS.search(bare) and (bare.endswith(("?", "？")) or _ASKS.search(bare.rstrip("?？!. ")) is not None)


def find_wish(text: str) -> str | None:
    """The free wish in a text without mentions and limits, in the person's words; None: there is none."""
    parts = []
    for clause in re.split(r"[.;!?。！？；\n]+", text):
        bare = re.sub(MARK, " ", clause)
        content = _FILLER.sub(" ", bare)
        if _TRIGGER.search(bare) and re.search(r"[^\W\d_]{2,}|[\u4e00-\u9fff]", content):
            wish = " ".join(_LEAD.sub("", bare).split()).strip(" ,，、")
            if wish:
                parts.append(wish)
    return "; ".join(parts)[:WISH] or None
