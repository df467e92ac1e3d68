"""Rows of plain tables. Reads values by column, produces an `Item` or `Interaction`, or refuses the row."""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from types import MappingProxyType
from typing import Final

from retrieval.errors import DataError, UsageError
from retrieval.types import EVENT_WEIGHTS, Attribute, Interaction, Item

ITEM_COLUMNS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "id": ("id", "item_id", "itemid", "movieid"),
        "title": ("title",),
        "aliases": ("aliases",),
        "creators": ("creators", "creator", "author", "authors", "director"),
        "year": ("year",),
        "language": ("language",),
        "categories": ("categories", "genres"),
        "series": ("series",),
        "volume": ("volume",),
        "edition_of": ("edition_of",),
        "description": ("description",),
        "links": ("links",),
        "media": ("media",),
        "available": ("available",),
    }
)
"""Accepted column names of each field of an item, in lower case, preferred ones first."""

INTERACTION_COLUMNS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "user": ("user", "user_id", "userid"),
        "item": ("item", "item_id", "itemid", "movieid"),
        "value": ("rating", "value", "weight"),
        "kind": ("kind", "event"),
        "timestamp": ("timestamp", "date"),
    }
)
"""As `ITEM_COLUMNS`, for interactions."""
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


class Columns:
    """Maps the columns of one file to fields; `split` gives the values of other columns apart.

    `known` is one of the tables above, `present` the file's columns so far. `named` maps fields (or one of
    their known column names) to columns. Columns that only turn up later in the file (JSONL) take the
    fields that are still free.

    Raises:
        UsageError: `named` names something that is not a field.
        DataError: `named` names a column that is not there, or a field of `required` has no column.
    """

    def __init__(
        self,
        known: Mapping[str, tuple[str, ...]],
        present: Iterable[str],
        named: Mapping[str, str],
        required: Iterable[str],
    ) -> None:
        self._known = known
        self._field_of: dict[str, str | None] = {}
        columns = list(present)
        there = f"the columns are: {', '.join(columns)}"
        fields = {name: field for field, names in known.items() for name in (*names, field)}
        for name, column in named.items():
            if name.casefold() not in fields:
                raise UsageError(f"{name!r} is not a field", hint=f"the fields are: {', '.join(known)}")
            if column not in columns:
                raise DataError(f"there is no column {column!r} for {name}", hint=there)
            self._field_of[column] = fields[name.casefold()]
        # Preferred names first: they take the field before another usual name does.
        for name in (name for names in known.values() for name in names):
            for column in columns:
                if column.casefold() == name and column not in self._field_of:
                    self._field_of[column] = self._free_field(column)
        for field in required:
            if not self.has(field):
                msg = f"no column for {field} (looked for {', '.join(known[field])})"
                raise DataError(msg, hint=f"name it: --column {field}=COLUMN; {there}")

    def has(self, field: str) -> bool:
        """Whether a column holds the field."""
        return field in self._field_of.values()

    def split(self, row: Mapping[str, object]) -> tuple[dict[str, object], dict[str, object]]:
        """The row's values by field, and those of all other columns by column."""
        fields: dict[str, object] = {}
        others: dict[str, object] = {}
        for column, value in row.items():
            if column not in self._field_of:
                self._field_of[column] = self._free_field(column)
            field = self._field_of[column]
            if field is None:
                others[column] = value
            else:
                fields[field] = value
        return fields, others

    def _free_field(self, column: str) -> str | None:
        for field, names in self._known.items():
            if column.casefold() in names and not self.has(field):
                return field
        return None


class ItemRows:
    """Rows of a catalogue. Columns that hold no field become attributes; `attributes` has their names."""

    def __init__(self, domain: str, columns: Columns, list_separator: str) -> None:
        self._domain = domain
        self._columns = columns
        self._separator = list_separator
        self.attributes: dict[str, None] = {}

    def parse(self, row: Mapping[str, object]) -> Item:
        """The item of a row."""
        fields, others = self._columns.split(row)
        get = fields.get
        title = " ".join(html.unescape(cell_text(get("title"))).split())
        values = {name: self._attribute(value) for name, value in others.items() if name.strip()}
        attributes = {storable(name): value for name, value in values.items() if value is not None}
        item = Item(
            domain=self._domain,
            id=_required("id is missing", cell_text(get("id"))),
            title=_required("title is empty", title),
            aliases=self._texts(get("aliases")),
            creators=self._texts(get("creators")),
            year=_year(get("year")),
            language=cell_text(get("language")) or None,
            categories=self._texts(get("categories")),
            series=html.unescape(cell_text(get("series"))) or None,
            volume=parse_number("volume", cell_text(get("volume"))),
            edition_of=cell_text(get("edition_of")) or None,
            description=html.unescape(cell_text(get("description"))).strip(),
            links=self._texts(get("links"), unescape=False),
            media=self._texts(get("media"), unescape=False),
            available=_available(get("available")),
            attributes=attributes,
        )
        self.attributes.update(dict.fromkeys(attributes))
        return item

    def _texts(self, value: object, *, unescape: bool = True) -> tuple[str, ...]:
        parts = map(cell_text, value if isinstance(value, list) else cell_text(value).split(self._separator))
        texts = [" ".join(html.unescape(text).split()) if unescape else text for text in parts]
        return tuple(dict.fromkeys(text for text in texts if text))

    def _attribute(self, value: object) -> Attribute | None:
        if isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
            return value
        if isinstance(value, list) and not any(isinstance(part, list | dict) for part in value):
            return self._texts(value, unescape=False) or None
        if isinstance(value, list | dict):
            return storable(json.dumps(value, ensure_ascii=False, sort_keys=True, default=str))
        text = cell_text(value)
        if self._separator in text:
            return self._texts(text, unescape=False) or None
        return _typed(text) if text else None


