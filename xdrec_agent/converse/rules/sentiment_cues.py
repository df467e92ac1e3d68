"""What is said about a mention. Reads masked clauses, produces the role of each mention: liked, known, asked about …"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from xdrec_agent.converse.lexicon import HAN
from xdrec_agent.converse.rules.mention_masking import MARK, Clause, Masked
from xdrec_agent.converse.rules.mentions import Mention

Role = Literal["like", "dislike", "known", "unseen", "forget", "meant", "refuse", "why", "why_not", "tell", "none"]

_SUBJECT: Final = (
    r"\b(?:i|we|you|she|he|they|do|did|would|really|also|always|just|absolutely|still|quite|if)\s+(?:\w+\s+){0,2}?"
)
_NEGATED: Final = (
    r"(?:do|did|does|would|could|can)\s?(?:n['’]?t|not)|never|cannot|can['’]?t|couldn['’]?t|didn['’]?t"
    r"|don['’]?t|wasn['’]?t|isn['’]?t"
)
_CUES: Final[tuple[tuple[Role, float, str], ...]] = (
    (
        "why_not",
        0,
        r"\bwhy not\b|\bwhy\b[^?]{0,25}?\b(?:not|isn['’]?t|wasn['’]?t|aren['’]?t|didn['’]?t|don['’]?t|no)\b"
        r"|\bhow come\b[^?]{0,30}?(?:\bnot\b|n['’]?t\b)|what about (?="
        + MARK
        + r"\s*\?)|为什么(?:不|没)[^，。？?]{0,6}|怎么(?:不|没)[^，。？?]{0,6}|为何(?:不|没)[^，。？?]{0,4}",
    ),
    ("why", 0, r"\bwhy\b|\bhow come\b|\bwhat made you\b|\breasons? for\b|\bexplain\b|为什么|为何|理由|凭什么|怎么会"),
    (
        "tell",
        0,
        r"^\s*(?:is|are|was)\s+(?:the\s+)?(?="
        + MARK
        + r")|\btell me (?:more |something )?about\b|\bmore about\b|\bwho(?:['’]s| is| was)?(?: the)? (?:wrote"
        r"|directed|made|author|director|by)\b|\bwho (?:wrote|directed|made)\b"
        r"|\bwhen (?:was|did|is)\b|\bwhat(?:['’]s| is| are)\b|\bdescribe\b|\bhow long\b|\bhow old\b"
        r"|\bdetails\b|介绍|讲讲|说说|讲的是什么|讲什么|谁写的|谁导演|谁拍的|作者是谁|哪一?年|多长",
    ),
    ("meant", 1, r"\bi mean(?:t)?\b|我说的是|我是说|我指的是"),
    (
        "forget",
        0,
        r"\b(?:forget|drop|remove|scratch|delete|take (?:out|off|away))\b(?:\s+about)?|忘掉|忘了|去掉|删掉|删除|不算",
    ),
    (
        "unseen",
        0,
        r"\b(?:have|has|had)\s?(?:n['’]?t|not|never)\s+(?:\w+\s+)?(?:seen|read|watched|heard|tried|finished)\b"
        r"|\bnever (?:seen|read|watched|heard)\b|\bnot (?:yet )?(?:seen|read|watched)\b|没有?(?:看|读|听"
        r"|玩)过|还没(?:看"
        r"|读|听)|没听说过|没看完",
    ),
    (
        "dislike",
        -0.5,
        r"\b(?:not|less|nothing)\s+(?:quite\s+|nearly\s+|so\s+|as\s+)*\w+\s+(?:as|than)\b|\bunlike\b"
        r"|\bnothing like\b|\bnot like\b|不要像|别像|不像|没有[^，。]{0,6}那么|不要太像|不要(?=" + MARK + "那)",
    ),
    ("like", 1, r"太(?:感人|好看|好|棒|精彩|美|赞|喜欢|爱|震撼|有意思|可爱|厉害|动人)[^，。]{0,3}了?"),
    (
        "dislike",
        -1,
        rf"\b(?:{_NEGATED})\s+(?:\w+\s+){{0,2}}?(?:like|love|enjoy|care for|stand|get into|finish|recommend"
        rf"|good|great)\b"
        r"|\b(?:hate[ds]?|dislike[ds]?|loathed?|despised?|detest(?:ed)?)\b|\bnot (?:really )?(?:a "
        r"|my )?(?:big |huge )?(?:fan|cup of tea|favou?rite|good|great|for me|into)\b"
        r"|\b(?:boring|awful|terrible|horrible|dull|overrated|disappoint\w+|too (?!as\b)(?!\s|,)\w+|bored me"
        r"|sucked|bad)\b"
        r"|不喜欢|不爱看|不爱|讨厌|受不了|不太喜欢|不怎么喜欢|无聊|难看|失望|太[^，。太]{1,6}了|不好看"
        r"|看不下去|读不下去|不行|烂片|反感|一般般",
    ),
    ("like", 0.5, r"\b(?:ok|okay|decent|alright|all right|fine|not bad|so so)\b|\badd\b|加上|加入|还行|还可以|还不错"),
    (
        "like",
        1,
        _SUBJECT + r"(?:like|love|enjoy|adore|prefer)\b"
        r"|\b(?:loved|liked|enjoyed|adored?|dug|loving|enjoying|(?:huge |big )?fans? of"
        r"|favou?rites?(?: \w+)? (?:is|are|was)|favou?rites?|into|in the vein of|similar to|such as"
        r"|reminds? me of|along the lines of)\b"
        r"|\b(?:something|anything|more|stuff|things?|books?|films?|movies?|novels?|stories|one|ones|just|much"
        r"|bit|works?|\w+er|feels?|vibe)\s+(?:of that|like)\b|\blike(?=\s+" + MARK + r")|^\s*like\b|\bmore of\b"
        r"|\b(?:great|brilliant|wonderful|amazing|fantastic|excellent|superb|beautiful|perfect|good|fun"
        r"|masterpiece|awesome|nice|interesting|intriguing|promising|tempting|masterpieces|sounds? \w+"
        r"|love it|lovely|gem|best)\b"
        r"|喜欢|爱看|超爱|最爱|热爱|钟爱|很爱|爱死|像|类似|好看|不错|很棒|太棒了|精彩|很好|最好看|经典"
        r"|迷上|推荐给我类似",
    ),
    (
        "known",
        0,
        r"\b(?:i|we)(?:['’]ve|\s+have)?\s+(?:already\s+|just\s+|also\s+|both\s+|all\s+)*(?:read|seen|watched"
        r"|saw|know|knew|finished|own|heard|reread|rewatched)\b"
        r"|\balready\s+(?:read|seen|watched|know|own|have)\b|\b(?:read|seen|watched|know)(?=\s+(?:it|that"
        r"|those|these|them|all)\b)|\bi have\b(?!\s+to)"
        r"|看过|读过|看完|读完|听过|玩过|知道|看了|读了|已经看|已经读",
    ),
    (
        "refuse",
        0,
        r"\bnone of\b|\bnot(?=\s+(?:the\s+)?"
        + MARK
        + r")|\b(?:skip|without|no more|leave out|not interested in|anything but|except|don['’]?t want"
        r"|don['’]?t (?:show|give|recommend)(?: me)?)\b|不要|不想看|不想读|别推荐|别给我|换掉|除了|跳过",
    ),
)
_COMPILED: Final = tuple((role, strength, re.compile(pattern, re.I)) for role, strength, pattern in _CUES)
_MARKS: Final = re.compile(MARK)
_PREDICATE: Final = re.compile(
    r"\s*(?:was|is|were|are|felt|seemed|sounds?)\s+(?:(?:really|very|so|just|pretty|quite|also|a bit"
    r"|absolutely|the|my|a|an)\s+)*"
    r"|[，,\s]*(?:[这那][一]?[部本]?)?(?:也|很|真|都|真的|非常|实在|有点|就|我|觉得|挺)*"
)
"""What may stand between an item and what is said of it, behind it."""
_BEFORE_ANOTHER: Final = re.compile(rf"[^，,。]*{MARK}")
_OPINIONS: Final = frozenset({"like", "dislike"})


@dataclass(frozen=True)
class Cue:
    """Words of a clause (characters `start` to `end` of it) that give mentions a role."""

    role: Role
    preference: float
    start: int
    end: int


@dataclass(frozen=True)
class Said:
    """A mention and what is said of it; `hint` is the text around it, in which a noun may tell its domain."""

    mention: Mention
    role: Role
    preference: float
    before: str
    after: str
    sentence: int


def cues_of(text: str) -> list[Cue]:
    """The cues of a clause in order, none overlapping; the tables' earlier ones win."""
    found: list[Cue] = []
    for role, preference, pattern in _COMPILED:
        for match in pattern.finditer(text):
            if match[0] and not any(match.start() < c.end and c.start < match.end() for c in found):
                found.append(Cue(role, preference, match.start(), match.end()))
    return sorted(found, key=lambda cue: cue.start)


