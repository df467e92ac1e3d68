"""Limits on length. Reads a text, produces how many pages or minutes there may be, where the catalogue tells."""

from __future__ import annotations

import re
from typing import Final

from xdrec_agent.converse.lexicon import DomainWords
from xdrec_agent.converse.rules.limits import Limits
from xdrec_agent.converse.state import Length
from xdrec_agent.converse.understanding import Remark

_NUMBER: Final = r"([0-9]{1,4})"
_UNIT: Final = r"(?:pages?|minutes?|mins?|hours?|hrs?|words|页|分钟|小时)"
_AT_MOST: Final = re.compile(
    rf"\b(?:under|below|less than|at most|no more than|not? longer than|up to|shorter than|max(?:imum)?"
    rf"|within|(?:un)?til)\s+{_NUMBER}\s*({_UNIT})|{_NUMBER}\s*({_UNIT})\s*(?:or less|or fewer|max|tops"
    rf"|at most|以内|以下|之内)|(?:不超过|少于|短于){_NUMBER}\s*({_UNIT})",
    re.I,
)
_AT_LEAST: Final = re.compile(
    rf"\b(?:over|above|more than|at least|longer than|no less than)\s+{_NUMBER}\s*({_UNIT})|(?:超过|多于"
    rf"|至少){_NUMBER}\s*({_UNIT})|{_NUMBER}\s*({_UNIT})\s*(?:or more|以上)",
    re.I,
)
_SHORTER: Final = re.compile(
    r"\bshort(?:er)?\b(?!\s+stor)|(?:\bnot|n['’]t) (?:too|so|very) long\b|不(?:要|想看|想读|喜欢)?太长|短一点|短一些"
    r"|短点|更短|不要太长|别太长|薄一点|太长了",
    re.I,
)
_LONGER: Final = re.compile(r"\blonger\b|\bnot (?:too|so) short\b|长一点|长一些|更长|厚一点", re.I)


def find_length(text: str, words: DomainWords, shown: tuple[float, ...], out: Limits) -> None:
    """Add the limit on length that the text names; `shown` are the lengths of what it may be compared to."""
    least = most = None
    found = None
    if found := _AT_MOST.search(text):
        most = _amount(found)
    elif found := _AT_LEAST.search(text):
        least = _amount(found)
    elif found := _SHORTER.search(text):
        most = min(shown) - 1 if shown else None
    elif found := _LONGER.search(text):
        least = max(shown) + 1 if shown else None
    if found is None:
        return
    out.spans.append(found.span())
    if words.length is None:
        out.remarks.append(Remark(note="no_length", text=found[0].strip()))
    elif least is None and most is None:  # "something short" with nothing to compare it to: the shorter half
        values = words.numbers[words.length]
        middle = values[len(values) // 2]
        is_short = _SHORTER.search(text) is not None
        out.length = Length(
            attribute=words.length, most=middle if is_short else None, least=None if is_short else middle
        )
    else:
        out.length = Length(attribute=words.length, least=least, most=most)


def _amount(found: re.Match[str]) -> float:
    number, unit = [group for group in found.groups() if group]
    return float(number) * (60 if unit.casefold().startswith(("hour", "hr", "小时")) else 1)