class InteractionRows:
    """Rows of interactions. Ratings on `scale` (lowest, highest) are mapped linearly to 1 to 5.

    `event` is the kind of rows that name none.
    """

    def __init__(self, domain: str, columns: Columns, scale: tuple[float, float], event: str) -> None:
        self._domain = domain
        self._columns = columns
        self._low, self._high = scale
        self._event = event.strip().casefold()

    def parse(self, row: Mapping[str, object]) -> Interaction:
        """The interaction of a row."""
        get = self._columns.split(row)[0].get
        kind = cell_text(get("kind")).casefold() or self._event
        value = parse_number("rating" if kind == "rating" else "weight", cell_text(get("value")))
        return Interaction(
            user=_required("user is missing", cell_text(get("user"))),
            domain=self._domain,
            item=_required("item is missing", cell_text(get("item"))),
            kind=kind,
            value=self._rating(value) if kind == "rating" else _weight(kind, value),
            timestamp=_timestamp(cell_text(get("timestamp"))),
        )

    def _rating(self, value: float | None) -> float:
        if value is None:
            raise RefusedRow("rating is missing")
        if not self._low <= value <= self._high:
            raise RefusedRow("rating is out of range", f"{value:g} is not in {self._low:g} to {self._high:g}")
        return round(1 + 4 * (value - self._low) / (self._high - self._low), 9)


def cell_text(value: object) -> str:
    """The stripped text of a cell, whatever type its file gives it; empty for none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, list | dict | bytes):
        raise RefusedRow("a list or object where a text belongs", str(value)[:80])
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, datetime | date):
        value = value.isoformat()
    return storable(str(value).strip())


def storable(text: str) -> str:
    """The text, if both databases can store it: they accept neither NUL nor half a surrogate pair."""
    if (not text.isascii() or "\0" in text) and _NOT_TEXT.search(text):
        raise RefusedRow("a character that is not text", ascii(text)[:80])
    return text


def parse_number(name: str, text: str) -> float | None:
    """A finite number; None for an empty text. `name` is what the reason calls it."""
    try:
        number = float(text or 0)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise RefusedRow(f"{name} does not parse", repr(text[:80]))
    return number if text else None


def unix_seconds(moment: float | datetime, written: str) -> int:
    """Whole Unix seconds, from 1970 to 9999; a time without a zone is UTC. `written` is shown if it is refused."""
    if isinstance(moment, datetime):
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not 0 <= moment <= _LAST_SECOND:
        raise RefusedRow("timestamp is out of range", written)
    return int(moment)


def _required(reason: str, text: str) -> str:
    if not text:
        raise RefusedRow(reason)
    return text


def _weight(kind: str, value: float | None) -> float:
    if value is None and kind in EVENT_WEIGHTS:
        return EVENT_WEIGHTS[kind]
    if value is None:
        raise RefusedRow("event without weight", f"{kind!r}; known without one: {', '.join(EVENT_WEIGHTS)}")
    if not 0 < value <= 1:
        raise RefusedRow("weight is out of range", f"{value:g} is not above 0 and at most 1")
    return value


def _year(value: object) -> int | None:
    number = parse_number("year", cell_text(value))
    if number is None:
        return None
    if not number.is_integer():
        raise RefusedRow("year does not parse", f"{number:g}")
    if int(number) not in YEARS:
        raise RefusedRow("year is out of range", f"{number:.0f} is not in {YEARS[0]} to {YEARS[-1]}")
    return int(number)


def _available(value: object) -> bool:
    text = cell_text(value).casefold()
    if text in {"", "true", "yes", "1"}:
        return True
    if text in {"false", "no", "0"}:
        return False
    raise RefusedRow("available does not parse", f"{text[:80]!r} is neither true nor false")


def _timestamp(text: str) -> int | None:
    """Unix seconds of a number or an ISO 8601 date."""
    if not text:
        return None
    moment: float | datetime
    try:
        moment = float(text)
    except ValueError:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError as exc:
            raise RefusedRow("timestamp does not parse", repr(text[:80])) from exc
    return unix_seconds(moment, f"{text[:80]} (Unix seconds or ISO 8601, from 1970 on; milliseconds?)")


def _typed(text: str) -> str | int | float | bool:
    """The number or truth value that is written exactly so ("007" and "1.50" stay texts), else the text."""
    if text in {"true", "false"}:
        return text == "true"
    if re.fullmatch(r"-?[0-9]{1,18}", text) and str(int(text)) == text:
        return int(text)
    if re.fullmatch(r"-?[0-9]+\.[0-9]+", text) and str(float(text)) == text:
        return float(text)
    return text
