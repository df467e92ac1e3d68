"""Periods. Reads a text, produces the years that it limits a choice to, and the places that say so."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from xdrec_agent.converse.rules.vocabulary import DECADES, NUMBERS

Limits = tuple[int | None, int | None]
"""First and last year, both included; None: open."""
_Rule = Callable[[re.Match[str], int], Limits]

_YEAR: Final = r"(1[0-9]{3}|20[0-9]{2})"
_TENS: Final = "twenties|thirties|forties|fifties|sixties|seventies|eighties|nineties"
_DECADE: Final = rf"(?:(?:the\s+)?(?:(1[0-9]|20)?['’]?([0-9]0)['’]?s|({_TENS})))"
_PART: Final = r"(?:(?:the\s+)?(?:early|mid|late)[\s-]+)?"
_CENTURY: Final = (
    r"(?:the\s+)?(?:(1?[0-9]|2[01])(?:st|nd|rd|th)|(eighteenth|nineteenth|twentieth|twenty-first|seventeenth))"
    r"[\s-]+century"
)
_CENTURIES: Final = {"seventeenth": 17, "eighteenth": 18, "nineteenth": 19, "twentieth": 20, "twenty-first": 21}
_NO: Final = r"(?:nothing|none|not|no(?:\s+\w+)?|never|don['’]?t\s+(?:want|show|give)(?:\s+me)?(?:\s+\w+)?)"
_HAN_DECADE: Final = r"(?:(?:上世纪|二十世纪|20世纪|上个世纪)?((?:19|20)?[0-9]0|[二三四五六七八九]十)年代)"
_HAN_YEAR: Final = r"(1[0-9]{3}|20[0-9]{2})\s*年?"
_HAN_NO: Final = r"(?:不要|别|不想要|不想看|除了|不看|不读)[^，。,.]{0,4}?"
_HAN_BEFORE: Final = "(?:以前|之前|前)"
_HAN_AFTER: Final = "(?:以后|之后|后|以来|至今|起)"
_RECENT: Final = 10


def _decade(century: str | None, tens: str | None, word: str | None) -> int:
    value = int(tens) if tens else DECADES[(word or "").casefold()]
    return (int(century) * 100 if century else (1900 if value >= 20 else 2000)) + value


def _han_decade(written: str) -> int:
    if written.isdigit():
        return int(written) if len(written) == 4 else _decade(None, written, None)
    return 1900 + DECADES[written[0]]


def _century(digits: str | None, word: str | None) -> Limits:
    number = int(digits) if digits else _CENTURIES[(word or "").casefold()]
    return (number - 1) * 100 + 1, number * 100


def _number(written: str) -> int:
    return int(written) if written.isdigit() else NUMBERS.get(written.casefold(), _RECENT)


_RULES: Final[tuple[tuple[str, _Rule], ...]] = (
    (rf"(?:between|from)\s+{_YEAR}\s*(?:and|to|until|-|–)\s*{_YEAR}", lambda m, now: (int(m[1]), int(m[2]))),
    (rf"{_YEAR}\s*(?:-|–|—|到|至)\s*{_HAN_YEAR}(?:之间|间)?", lambda m, now: (int(m[1]), int(m[2]))),
    (rf"{_HAN_YEAR}\s*(?:到|至|-)\s*{_HAN_YEAR}(?:之间|间)?", lambda m, now: (int(m[1]), int(m[2]))),
    (
        rf"(?:from\s+)?(?:between\s+)?{_DECADE}\s*(?:or|and|to|-|–|through)\s*{_DECADE}",
        lambda m, now: (_decade(m[1], m[2], m[3]), _decade(m[4] or m[1], m[5], m[6]) + 9),
    ),
    (
        rf"{_NO}\s+(?:\w+\s+){{0,3}}?(?:after|newer than|later than|more recent than|past|beyond"
        rf"|since)\s+(?:the\s+year\s+)?{_YEAR}\b(?!s)",
        lambda m, now: (None, int(m[1])),
    ),
    (
        rf"{_NO}\s+(?:\w+\s+){{0,3}}?(?:before|older than|earlier than|prior to)\s+(?:the\s+year\s+)?{_YEAR}\b(?!s)",
        lambda m, now: (int(m[1]), None),
    ),
    (
        rf"{_NO}\s+(?:\w+\s+){{0,3}}?(?:after|newer than|later than|past)\s+{_DECADE}",
        lambda m, now: (None, _decade(m[1], m[2], m[3]) + 9),
    ),
    (
        rf"{_NO}\s+(?:\w+\s+){{0,3}}?(?:before|older than|earlier than)\s+{_DECADE}",
        lambda m, now: (_decade(m[1], m[2], m[3]), None),
    ),
    (
        rf"(?:before|older than|earlier than|prior to|pre)[\s-]+(?:the\s+year\s+)?{_YEAR}\b(?!s)",
        lambda m, now: (None, int(m[1]) - 1),
    ),
    (
        rf"(?:before|older than|earlier than|pre)[\s-]+{_PART}{_DECADE}",
        lambda m, now: (None, _decade(m[1], m[2], m[3]) - 1),
    ),
    (
        rf"(?:after|newer than|later than|post)[\s-]+(?:the\s+year\s+)?{_YEAR}\b(?!s)",
        lambda m, now: (int(m[1]) + 1, None),
    ),
    (rf"(?:after|newer than|later than|post)[\s-]+{_DECADE}", lambda m, now: (_decade(m[1], m[2], m[3]) + 10, None)),
    (rf"(?:since|from)\s+{_YEAR}\s*(?:on(?:wards?)?|or later|and later|up)?\b(?!s)", lambda m, now: (int(m[1]), None)),
    (
        rf"(?:since)\s+{_DECADE}|(?:from\s+)?{_DECADE}\s+(?:on(?:wards?)?|or later|and later|or newer)\b",
        lambda m, now: (_decade(m[1] or m[4], m[2] or m[5], m[3] or m[6]), None),
    ),
    (rf"(?:until|till|up to|by)\s+{_YEAR}\b(?!s)", lambda m, now: (None, int(m[1]))),
    (rf"{_YEAR}\s+(?:or|and)\s+(?:later|newer|after)", lambda m, now: (int(m[1]), None)),
    (rf"{_YEAR}\s+(?:or|and)\s+(?:earlier|older|before)", lambda m, now: (None, int(m[1]))),
    (
        r"(?:from\s+)?(?:in\s+)?(?:the\s+)?(?:last|past)\s+([0-9]{1,3}|couple|few|five|ten|twenty|two"
        r"|three)(?:\s+of)?\s+years",
        lambda m, now: (now - _number(m[1]), None),
    ),
    (r"(?:from\s+)?(?:the\s+)?(?:last|past)\s+decade", lambda m, now: (now - 10, None)),
    (r"\b(?:from\s+)?this century\b", lambda m, now: (2001, None)),
    (
        r"\b(?:something|anything|only|more|be|a)\s+(?:recent|contemporary)\b|\brecent (?:books?|films?"
        r"|movies?|novels?|ones?)\b|\brecently (?:published|released)\b",
        lambda m, now: (now - _RECENT, None),
    ),
    (
        rf"(?:from|in|of|written in|published in|made in)\s+{_CENTURY}|{_CENTURY}",
        lambda m, now: _century(m[1] or m[3], m[2] or m[4]),
    ),
    (
        rf"(?:from|in|of|during)?\s*{_PART}\b{_DECADE}\b",
        lambda m, now: (_decade(m[1], m[2], m[3]), _decade(m[1], m[2], m[3]) + 9),
    ),
    (
        rf"(?:from|in|made in|published in|written in)\s+(?:the\s+year\s+)?{_YEAR}\b(?!s)",
        lambda m, now: (int(m[1]), int(m[1])),
    ),
    (rf"{_HAN_NO}{_HAN_DECADE}{_HAN_AFTER}", lambda m, now: (None, _han_decade(m[1]) - 1)),
    (rf"{_HAN_NO}{_HAN_DECADE}{_HAN_BEFORE}", lambda m, now: (_han_decade(m[1]), None)),
    (rf"{_HAN_NO}{_HAN_YEAR}{_HAN_AFTER}", lambda m, now: (None, int(m[1]) - 1)),
    (rf"{_HAN_NO}{_HAN_YEAR}{_HAN_BEFORE}", lambda m, now: (int(m[1]), None)),
    (rf"{_HAN_DECADE}{_HAN_BEFORE}", lambda m, now: (None, _han_decade(m[1]) - 1)),
    (rf"{_HAN_DECADE}{_HAN_AFTER}", lambda m, now: (_han_decade(m[1]), None)),
    (rf"{_HAN_YEAR}{_HAN_BEFORE}", lambda m, now: (None, int(m[1]) - 1)),
    (rf"{_HAN_YEAR}{_HAN_AFTER}", lambda m, now: (int(m[1]), None)),
    (
        r"(?:最近|近|过去)([一二两三四五六七八九十0-9]{1,3}|几)年(?:内|以来|来)?",
        lambda m, now: (now - _number(m[1]), None),
    ),
    (_HAN_DECADE, lambda m, now: (_han_decade(m[1]), _han_decade(m[1]) + 9)),
    (r"(十[一二三四五六七八九]|二十一?|1[0-9]|2[01])世纪", lambda m, now: _century(str(_han_number(m[1])), None)),
    (r"(?<![0-9])(1[0-9]{3}|20[0-9]{2})年(?!代)", lambda m, now: (int(m[1]), int(m[1]))),
)
_COMPILED: Final = tuple((re.compile(pattern, re.I), rule) for pattern, rule in _RULES)


def _han_number(written: str) -> int:
    if written.isdigit():
        return int(written)
    tens, _, ones = written.partition("十")
    return (NUMBERS[tens] if tens else 1) * 10 + (NUMBERS[ones] if ones else 0)


@dataclass(frozen=True)
class Period:
    """Years from `first` to `last`, both included, as characters `start` to `end` say."""

    first: int | None
    last: int | None
    start: int
    end: int


def find_period(text: str, this_year: int) -> Period | None:
    """The first rule that fits, the more particular first; None: no period is named."""
    found = _first_period(text, this_year)
    if found is None or (found.first is not None and found.last is not None):
        return found
    rest = text[: found.start] + " " * (found.end - found.start) + text[found.end :]
    other = _first_period(rest, this_year)
    if other is None or (other.first is None) == (found.first is None) or (other.first and other.last):
        return found
    # "after 1945 and before 1980" is said in two halves.
    first = found.first if found.first is not None else other.first
    last = found.last if found.last is not None else other.last
    return Period(first, last, min(found.start, other.start), max(found.end, other.end))


def _first_period(text: str, this_year: int) -> Period | None:
    for pattern, rule in _COMPILED:
        if match := pattern.search(text):
            first, last = rule(match, this_year)
            return Period(first, last, match.start(), match.end())
    return None
