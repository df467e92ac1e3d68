"""What a row of a file means. Reads its values, produces an `Item` or `Interaction`, or refuses the row."""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime

from retrieval.tabular.columns import Columns
from retrieval.types import EVENT_WEIGHTS, Attribute, Interaction, Item

YEARS = range(-3000, 2101)
"""Years that an item may be of."""
_NOT_TEXT = re.compile("[\0\ud800-\udfff]")
_LAST_SECOND = 253_402_300_799  # of the year 9999; milliseconds since 1970 lie beyond it


class RefusedRow(Exception):
    """A row that means nothing. `reason` is one of a few constants, `detail` names the value."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class ItemRows:
    """Rows of a catalogue. Columns that hold no field become attributes; `attributes` has their names."""

    def __init__(self, domain: str, columns: Columns, list_separator: str) -> None:
        self._domain = domain
        self._columns = columns
        self._separator = list_separator
        self.attributes: dict[str, None] = {}

    def parse(self, row: Mapping[str, object]) -> Item:
        """The item of a row."""
        get, others = self._columns.split(row)
        title = " ".join(html.unescape(_text(get.get("title"))).split())
        attributes = {name: self._attribute(value) for name, value in others.items() if name.strip()}
        found = {_storable(name): value for name, value in attributes.items() if value is not None}
        item = Item(
            domain=self._domain,
            id=_text(get.get("id")) or _refuse("id is missing"),
            title=title or _refuse("title is empty"),
            aliases=self._texts(get.get("aliases")),
            creators=self._texts(get.get("creators")),
            year=_year(get.get("year")),
            language=_text(get.get("language")) or None,
            categories=self._texts(get.get("categories")),
            series=html.unescape(_text(get.get("series"))) or None,
            volume=_number("volume", get.get("volume")),
            edition_of=_text(get.get("edition_of")) or None,
            description=html.unescape(_text(get.get("description"))).strip(),
            links=self._texts(get.get("links"), unescape=False),
            media=self._texts(get.get("media"), unescape=False),
            available=_flag("available", get.get("available")),
            attributes=found,
        )
        self.attributes.update(dict.fromkeys(found))
        return item

    def _texts(self, value: object, *, unescape: bool = True) -> tuple[str, ...]:
        parts = value if isinstance(value, list) else _text(value).split(self._separator)
        texts = [" ".join(html.unescape(text).split()) if unescape else text for text in map(_text, parts)]
        return tuple(dict.fromkeys(text for text in texts if text))

    def _attribute(self, value: object) -> Attribute | None:
        if isinstance(value, bool | int):
            return value
        if isinstance(value, list) and not any(isinstance(part, list | dict) for part in value):
            return self._texts(value, unescape=False) or None
        if isinstance(value, list | dict):
            return _storable(json.dumps(value, ensure_ascii=False, sort_keys=True, default=str))
        if isinstance(value, float) and math.isfinite(value):
            return value
        text = _text(value)
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
        get, _ = self._columns.split(row)
        kind = _text(get.get("kind")).casefold() or self._event
        value = _number("rating" if kind == "rating" else "weight", get.get("value"))
        return Interaction(
            user=_text(get.get("user")) or _refuse("user is missing"),
            domain=self._domain,
            item=_text(get.get("item")) or _refuse("item is missing"),
            kind=kind,
            value=self._rating(value) if kind == "rating" else _weight(kind, value),
            timestamp=_timestamp(get.get("timestamp")),
        )

    def _rating(self, value: float | None) -> float:
        if value is None:
            raise RefusedRow("rating is missing")
        if not self._low <= value <= self._high:
            raise RefusedRow("rating is out of range", f"{value:g} is not in {self._low:g} to {self._high:g}")
        return round(1 + 4 * (value - self._low) / (self._high - self._low), 9)


def _refuse(reason: str) -> str:
    raise RefusedRow(reason)


def _weight(kind: str, value: float | None) -> float:
    if value is None and kind in EVENT_WEIGHTS:
        return EVENT_WEIGHTS[kind]
    if value is None:
        raise RefusedRow("event without weight", f"{kind!r}; known without one: {', '.join(EVENT_WEIGHTS)}")
    if not 0 < value <= 1:
        raise RefusedRow("weight is out of range", f"{value:g} is not above 0 and at most 1")
    return value


def _storable(text: str) -> str:
    """The text, if both databases can keep it: they cannot keep NUL, nor halves of a surrogate pair."""
    if _NOT_TEXT.search(text):
        raise RefusedRow("a character that is not text", ascii(text)[:80])
    return text


def _text(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, list | dict | bytes):
        raise RefusedRow("a list or object where a text belongs", str(value)[:80])
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, datetime | date):
        value = value.isoformat()
    return _storable(str(value).strip())


def _number(name: str, value: object) -> float | None:
    text = _text(value)
    if not text:
        return None
    try:
        number = float(text)
    except ValueError as exc:
        raise RefusedRow(f"{name} does not parse", repr(text[:80])) from exc
    if not math.isfinite(number):
        raise RefusedRow(f"{name} does not parse", repr(text[:80]))
    return number


def _year(value: object) -> int | None:
    number = _number("year", value)
    if number is None:
        return None
    if not number.is_integer():
        raise RefusedRow("year does not parse", f"{number:g}")
    if int(number) not in YEARS:
        raise RefusedRow("year is out of range", f"{number:.0f} is not in {YEARS[0]} to {YEARS[-1]}")
    return int(number)


def _flag(name: str, value: object) -> bool:
    text = _text(value).casefold()
    if text in {"", "true", "yes", "1"}:
        return True
    if text in {"false", "no", "0"}:
        return False
    raise RefusedRow(f"{name} does not parse", f"{text[:80]!r} is neither true nor false")


def _timestamp(value: object) -> int | None:
    """Unix seconds of a number or an ISO 8601 date; without a time zone it is UTC."""
    text = _text(value)
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = _seconds(text)
    if not 0 <= number <= _LAST_SECOND:
        detail = f"{text[:80]} (Unix seconds or ISO 8601, from 1970 on; milliseconds?)"
        raise RefusedRow("timestamp is out of range", detail)
    return int(number)


def _seconds(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as exc:
        raise RefusedRow("timestamp does not parse", repr(text[:80])) from exc
    zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return zoned.timestamp()


def _typed(text: str) -> str | int | float | bool:
    """The number or truth value that is written exactly so ("007" and "1.50" stay texts), else the text."""
    if text in {"true", "false"}:
        return text == "true"
    if re.fullmatch(r"-?[0-9]{1,18}", text) and str(int(text)) == text:
        return int(text)
    if re.fullmatch(r"-?[0-9]+\.[0-9]+", text) and str(float(text)) == text:
        return float(text)
    return text