def roles(masked: Masked) -> list[Said]:
    """The role of every mention, in order."""
    out: list[Said] = []
    for clause in masked.clauses():
        out += _in_clause(masked, clause)
    return out


def _in_clause(masked: Masked, clause: Clause) -> list[Said]:
    cues = cues_of(clause.text)
    meant = any(cue.role == "meant" for cue in cues)
    out = []
    for match in _MARKS.finditer(clause.text):
        cue = _cue_for(clause.text, match.start(), cues)
        role, preference = (cue.role, cue.preference) if cue else ("none", 0.0)
        if meant and role == "refuse":
            role = "forget"
        before, after = clause.text[: match.start()], clause.text[match.end() :]
        out.append(Said(masked.of(match[0]), role, preference, before, after, clause.sentence))
    return out


def _cue_for(text: str, at: int, cues: list[Cue]) -> Cue | None:
    """The nearest cue before the mention, else the first after it; an opinion behind it outdoes mere knowing."""
    earlier = [cue for cue in cues if cue.end <= at]
    later = [cue for cue in cues if cue.start > at]
    if later and later[0].role in _OPINIONS and _is_predicate(text, at, later[0]):
        return later[0]
    opinions = [cue for cue in later if cue.role in _OPINIONS and not _MARKS.search(text[cue.end :])]
    asks = [cue for cue in cues if cue.role in {"why", "why_not", "tell"}]
    if asks and not (earlier and earlier[-1].role in _OPINIONS and asks[0].start > at):
        return asks[0]
    if earlier:
        cue = earlier[-1]
        if cue.role == "known" and opinions:
            return opinions[0]
        # "X was great, but …": what was said of an earlier mention does not reach over a comma and a new subject.
        last = [m.start() for m in _MARKS.finditer(text[:at])]
        if (
            last
            and cue.start > last[-1]
            and later
            and not re.search(r"\b(?:and|or)\b|和|[,、，]", text[last[-1] : cue.start])
        ):
            return later[0] if _is_behind(text, cue) else cue
        return cue
    return opinions[0] if opinions and later[0].role == "known" else (later[0] if later else None)


def _is_predicate(text: str, at: int, cue: Cue) -> bool:
    """Whether a cue says something of the mention right before it, and not of one behind it."""
    if not _PREDICATE.fullmatch(text[at + 1 : cue.start]):
        return False
    return (
        not _BEFORE_ANOTHER.match(text[cue.end :])
        if HAN.search(text[cue.start : cue.end])
        else text[at + 1 : cue.start].strip(", ") != ""
    )


def _is_behind(text: str, cue: Cue) -> bool:
    """Whether a cue speaks of what stands before it ("X was great")."""
    return (
        re.search(r"(?:\b(?:was|is|were|are|so|very|really)\s+(?:\w+\s+)?|也|很|真|都)$", text[: cue.start], re.I)
        is not None
    )
