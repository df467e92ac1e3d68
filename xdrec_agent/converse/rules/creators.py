"""Limits on creators. Reads a text, produces whose works are wanted or refused, or a question about the name."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from retrieval.titles import normalise
from xdrec_agent.converse.lexicon import HAN, DomainWords
from xdrec_agent.converse.rules.limits import ADDS, Limits
from xdrec_agent.converse.state import Option, Question
from xdrec_agent.converse.understanding import Remark

_NAMES: Final = (
    r"(?P<name>(?:[A-Z][\w'’.-]*|van|von|de|du|le|la|al|del|da)(?:\s+(?:[A-Z][\w'’.-]*|van|von|de|du|le|la"
    r"|al|del|da)){0,4})"
)
_BY: Final = re.compile(
    rf"(?P<no>\b(?i:nothing|no(?:t| more)?(?: \w+)?|none|anything not|never)\s+(?i:more\s+)?)?"
    rf"\b(?i:(?:written|directed|made|composed|anything|something)\s+)?(?i:by|from)\s+(?i:the\s+(?:author"
    rf"|director|writer)\s+)?{_NAMES}"
)
_BY_LOWER: Final = re.compile(
    r"(?P<no>\b(?:nothing|not|no more|none)\s+(?:more\s+)?)?\b(?:written|directed|books?|films?|movies?"
    r"|novels?|anything|something)?\s*\bby\s+(?P<name>[\w'’.-]+(?:\s+[\w'’.-]+){0,3})",
    re.I,
)
_POSSESSIVE: Final = re.compile(
    rf"(?P<no>\b(?i:no more|not|no)\s+)?{_NAMES}['’]s?\s+(?:books?|films?|movies?|novels?|works?|other)"
)
_NO_NAME: Final = re.compile(rf"(?P<no>\b(?i:no(?: more)?|not|enough|except|avoid|skip|without)\s+){_NAMES}")
_ALONE: Final = re.compile(
    rf"(?:^|[.?!,，]\s*)(?P<no>$^)?(?:(?:[Mm]aybe|[Pp]erhaps|(?:[Hh]ow|[Ww]hat) about)\s+)?{_NAMES}\s*(?=$|[.?!])"
)
_HAN_BY: Final = re.compile(
    r"(?P<no>不要|别)?(?:有没有|想看|想读|要|推荐|来点|来本|来部|看看)?(?P<name>[A-Za-z][\w .'-]*"
    r"|[\u4e00-\u9fff·]{2,8}?)\s*(?:写的|导演的|拍的|执导的|的(?:书|小说|电影|作品)?(?:有吗|吗|呢)?[?？]?$)"
)
_HAN_ASKED: Final = re.compile(r"有没有|有吗|写的|导演|执导|拍的|作品")
_NOT_ANY_MORE: Final = re.compile(
    r"\b(?:doesn['’]?t|does not|need ?n[o'’]t|needn['’]?t) (?:have to"
    r"|need to)?\s*be\s+(?:by\s+)?(?P<what>[\w .'-]+)|不一定(?:要|是|非要)?(?P<han>[\w·]+)",
    re.I,
)


def find_creators(text: str, words: DomainWords, out: Limits, known_elsewhere: Callable[[str], bool]) -> None:
    """Add the creators that the text names: those of the catalogue, or the questions about them."""
    if match := _NOT_ANY_MORE.search(text):
        what = normalise(match["what"] or match["han"] or "")
        if any(what.endswith(key) or what == key for key in words.creators if len(key) > 3):
            out.spans.append(match.span())
            out.put(clear=out.change.clear | {"creators"})
            return
    for pattern in (_BY, _POSSESSIVE, _NO_NAME, _ALONE, _BY_LOWER, *([_HAN_BY] if HAN.search(text) else [])):
        for match in pattern.finditer(text):
            if any(match.start() < end and start < match.end() for start, end in out.spans):
                continue
            name = match["name"].strip()
            full = _full_names(name, words)
            is_sure = pattern is _BY and re.search(r"\bby\b", match[0], re.I) is not None
            if not full and known_elsewhere(name):
                out.remarks.append(Remark(note="no_creator", text=name))
                out.spans.append(match.span())
                continue
            if not full and not is_sure and not (pattern is _HAN_BY and _HAN_ASKED.search(text)):
                continue
            if (
                pattern is _HAN_BY
                and not full
                and re.search("不|要|想|好看|一点|看过|喜欢|的|别|有没有|其他|作家|作者|导演|更", name)
            ):
                continue
            _creator(name, full, bool(match["no"]), words, out)
            out.spans.append(match.span())
    if out.change.creators and ADDS.search(text):
        out.put(add=out.change.add | {"creators"})


def _creator(name: str, full: tuple[str, ...], refused: bool, words: DomainWords, out: Limits) -> None:
    if refused:
        out.refused_creators += full
    elif len(full) == 1:
        out.put(creators=(*out.change.creators, *full))
    elif full:
        options = tuple(Option(creator=one) for one in full[:5])
        out.questions.append(Question(kind="ambiguous_creator", text=name, options=options))
    else:
        options = tuple(Option(creator=one) for one in _nearest_creators(name, words))
        out.questions.append(Question(kind="unknown_creator", text=name, options=options))


def _full_names(name: str, words: DomainWords) -> tuple[str, ...]:
    key = normalise(name)
    if found := words.creators.get(key):
        return tuple(sorted(found))
    parts = [words.name_parts.get(part, set()) for part in key.split()]
    return tuple(sorted(set.intersection(*parts))) if len(parts) > 1 else ()


def _nearest_creators(name: str, words: DomainWords) -> list[str]:
    from rapidfuzz import fuzz, process

    found = process.extract(normalise(name), list(words.creators), scorer=fuzz.ratio, limit=5, score_cutoff=70)
    return list(dict.fromkeys(full for key, _, _ in found for full in sorted(words.creators[key])))[:3]
