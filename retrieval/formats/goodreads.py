"""Goodreads data sets. Reads the UCSD book graph and goodbooks-10k, produces books and ratings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Final

from retrieval.formats.base import LeftOut, Request, Table, needs, no_files
from retrieval.formats.details import Details
from retrieval.formats.files import Files, columns, fields
from retrieval.formats.naming import name_of
from retrieval.formats.values import moment, number, required, split, stars, text, texts, year
from retrieval.tabular import Source, read_csv, read_jsonl
from retrieval.types import EVENT_WEIGHTS, Interaction, Item

ON_A_SHELF = "only on a shelf, neither read nor rated"
MOST_GENRES: Final = 5
"""Genres of goodbooks-10k kept for a book, those with the most readers' tags."""
_ROLES = frozenset({"", "author", "goodreads author"})
_BOOKS = "goodreads_books"
_INTERACTIONS = "goodreads_interactions"
_BOOK_FIELDS = frozenset({"book_id", "title", "work_id", "popular_shelves"})
_READING_FIELDS = frozenset({"user_id", "book_id", "is_read", "rating"})
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
    """The graph of the UCSD: books with authors, genres and series beside them, and what people did with them."""

    name = "goodreads-graph"
    about = "Goodreads of the UCSD: goodreads_books*.json.gz, goodreads_interactions*.json.gz, alone or as a folder"
    own = False

    def recognises(self, files: Files) -> bool:
        """By the fields of a first line."""
        return any(fields(source) >= wanted for _, source, wanted in _graph(files))

    def tables(self, files: Files, request: Request) -> list[Table]:
        """Authors, genres and series if they are there, then books, then interactions."""
        details: dict[str, Table] = {}
        books, readings = [], []
        authors, genres, series = (Details(request.stack) for _ in range(3))
        for kind, source, wanted in _graph(files):
            needs(source, tuple(sorted(fields(source))), tuple(sorted(wanted)))
            rows = partial(read_jsonl, source)
            if kind == "items":
                details |= {t.file: t for t in _graph_details(files, authors, genres, series)}
                books.append(Table(source.name, "items", rows, partial(_book, request.domain, authors, genres, series)))
            else:
                parse = partial(_reading, request.domain)
                readings.append(Table(source.name, "interactions", rows, parse, user="user_id"))
        if not books and not readings:
            raise no_files(self, files)
        return [*details.values(), *books, *readings]


def _graph(files: Files) -> Iterator[tuple[str, Source, frozenset[str]]]:
    for name, source in files.sources.items():
        if not name.endswith(".json"):
            continue
        if source.name.startswith(_BOOKS) or (files.alone and fields(source) >= _BOOK_FIELDS):
            yield "items", source, _BOOK_FIELDS
        elif source.name.startswith(_INTERACTIONS) or (files.alone and fields(source) >= _READING_FIELDS):
            yield "interactions", source, _READING_FIELDS


def _graph_details(files: Files, authors: Details, genres: Details, series: Details) -> Iterator[Table]:
    def author(row: Mapping[str, object]) -> None:
        authors.put(required(row, "author_id"), required(row, "name"))

    def genre(row: Mapping[str, object]) -> None:
        found = row.get("genres")
        names = [part for name in found for part in name.split(",")] if isinstance(found, dict) else []
        genres.put(required(row, "book_id"), *texts(names))

    def one_series(row: Mapping[str, object]) -> None:
        series.put(required(row, "series_id"), required(row, "title"))

    for name, parse in (("book_authors", author), ("book_genres_initial", genre), ("book_series", one_series)):
        source = files.beside(f"goodreads_{name}.json")
        if source is not None:
            yield Table(source.name, "details", partial(read_jsonl, source), parse)


def _book(domain: str, authors: Details, genres: Details, series: Details, row: Mapping[str, object]) -> Item:
    id_, work = required(row, "book_id"), text(row, "work_id")
    name = name_of(required(row, "title"))
    plain = text(row, "title_without_series")
    shelves = texts(row.get("series"))
    listed = row.get("authors")
    people = [a for a in listed if isinstance(a, dict)] if isinstance(listed, list) else []
    writers = [a for a in people if text(a, "role").casefold() in _ROLES] or people
    return Item(
        domain=domain,
        id=id_,
        title=name.title,
        aliases=tuple(alias for alias in (name_of(plain).title,) if alias and alias != name.title),
        creators=texts([who for a in writers for who in authors.get(text(a, "author_id"))]),
        year=name.year or year(row, "publication_year"),
        language=text(row, "language_code") or None,
        categories=genres.get(id_),
        series=name.series or next((title for of in shelves for title in series.get(of)), None),
        volume=name.volume,
        edition_of=f"work:{work}" if work else None,
        description=text(row, "description"),
        links=texts(row.get("link")),
        media=texts(row.get("image_url")),
    )


