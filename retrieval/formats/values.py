"""What the cells of known formats mean. Reads values as data sets and exports write them, produces ours."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime

from retrieval.formats.naming import clean
from retrieval.tabular import YEARS, RefusedRow

_DATES = ("%a %b %d %H:%M:%S %z %Y", "%Y/%m/%d", "%Y/%m/%d %H:%M:%S", "%Y-%m-%d", "%B %d, %Y")
_NOT_TEXT = re.compile("[\0\ud800-\udfff]")
_LAST_SECOND = 253_402_300_799


def text(row: Mapping[str, object], column: str) -> str:
    """The cell's text, cleaned of entities and spaces; empty for none."""
    value = row.get(column)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, list | dict):
        raise RefusedRow("a list or object where a text belongs", f"{column}: {str(value)[:80]}")
    return _storable(clean(str(value)))


def required(row: Mapping[str, object], column: str) -> str:
    """As `text`, but there must be one."""
    found = text(row, column)
    if not found:
        raise RefusedRow(f"{column} is missing")
    return found


def texts(value: object) -> tuple[str, ...]:
    """The texts of a list, cleaned, without empty ones and repetitions; a text is a list of one."""
    parts = value if isinstance(value, list) else [value]
    cleaned = (_storable(clean(part)) for part in parts if isinstance(part, str))
    return tuple(dict.fromkeys(part for part in cleaned if part))


def split(value: str, separator: str) -> tuple[str, ...]:
    """The parts of a cleaned text."""
    return texts(list(value.split(separator)))


def number(row: Mapping[str, object], column: str) -> float | None:
    """A finite number; None for an empty cell."""
    written = text(row, column)
    if not written:
        return None
    try:
        value = float(written)
    except ValueError as exc:
        raise RefusedRow(f"{column} does not parse", repr(written[:80])) from exc
    if not math.isfinite(value):
        raise RefusedRow(f"{column} does not parse", repr(written[:80]))
    return value


def stars(row: Mapping[str, object], column: str, *, highest: float = 5) -> float | None:
    """A rating from 1 to 5; None for an empty cell or 0, which means unrated.

    Half a star counts as one: stars keep their meaning, so four stays "liked" whatever the lowest possible rating is.
    """
    value = number(row, column)
    if value is None or value == 0:
        return None
    if not 0 < value <= highest:
        raise RefusedRow("rating is out of range", f"{value:g} is not in 0 to {highest:g}")
    return max(1.0, value * 5 / highest)


def year(row: Mapping[str, object], column: str) -> int | None:
    """The first four-digit year in a cell ("1994-09-10(加拿大)"); None if there is none, or an impossible one.

    A wrong year is no reason to lose the item.
    """
    written = text(row, column)
    found = re.fullmatch(r"(-?[0-9]{1,4})(?:\.0)?", written) or re.search(r"(?<![0-9])([12][0-9]{3})(?![0-9])", written)
    value = int(found[1]) if found else None
    return value if value is not None and value != 0 and value in YEARS else None


def moment(row: Mapping[str, object], column: str) -> int | None:
    """Unix seconds of a date; without a time zone it is UTC. None for an empty cell."""
    written = text(row, column)
    if not written:
        return None
    if written.isdigit() and len(written) > 8:
        return unix(row, column, milliseconds=len(written) > 11)
    found = _date(written)
    return _seconds((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp(), written)


def _date(written: str) -> datetime:
    try:
        return datetime.fromisoformat(written.replace("/", "-"))
    except ValueError:
        pass
    for format_ in _DATES:
        try:
            return datetime.strptime(written, format_)
        except ValueError:
            continue
    raise RefusedRow("date does not parse", repr(written[:80]))


def unix(row: Mapping[str, object], column: str, *, milliseconds: bool = False) -> int | None:
    """Unix seconds that are written as a number; None for an empty cell."""
    value = number(row, column)
    return None if value is None else _seconds(value / 1000 if milliseconds else value, f"{value:.0f}")


def _seconds(value: float, written: str) -> int:
    if not 0 <= value <= _LAST_SECOND:
        raise RefusedRow("timestamp is out of range", written[:80])
    return int(value)


def _storable(value: str) -> str:
    if value.isascii() and "\0" not in value:
        return value
    if _NOT_TEXT.search(value):
        raise RefusedRow("a character that is not text", ascii(value)[:80])
    return value
