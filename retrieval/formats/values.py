"""Values of cells in known formats. Reads cells as data sets and exports write them, produces clean values."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime

from retrieval.formats.title_parts import clean
from retrieval.tabular import YEARS, RefusedRow, checked_seconds, parse_number, storable, utc_seconds

_DATES = ("%a %b %d %H:%M:%S %z %Y", "%Y/%m/%d", "%Y/%m/%d %H:%M:%S", "%Y-%m-%d", "%B %d, %Y")

Cells = Mapping[str, object]


def text(row: Cells, column: str) -> str:
    """The cell's text, cleaned of entities and spaces; empty for none."""
    value = row.get(column)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, list | dict):
        raise RefusedRow("a list or object where a text belongs", f"{column}: {str(value)[:80]}")
    return storable(clean(str(value)))


def required(row: Cells, column: str) -> str:
    """As `text`, but there must be one."""
    if not (value := text(row, column)):
        raise RefusedRow(f"{column} is missing")
    return value


def texts(value: object) -> tuple[str, ...]:
    """The texts of a list, cleaned, without empty ones and repetitions; a text is a list of one."""
    parts = value if isinstance(value, list) else [value]
    cleaned = (storable(clean(part)) for part in parts if isinstance(part, str))
    return tuple(dict.fromkeys(part for part in cleaned if part))


def split(value: str, separator: str) -> tuple[str, ...]:
    """The parts of a cleaned text."""
    return texts(list(value.split(separator)))


def number(row: Cells, column: str) -> float | None:
    """A finite number; None for an empty cell."""
    return parse_number(column, text(row, column))


def stars(row: Cells, column: str) -> float | None:
    """A rating from 1 to 5; None for an empty cell or 0, which means unrated.

    Half a star counts as one: stars keep their meaning, so four stays "liked" whatever the lowest possible rating is.
    """
    value = number(row, column)
    if value is None or value == 0:
        return None
    if not 0 < value <= 5:
        raise RefusedRow("rating is out of range", f"{value:g} is not in 0 to 5")
    return max(1.0, value)


def required_stars(row: Cells, column: str) -> float:
    """As `stars`, but there must be a rating."""
    if (value := stars(row, column)) is None:
        raise RefusedRow(f"{column} is missing")
    return value


def year(row: Cells, column: str) -> int | None:
    """The first four-digit year in a cell ("1994-09-10(加拿大)"); None if there is none, or an impossible one.

    A wrong year is no reason to lose the item.
    """
    written = text(row, column)
    match = re.fullmatch(r"(-?[0-9]{1,4})(?:\.0)?", written) or re.search(r"(?<![0-9])([12][0-9]{3})(?![0-9])", written)
    value = int(match[1]) if match else 0
    return value if value != 0 and value in YEARS else None


def timestamp(row: Cells, column: str) -> int | None:
    """Unix seconds of a date or a number; without a time zone it is UTC. None for an empty cell."""
    written = text(row, column)
    if not written:
        return None
    if written.isdigit() and len(written) > 8:
        return unix_seconds(row, column, milliseconds=len(written) > 11)
    return checked_seconds(utc_seconds(_date(written)), written[:80])


def unix_seconds(row: Cells, column: str, *, milliseconds: bool = False) -> int | None:
    """Unix seconds that are written as a number; None for an empty cell."""
    value = number(row, column)
    return None if value is None else checked_seconds(value / 1000 if milliseconds else value, f"{value:.0f}"[:80])


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
