"""Column mapping. Reads the column names of a file, produces a row's values by field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from retrieval.errors import DataError, UsageError

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
        for field, names in known.items():
            usual = (column for name in names for column in columns if column.casefold() == name)
            free = next((column for column in usual if column not in self._field_of), None)
            if free is not None and not self.has(field):
                self._field_of[free] = field
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
