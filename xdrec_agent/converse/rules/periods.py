"""Periods. Reads a text, produces the years that it limits a choice to, and the place that says so."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from xdrec_agent.converse.grammar import Grammar, PeriodRule
from xdrec_agent.converse.rules.mention_masking import blanked

_RECENT: Final = 10  # years
_Years = tuple[int | None, int | None]


@dataclass(frozen=True)
class Period:
    """Years from `first` to `last` (both included, None: open), as characters `start` to `end` say."""

    first: int | None
    last: int | None
    start: int
    end: int


def find_period(text: str, grammar: Grammar, this_year: int) -> Period | None:
    """The first rule that fits, the more particular first; None: no period is named."""
    found = _first_period(text, grammar, this_year)
    if found is None or (found.first is not None and found.last is not None):
        return found
    other = _first_period(blanked(text, [(found.start, found.end)]), grammar, this_year)
    if other is None or (other.first is None) == (found.first is None) or (other.first and other.last):
        return found
    # "after 1945 and before 1980" is said in two halves.
    first = found.first if found.first is not None else other.first
    last = found.last if found.last is not None else other.last
    return Period(first, last, min(found.start, other.start), max(found.end, other.end))


def _first_period(text: str, grammar: Grammar, this_year: int) -> Period | None:
    for rule in grammar.periods:
        if match := rule.pattern.search(text):
            first, last = _limits(rule, match, grammar, this_year)
            return Period(first, last, match.start(), match.end())
    return None


def _limits(rule: PeriodRule, match: re.Match[str], grammar: Grammar, this_year: int) -> _Years:
    """First and last year that a rule's relation to the time of its match leaves."""
    times = match.groupdict()
    if rule.relation == "recent":
        return this_year - (grammar.numbers.value(times.get("number") or "") or _RECENT), None
    first, last = (rule.year, rule.year) if rule.year else _time(times, "", grammar)
    _, end = _time(times, "2", grammar) if rule.relation == "between" else (None, last)
    limits: dict[str, _Years] = {
        "between": (first, end),
        "in": (first, last),
        "before": (None, (first or 0) - 1),
        "until": (None, last),
        "after": ((last or 0) + 1, None),
        "since": (first, None),
    }
    return limits[rule.relation]


def _time(times: dict[str, str | None], nth: str, grammar: Grammar) -> _Years:
    """First and last year of the (`nth`) year, decade or century of a match."""
    if year := times.get(f"year{nth}"):
        return int(year), int(year)
    if decade := times.get(f"decade{nth}"):
        value = _digits(decade) or grammar.numbers.words.get(decade.casefold(), 0)
        if value < 100:  # "1930s or 40s" are of one century
            named = _digits(times.get("decade") or "") // 100
            value += named * 100 or (1900 if value >= 20 else 2000)
        return value, value + 9
    number = grammar.numbers.value(times.get(f"century{nth}") or "") or 0
    return (number - 1) * 100 + 1, number * 100


def _digits(written: str) -> int:
    return int("".join(re.findall("[0-9]", written)) or 0)
