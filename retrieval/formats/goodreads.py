"""Goodreads data sets. Reads the UCSD book graph and goodbooks-10k, produces books and ratings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Final

from retrieval.formats.base import (
    Details,
    LeftOut,
    Parse,
    ReadRequest,
    Table,
    TableKind,
    csv_table,
    detail_tables,
    require_columns,
)
from retrieval.formats.files import Files, columns, json_fields
from retrieval.formats.values import (
    Cells,
    number,
    parse_title,
    rated,
    required,
    split,
    stars,
    text,
    texts,
    timestamp,
    year,
)
from retrieval.tabular import Source, read_jsonl
from retrieval.types import EVENT_WEIGHTS, Interaction, Item

ON_A_SHELF = "only on a shelf, neither read nor rated"
MOST_GENRES: Final = 5
"""Genres of goodbooks-10k kept for a book, those with the most readers' tags."""
_ROLES = frozenset({"", "author", "goodreads author"})
_GRAPH_FILES: Final[Mapping[TableKind, tuple[str, frozenset[str]]]] = {
    "items": ("goodreads_books", frozenset({"book_id", "title", "work_id", "popular_shelves"})),
    "interactions": ("goodreads_interactions", frozenset({"user_id", "book_id", "is_read", "rating"})),
}
"""By kind: how the names of its files begin, and fields that the first line has."""
_GOODBOOKS = ("book_id", "goodreads_book_id", "work_id", "authors", "original_title", "title")
_GOODBOOKS_RATINGS = ("user_id", "book_id", "rating")
# Readers' tags are shelves ("to-read", "owned"); only these of them are genres.
_GENRE_TAGS = frozenset(
    "adventure art biography business children childrens chick-lit classics comedy comics contemporary cookbooks"
    " crime drama dystopia dystopian essays fairy-tales fantasy fiction gothic graphic-novels historical-fiction"
    " history horror humor magical-realism manga memoir middle-grade music mystery mythology non-fiction nonfiction"
    " paranormal philosophy picture-books poetry politics psychology religion romance science science-fiction self-help"
    " short-stories spirituality sports steampunk thriller travel true-crime urban-fantasy war western"
    " young-adult".split()
)


class GoodreadsGraph:
    """The graph of the UCSD: books with authors, genres and series beside them, and what users did with them."""

    name = "goodreads-graph"
    about = "Goodreads of the UCSD: goodreads_books*.json.gz, goodreads_interactions*.json.gz, alone or as a folder"
    personal = False

    def recognises(self, files: Files) -> bool:
        """By the fields of a first line."""
        return any(json_fields(source) >= needed for _, source, needed in _graph_files(files))

    def tables(self, files: Files, request: ReadRequest) -> Iterator[Table]:
        """Books with their authors, genres and series, if these are there, and interactions."""
        authors, genres, series = (Details(request.stack) for _ in range(3))
        details = _graph_details(files, authors, genres, series)
        parsers: dict[str, Parse] = {
            "items": partial(_book, request.domain, authors, genres, series),
            "interactions": partial(_reading, request.domain),
        }
        for kind, source, needed in _graph_files(files):
            require_columns(source, sorted(json_fields(source)), sorted(needed))
            if kind == "items":  # all files of books share the details
                yield from details
                details = []
            yield Table(source.name, kind, partial(read_jsonl, source), parsers[kind], "user_id")


def _graph_files(files: Files) -> Iterator[tuple[TableKind, Source, frozenset[str]]]:
    for source in files.ending(".json"):
        for kind, (beginning, needed) in _GRAPH_FILES.items():
            if source.name.startswith(beginning) or (files.alone and json_fields(source) >= needed):
                yield kind, source, needed
                break


def _graph_details(files: Files, authors: Details, genres: Details, series: Details) -> list[Table]:
    def genre(row: Cells) -> None:
        shelves = row.get("genres")
        names = [part for name in shelves for part in name.split(",")] if isinstance(shelves, dict) else []
        genres.put(required(row, "book_id"), *texts(names))

    kinds = {
        "book_authors": authors.keep("author_id", "name"),
        "book_genres_initial": genre,
        "book_series": series.keep("series_id", "title"),
    }
    return [
        table for name, keep in kinds.items() for table in detail_tables(files, (f"goodreads_{name}.json", (), keep))
    ]


