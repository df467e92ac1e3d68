"""What was shown, spoken of by its place. Reads a text and the shown items, produces mentions of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from xdrec_agent.converse.rules.mentions import Ids, Mention
from xdrec_agent.converse.rules.vocabulary import NUMBERS
from xdrec_agent.converse.state import ItemRef

_ORD: Final = "first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|[0-9]{1,2}(?:st|nd|rd|th)"
_ONE: Final = r"(?:\s+(?:one|ones|book|film|movie|novel|title|suggestion|recommendation|option|item|pick))?\b"
_COUNT: Final = "two|three|four|five|[2-9]"
_HAN: Final = "[一二三四五六七八九十]{1,2}|[0-9]{1,2}"
_MEASURE: Final = "[本部个张首款项]"
_NOT_A_PLACE: Final = r"(?!\s+(?:thought|time|world war|half|century|place))"

Places = Callable[[re.Match[str], int], Iterable[int]]


def _number(written: str) -> int:
    digits = re.match(r"[0-9]+", written)
    return int(digits[0]) if digits else NUMBERS[written.casefold()]


_PATTERNS: Final[tuple[tuple[re.Pattern[str], Places], ...]] = (
    (re.compile(rf"\b(?:the\s+)?first\s+({_COUNT})\b", re.I), lambda m, n: range(1, _number(m[1]) + 1)),
    (
        re.compile(rf"\b(?:the\s+)?last\s+({_COUNT})\b(?!\s+(?:years|decades))", re.I),
        lambda m, n: range(n - _number(m[1]) + 1, n + 1),
    ),
    (re.compile(rf"前({_HAN}|两){_MEASURE}"), lambda m, n: range(1, _number(m[1]) + 1)),
    (re.compile(rf"最后({_HAN}|两){_MEASURE}"), lambda m, n: range(n - max(1, _number(m[1])) + 1, n + 1)),
    (
        re.compile(
            rf"\b(?:the\s+)?((?:{_ORD})(?:\s*(?:,|and|&|or)\s*(?:the\s+)?(?:{_ORD}))*){_ONE}{_NOT_A_PLACE}", re.I
        ),
        lambda m, n: [_number(x) for x in re.findall(_ORD, m[1], re.I)],
    ),
    (
        re.compile(r"\bnumber\s+(one|two|three|four|five|six|seven|eight|nine|ten)\b", re.I),
        lambda m, n: [_number(m[1])],
    ),
    (
        re.compile(r"(?:\b(?:number|no\.|nr\.?|numbers)\s*|#)([0-9]{1,2}(?:\s*(?:,|and|&)\s*#?[0-9]{1,2})*)\b", re.I),
        lambda m, n: [int(x) for x in re.findall(r"[0-9]+", m[1])],
    ),
    (
        re.compile(rf"(第(?:{_HAN}){_MEASURE}?(?:[、和与跟,，]第(?:{_HAN}){_MEASURE}?)*)(?![季部集]|世纪)"),
        lambda m, n: [_number(x) for x in re.findall(rf"第({_HAN})", m[1])],
    ),
    (re.compile(rf"\b(?:the\s+)?last(?:\s+one|\s+book|\s+film|\s+movie)\b|最后一{_MEASURE}", re.I), lambda m, n: [n]),
    (
        re.compile(r"\ball\s+(?:of\s+)?(?:these|those|them)\b|\bthem all\b", re.I),
        lambda m, n: range(1, n + 1),
    ),
    (re.compile(r"这些|它们|这几[本部个]|这[两三四五][本部个](?!书|电影|小说)"), lambda m, n: range(1, n + 1)),
)
_THESE: Final = re.compile(r"\b(?:these|those)\b(?!\s+(?:two|three|days))", re.I)
_THIS: Final = re.compile(
    r"\b(?:that one|this one|that (?:book|film|movie|novel)|this (?:book|film|movie|novel)|it|that)\b"
    r"|[这那][一]?[本部个](?!书|电影|小说|[两三四五])|它(?!们)",
    re.I,
)
_IN_LIST: Final = re.compile(
    r"\b(?:read|seen|know|watched|not|like)\s+((?:[1-9]|10)(?:\s*(?:,|and|&)\s*(?:[1-9]|10))*)\s*(?:$|[.,!?])", re.I
)


def find_references(text: str, shown: Sequence[ItemRef], focus: Sequence[ItemRef]) -> list[Mention]:
    """The places of shown items in the text, in order; a place beyond the list names nothing.

    "this one" and "it" name what was spoken of last (`focus`), and nothing if that is not one thing.
    """
    found: list[Mention] = []

    def add(match: re.Match[str], ids: Ids, group: int = 0) -> None:
        mention = Mention(match.start(group), match.end(group), match[group], ids, "shown")
        if not any(mention.overlaps(other) for other in found):
            found.append(mention)

    for pattern, places in _PATTERNS:
        for match in pattern.finditer(text):
            wanted = [n for n in places(match, len(shown)) if 1 <= n <= len(shown)]
            add(match, tuple(shown[n - 1].key for n in dict.fromkeys(wanted)))
    for match in _IN_LIST.finditer(text):
        wanted = [int(x) for x in re.findall(r"[0-9]+", match[1])]
        if shown and all(n <= len(shown) for n in wanted):
            add(match, tuple(shown[n - 1].key for n in wanted), 1)
    for match in _THESE.finditer(text):
        if shown:
            add(match, tuple(ref.key for ref in shown))
    if len(focus) == 1:
        for match in _THIS.finditer(text):
            add(match, (focus[0].key,))
    return sorted(found, key=lambda m: m.start)
