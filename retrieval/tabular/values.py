"""Values of cells. Reads text, produces numbers, years and times, or refuses the row that holds it."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Final

YEARS: Final = range(-3000, 2101)
"""Years that an item may be of."""
_NOT_TEXT: Final = re.compile("[\0\ud800-\udfff]")
_LAST_SECOND: Final = 253_402_300_799  # of the year 9999; milliseconds since 1970 lie beyond it


class RefusedRow(Exception):
    """A row without a usable meaning. `reason` is one of a few constants, `detail` names the value."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


def storable(text: str) -> str:
    """The text, if both databases can store it: they accept neither NUL nor half a surrogate pair."""
    if (not text.isascii() or "\0" in text) and _NOT_TEXT.search(text):
        raise RefusedRow("a character that is not text", ascii(text)[:80])
    return text


def parse_number(name: str, text: str) -> float | None:
    """A finite number; None for an empty text. `name` is what the reason calls it."""
    if not text:
        return None
    try:
        number = float(text)
    except ValueError as exc:
        raise RefusedRow(f"{name} does not parse", repr(text[:80])) from exc
    if not math.isfinite(number):
        raise RefusedRow(f"{name} does not parse", repr(text[:80]))
    return number


def utc_seconds(moment: datetime) -> float:
    """Unix seconds; a time without a zone is UTC."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def checked_seconds(seconds: float, detail: str) -> int:
    """Whole Unix seconds from 1970 to 9999."""
    if not 0 <= seconds <= _LAST_SECOND:
        raise RefusedRow("timestamp is out of range", detail)
    return int(seconds)