def _book(domain: str, authors: Details, genres: Details, series: Details, row: Cells) -> Item:
    id_, work = required(row, "book_id"), text(row, "work_id")
    parts = parse_title(required(row, "title"))
    plain = parse_title(text(row, "title_without_series")).title
    listed = row.get("authors")
    contributors = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    writers = [entry for entry in contributors if text(entry, "role").casefold() in _ROLES] or contributors
    series_titles = (title for series_id in texts(row.get("series")) for title in series.get(series_id))
    return parts.item(
        domain,
        id_,
        aliases=(plain,) if plain not in {"", parts.title} else (),
        creators=texts([name for entry in writers for name in authors.get(text(entry, "author_id"))]),
        year=parts.year or year(row, "publication_year"),
        language=text(row, "language_code") or None,
        categories=genres.get(id_),
        series=parts.series or next(series_titles, None),
        edition_of=f"work:{work}" if work else None,
        description=text(row, "description"),
        links=texts(row.get("link")),
        media=texts(row.get("image_url")),
    )


def _reading(domain: str, row: Cells) -> Interaction:
    """A rating, or a finished book without one; a book that only stands on a shelf says nothing."""
    value = stars(row, "rating")
    if value is None and row.get("is_read") is not True:
        raise LeftOut(ON_A_SHELF)
    return Interaction(
        user=required(row, "user_id"),
        domain=domain,
        item=required(row, "book_id"),
        kind="rating" if value is not None else "finish",
        value=value if value is not None else EVENT_WEIGHTS["finish"],
        timestamp=timestamp(row, "read_at" if text(row, "read_at") else "date_added"),
    )


class Goodbooks:
    """goodbooks-10k; the ids of books are its own, 1 to 10,000."""

    name = "goodbooks"
    about = "goodbooks-10k: the folder, its ZIP, or books.csv and ratings.csv; genres from book_tags.csv and tags.csv"
    personal = False

    def recognises(self, files: Files) -> bool:
        """By the columns of books.csv; ratings.csv alone looks like any other."""
        books = files.get("books.csv")
        return books is not None and set(_GOODBOOKS) <= set(columns(books))

    def tables(self, files: Files, request: ReadRequest) -> Iterator[Table]:
        """Books with their tags, if these are there, and ratings."""
        if books := _named(files, "books.csv", _GOODBOOKS):
            genres = Details(request.stack)
            yield from _tags(files, genres, request)
            yield csv_table(books, "items", _GOODBOOKS, partial(_goodbook, request.domain, genres))
        if ratings := _named(files, "ratings.csv", _GOODBOOKS_RATINGS):
            parse = partial(_goodbooks_rating, request.domain)
            yield csv_table(ratings, "interactions", _GOODBOOKS_RATINGS, parse, "user_id")


def _named(files: Files, name: str, needed: tuple[str, ...]) -> Source | None:
    """The file of this name; of a file given alone any that has the columns."""
    if files.alone and name not in files.sources:
        return next((source for source in files.sources.values() if set(needed) <= set(columns(source))), None)
    return files.get(name)


def _tags(files: Files, genres: Details, request: ReadRequest) -> list[Table]:
    names = Details(request.stack)

    def tag(row: Cells) -> None:
        if text(row, "tag_name") in _GENRE_TAGS:
            names.put(required(row, "tag_id"), text(row, "tag_name").replace("-", " "))

    def count(row: Cells) -> None:
        readers = int(number(row, "count") or 0)
        for name in names.get(required(row, "tag_id")):
            genres.put(required(row, "goodreads_book_id"), f"{readers:012d} {name}")  # in front, so that texts sort

    return detail_tables(
        files,
        ("tags.csv", ("tag_id", "tag_name"), tag),
        ("book_tags.csv", ("goodreads_book_id", "tag_id", "count"), count),
    )


def _goodbook(domain: str, genres: Details, row: Cells) -> Item:
    parts = parse_title(required(row, "title"))
    original = parse_title(text(row, "original_title")).title
    counted = sorted(genres.get(text(row, "goodreads_book_id")), reverse=True)[:MOST_GENRES]
    return parts.item(
        domain,
        required(row, "book_id"),
        aliases=(original,) if original not in {"", parts.title} else (),
        creators=split(text(row, "authors"), ","),
        year=year(row, "original_publication_year") or parts.year,
        language=text(row, "language_code") or None,
        categories=tuple(entry.partition(" ")[2] for entry in counted),
        media=texts(row.get("image_url")),
    )


def _goodbooks_rating(domain: str, row: Cells) -> Interaction:
    if stars(row, "rating") is None:
        raise LeftOut(ON_A_SHELF)
    return rated(domain, (*_GOODBOOKS_RATINGS, ""), row)
