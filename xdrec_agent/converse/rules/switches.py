"""Turns of the talk. Reads a text, produces what it says about domains, the reply's language and the talk."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from xdrec_agent.converse.rules.vocabulary import DOMAINS
from xdrec_agent.converse.state import Language

RESTART: Final = re.compile(
    r"\b(?:(?:let['’]?s |please )?(?:start|begin)(?:ing)? (?:all )?(?:over|again|anew|afresh|from scratch"
    r"|fresh)(?: from scratch)?|reset|new (?:conversation|dialogue|start)|from scratch|forget everything"
    r"|clear everything)\b"
    r"|重新开始|从头(?:再来|开始)|重来|重置|清空|重新来",
    re.I,
)
SAVE: Final = re.compile(
    r"\b(?:save|keep|store|remember)\s+(?:all\s+)?(?:my|these|those|what i)\s*(?:likes?|tastes?"
    r"|preferences?|favou?rites?|films?|books?|history|liked)?\b|保存|记住我",
    re.I,
)
OTHERS: Final = re.compile(
    r"\b(?:others|something (?:else|different)|different ones|another(?: (?:one|list|round|batch))?"
    r"|other (?:books?|films?|movies?|suggestions?|recommendations?|ones|titles)|more (?:suggestions"
    r"|recommendations|options)|new ones|not that kind|what else|anything else|not those|not these"
    r"|next (?:ones|page|five))\b"
    r"|换一?[批组些本部个]|别的|其他的|其它的|还有别的|换几[本部个]|再来[几一]|再推荐",
    re.I,
)
_REPLIES: Final[Mapping[Language, tuple[str, str]]] = {
    "zh": ("chinese|mandarin", "中文|汉语|普通话"),
    "en": ("english", "英文|英语"),
}
_LANGUAGE: Final[tuple[tuple[Language, re.Pattern[str]], ...]] = tuple(
    (
        code,
        re.compile(
            rf"\b(?:answer|reply|respond|speak|talk|write|explain|continue|switch|chat)\b[^.?!]{{0,20}}?\b(?:in"
            rf"|to)?\s*(?:{english})\b"
            rf"|(?:用|说|讲|换成|改用)(?:{chinese})(?:回答|回复|说|讲|交流|聊|吧|回|$)",
            re.I,
        ),
    )
    for code, (english, chinese) in _REPLIES.items()
)
_REQUEST: Final = (
    r"\b(?:now|make it|switch(?:ing)?(?: back)? to|back to|change to|(?:and )?what about|how about|recommend"
    r"|suggest|want|need|give me|show me|find me|got any|any|looking for|prefer|rather|in the mood for|try"
    r"|time for|maybe|actually)\W+(?:(?:me|a|an|some|to|the|good|more|see|other|great|few|have|another"
    r"|only|any)\W+){0,4}"
)
_HAN_REQUEST: Final = (
    r"(?:换成|换|改成|改看|还是|推荐|想看|想读|想听|找|来|要|有没有|看看|该看|该读|看)(?:推荐|看|读"
    r"|听)?(?:点|些|一|几|[一二两三四五几][本部个张首]|[本部个张首]|好的?){0,3}"
)
_VERBS: Final = re.compile(
    r"\b(?:something|anything|what|things?|one)\b[^.?!]{0,20}?\b(?:to|should i|can i|could i|do i|would i"
    r"|would you)\s+(?P<verb>read|watch|see|listen|play)\b|\b(?:want to|like to|love to|rather) (?P<verb2>read|watch"
    r"|listen|play)\b|\bfor (?:my|a|the) (?P<verb3>movie|film|reading)\b",
    re.I,
)
_OF_VERB: Final = {
    "read": "book",
    "watch": "film",
    "see": "film",
    "listen": "music",
    "play": "game",
    "movie": "film",
    "film": "film",
    "reading": "book",
}


def kind_of(domain: str) -> str | None:
    """The kind of a domain, by its name: "book" for "books", "my_books" …; None: a kind of its own."""
    words = set(re.split(r"[\W_]+", domain.casefold()))
    return next((kind for kind, nouns in DOMAINS.items() if words & {kind, kind + "s", *nouns}), None)


def domain_of(kind_or_noun: str, domains: Sequence[str]) -> str | None:
    """The domain of this kind; None: there is none."""
    return next((d for d in domains if kind_of(d) == kind_or_noun or d.casefold() == kind_or_noun.casefold()), None)


def nouns(kind: str | None, domain: str) -> str:
    """A pattern of the nouns for a domain."""
    names = {
        domain,
        domain.rstrip("s"),
        *(n for n in (DOMAINS[kind] if kind else ()) if n not in {"read", "reading", "listen", "play", "learn", "片"}),
    }
    latin = sorted((n for n in names if n.isascii()), key=len, reverse=True)
    han = sorted((n for n in names if not n.isascii()), key=len, reverse=True)
    return (
        r"(?:\b(?:"
        + "|".join(map(re.escape, latin))
        + r")\b"
        + ("|" + "|".join(map(re.escape, han)) if han else "")
        + ")"
    )


def find_target(text: str, domains: Sequence[str]) -> tuple[str | None, str | None]:
    """The domain that is asked for, and the noun of one that is asked for and not there.

    Args:
        text: masked.
    """
    first: tuple[int, str] | None = None
    for domain in domains:
        noun = nouns(kind_of(domain), domain)
        for pattern in (
            rf"{_REQUEST}{noun}(?!\s+(?:called|titled|like)?\s*[\ue000-\uf8ff])",
            rf"{noun}\s+(?:instead|now|this time|for tonight|tonight|would be better|please)\b",
            rf"\b(?:recommend|suggest)\b[^.?!]{{0,20}}?{noun}",
            rf"{_HAN_REQUEST}{noun}",
            rf"{noun}(?:吧|呢)",
        ):
            if (match := re.search(pattern, text, re.I)) and (first is None or match.start() < first[0]):
                first = (match.start(), domain)
    if first is not None:
        return first[1], None
    if verb := _VERBS.search(text):
        word = next(group for group in verb.groups() if group).casefold()
        found = domain_of(_OF_VERB[word], domains)
        return found, None if found else word
    absent = [kind for kind in DOMAINS if kind not in map(kind_of, domains)]
    for kind in absent:
        if match := re.search(rf"{_REQUEST}{nouns(kind, kind)}|{_HAN_REQUEST}{nouns(kind, kind)}", text, re.I):
            return None, match[0].strip()
    return None, None


def find_reply_language(text: str) -> tuple[Language, tuple[int, int]] | None:
    """The language that replies are asked for in, and where that is said."""
    for code, pattern in _LANGUAGE:
        if match := pattern.search(text):
            return code, match.span()
    return None


def written_in(text: str) -> Language | None:
    """The language that a masked text is written in; None: too little of it to tell."""
    if re.search(r"[\u4e00-\u9fff]", text):
        return "zh"
    return "en" if len(re.findall(r"\b[A-Za-z]{2,}\b|\bI\b", text)) >= 1 else None
