"""A person's own books. Reads the exports of Goodreads, StoryGraph and Kindle libraries, produces mentions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from retrieval.errors import DataError
from retrieval.formats.base import LeftOut, Mention, Request, Table, no_files
from retrieval.formats.files import Files, columns
from retrieval.formats.naming import name_of
from retrieval.formats.personal import NOT_YET, export_table, mention, read_export, unrated_kind
from retrieval.formats.values import moment, number, required, split, stars, text, texts, year
from retrieval.tabular import Source

READ_PERCENT: Final = 90
"""From here on a Kindle book counts as read: the last pages are notes and advertisements."""
NOT_OWNED = "a sample or lent, not bought"
_EXCEL = ("utf-8", "cp1252")  # Excel saves CSV in the second one in Western countries
_KINDLE_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "title": ("title", "book title", "product name"),
    "authors": ("authors", "author", "author(s)"),
    "date": ("acquireddate", "acquired date", "acquired", "purchase date", "order date", "date"),
    "percent": ("percentageread", "percentage read", "percent read", "progress"),
    "status": ("readstatus", "read status", "status"),
    "origin": ("origintype", "origin type", "origin"),
}
"""Column names, in lower case, that exports of a Kindle library use: Amazon has no export of its own."""


class GoodreadsLibrary:
    """goodreads_library_export.csv. Shelves decide only what is unrated; reviews and notes are not kept."""

    name = "goodreads"
    about = "Goodreads: goodreads_library_export.csv of your own books"
    own = True

    def recognises(self, files: Files) -> bool:
        """By columns that no other export has together."""
        return any({"Book Id", "My Rating", "Exclusive Shelf"} <= set(columns(s)) for s in _csv(files))

    def tables(self, files: Files, request: Request) -> list[Table]:
        """The one table."""
        source = _only(self, files)
        kind = unrated_kind(files, source, lambda row: text(row, "My Rating") not in {"", "0"}, _EXCEL)
        wanted = ("Title", "Author", "My Rating", "Exclusive Shelf")
        return [export_table(files, source, request, partial(_goodreads, request, kind), wanted, encodings=_EXCEL)]


def _goodreads(request: Request, unrated: str, row: Mapping[str, object]) -> Mention:
    rating = stars(row, "My Rating")
    if rating is None and text(row, "Exclusive Shelf") != "read":
        raise LeftOut(NOT_YET)
    return mention(
        "goodreads",
        request,
        name_of(required(row, "Title")),
        year=year(row, "Original Publication Year") or year(row, "Year Published"),
        creators=texts(row.get("Author")),
        rating=rating,
        unrated=unrated,
        timestamp=moment(row, "Date Read" if text(row, "Date Read") else "Date Added"),
    )


class StoryGraph:
    """The StoryGraph's library export."""

    name = "storygraph"
    about = "StoryGraph: the CSV of Manage Account, Export StoryGraph Library"
    own = True

    def recognises(self, files: Files) -> bool:
        """By columns that no other export has together."""
        return any({"Read Status", "Star Rating", "Last Date Read"} <= set(columns(s)) for s in _csv(files))

    def tables(self, files: Files, request: Request) -> list[Table]:
        """The one table."""
        source = _only(self, files)
        kind = unrated_kind(files, source, lambda row: bool(text(row, "Star Rating")), _EXCEL)
        wanted = ("Title", "Authors", "Read Status", "Star Rating")
        return [export_table(files, source, request, partial(_storygraph, request, kind), wanted, encodings=_EXCEL)]


def _storygraph(request: Request, unrated: str, row: Mapping[str, object]) -> Mention:
    rating, status = stars(row, "Star Rating"), text(row, "Read Status")
    if rating is None and status not in {"read", "did-not-finish"}:
        raise LeftOut(NOT_YET)
    return mention(
        "storygraph",
        request,
        name_of(required(row, "Title")),
        year=None,
        creators=split(text(row, "Authors"), ","),
        rating=rating,
        unrated=unrated if status == "read" else "view",
        timestamp=moment(row, "Last Date Read" if text(row, "Last Date Read") else "Date Added"),
    )


class Kindle:
    """A list of a Kindle library, as scripts and data requests make it; there is no rating in any of them."""

    name = "kindle"
    about = "Kindle: a CSV of your library with title and authors, and where known date, status and percentage read"
    own = True

    def recognises(self, files: Files) -> bool:
        """Never: a title and an author are in every list of books."""
        return False

    def tables(self, files: Files, request: Request) -> list[Table]:
        """The one table."""
        source = _only(self, files)
        present, _ = read_export(files, source, _EXCEL)
        known = {
            field: column
            for field, names in _KINDLE_COLUMNS.items()
            for column in present
            if column.casefold() in names
        }
        if "title" not in known:
            hint = f"it has to be called {' or '.join(_KINDLE_COLUMNS['title'])}; there are: {', '.join(present)}"
            raise DataError(f"{source} has no column with titles", hint=hint)
        return [export_table(files, source, request, partial(_kindle, request, known), (), encodings=_EXCEL)]


def _kindle(request: Request, known: Mapping[str, str], row: Mapping[str, object]) -> Mention:
    cells = {field: row.get(column) for field, column in known.items()}
    if text(cells, "origin").casefold() not in {"", "purchase", "ku", "comixologyunlimited"}:
        raise LeftOut(NOT_OWNED)
    cells["percent"] = text(cells, "percent").rstrip("% ")
    read = text(cells, "status").casefold() in {"read", "finished"} or (number(cells, "percent") or 0) >= READ_PERCENT
    return mention(
        "kindle",
        request,
        name_of(required(cells, "title")),
        year=None,
        creators=tuple(map(_first_name_first, _people(text(cells, "authors")))),
        rating=None,
        unrated="finish" if read else "purchase",
        timestamp=moment(cells, "date"),
    )


def _people(written: str) -> tuple[str, ...]:
    """ "Trussoni, Danielle:King, Stephen:" and "Danielle Trussoni; Stephen King" are two people each."""
    separator = ":" if ":" in written else ";"
    return split(written, separator)


def _first_name_first(person: str) -> str:
    last, comma, first = person.partition(", ")
    return f"{first} {last}" if comma else person


def _csv(files: Files) -> list[Source]:
    return [source for name, source in files.sources.items() if name.endswith(".csv")]


def _only(reader: GoodreadsLibrary | StoryGraph | Kindle, files: Files) -> Source:
    found = list(files.sources.values()) if files.alone else _csv(files)
    if len(found) != 1:
        raise no_files(reader, files)
    return found[0]