def _reading(domain: str, row: Mapping[str, object]) -> Interaction:
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
        timestamp=moment(row, "read_at" if text(row, "read_at") else "date_added"),
    )


class Goodbooks:
    """goodbooks-10k; the ids of books are its own, 1 to 10,000."""

    name = "goodbooks"
    about = "goodbooks-10k: the folder, its ZIP, or books.csv and ratings.csv; genres from book_tags.csv and tags.csv"
    own = False

    def recognises(self, files: Files) -> bool:
        """By the columns of books.csv; ratings.csv alone looks like any other."""
        return any(name == "books.csv" and set(_GOODBOOKS) <= set(columns(s)) for name, s in files.sources.items())

    def tables(self, files: Files, request: Request) -> list[Table]:
        """Tags if they are there, then books, then ratings."""
        tables: list[Table] = []
        if books := _named(files, "books.csv", _GOODBOOKS):
            genres = Details(request.stack)
            tables += _tags(files, genres, request)
            parse = partial(_goodbook, request.domain, genres)
            tables.append(Table(books.name, "items", partial(read_csv, books), parse))
        if ratings := _named(files, "ratings.csv", _GOODBOOKS_RATINGS):
            rows = partial(read_csv, ratings)
            rate = partial(_goodbooks_rating, request.domain)
            tables.append(Table(ratings.name, "interactions", rows, rate, user="user_id"))
        if not tables:
            raise no_files(self, files)
        return tables


def _named(files: Files, name: str, wanted: tuple[str, ...]) -> Source | None:
    source = files.get(name)
    if source is None and files.alone:
        only = next(iter(files.sources.values()))
        source = only if set(wanted) <= set(columns(only)) else None
    if source is not None:
        needs(source, columns(source), wanted)
    return source


def _tags(files: Files, genres: Details, request: Request) -> list[Table]:
    counts, tags = files.beside("book_tags.csv"), files.beside("tags.csv")
    if counts is None or tags is None:
        return []
    needs(counts, columns(counts), ("goodreads_book_id", "tag_id", "count"))
    needs(tags, columns(tags), ("tag_id", "tag_name"))
    names = Details(request.stack)

    def tag(row: Mapping[str, object]) -> None:
        if text(row, "tag_name") in _GENRE_TAGS:
            names.put(required(row, "tag_id"), text(row, "tag_name").replace("-", " "))

    def count(row: Mapping[str, object]) -> None:
        how_often = int(number(row, "count") or 0)
        for name in names.get(required(row, "tag_id")):
            genres.put(required(row, "goodreads_book_id"), f"{how_often:012d} {name}")

    return [
        Table(source.name, "details", partial(read_csv, source), parse)
        for source, parse in ((tags, tag), (counts, count))
    ]


def _goodbook(domain: str, genres: Details, row: Mapping[str, object]) -> Item:
    name = name_of(required(row, "title"))
    original = name_of(text(row, "original_title"))
    counted = sorted(genres.get(text(row, "goodreads_book_id")), reverse=True)[:MOST_GENRES]
    return Item(
        domain=domain,
        id=required(row, "book_id"),
        title=name.title,
        aliases=(original.title,) if original.title and original.title != name.title else (),
        creators=split(text(row, "authors"), ","),
        year=year(row, "original_publication_year") or name.year,
        language=text(row, "language_code") or None,
        categories=tuple(entry.partition(" ")[2] for entry in counted),
        series=name.series,
        volume=name.volume,
        media=texts(row.get("image_url")),
    )


def _goodbooks_rating(domain: str, row: Mapping[str, object]) -> Interaction:
    value = stars(row, "rating")
    if value is None:
        raise LeftOut(ON_A_SHELF)
    return Interaction(user=required(row, "user_id"), domain=domain, item=required(row, "book_id"), value=value)
