"""MovieLens. Reads its CSV files (latest-small to 32M) or `::` files (1M, 10M), produces films and ratings."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from retrieval.formats.base import Details, Parse, ReadRequest, Table, TableKind, csv_table, detail_tables
from retrieval.formats.files import Files, columns, first_line
from retrieval.formats.values import Cells, number, parse_title, rated, required, split, text
from retrieval.tabular import WRONG_COLUMN_COUNT, RefusedRow, Source, read_lines
from retrieval.types import Item

THEME_RELEVANCE: Final = 0.8
"""A tag of the tag genome is a theme of a film from this relevance on, in [0, 1]."""
_RATING_COLUMNS: Final = ("userId", "movieId", "rating", "timestamp")
_COLUMNS: Final = {"movies": ("movieId", "title", "genres"), "ratings": _RATING_COLUMNS}
_NO_GENRES: Final = "(no genres listed)"


class MovieLens:
    """The data sets of grouplens.org; films' themes come from the tag genome where it lies beside them."""

    name = "movielens"
    about = "MovieLens: the folder, its ZIP, or movies.csv, ratings.csv (32M …), movies.dat, ratings.dat (1M, 10M)"
    personal = False

    def recognises(self, files: Files) -> bool:
        """By the exact column names of movies.csv or ratings.csv, or by a first line with `::`."""
        return any(
            columns(source) in _COLUMNS.values() if suffix == "csv" else b"::" in first_line(source)
            for _, suffix, source in _known(files)
        )

    def tables(self, files: Files, request: ReadRequest) -> Iterator[Table]:
        """Films with their tags and links, if these are there, and ratings."""
        for stem, suffix, source in _known(files):
            if stem == "movies":
                themes, links = Details(request.stack), Details(request.stack)
                yield from (*_genome(files, themes, request), *_links(files, links))
                yield _table(source, suffix, stem, partial(_film, request.domain, themes, links))
            else:
                yield _table(source, suffix, stem, partial(rated, request.domain, _RATING_COLUMNS))


def _known(files: Files) -> Iterator[tuple[str, str, Source]]:
    """Stem, suffix and source of the films' and ratings' files; a file on its own may have another name."""
    for name, source in files.sources.items():
        stem, _, suffix = name.rpartition(".")
        if stem in _COLUMNS and suffix in {"csv", "dat"}:
            yield stem, suffix, source
        elif files.alone and suffix == "csv":
            present = columns(source)
            yield from ((known, suffix, source) for known, names in _COLUMNS.items() if present == names)


def _table(source: Source, suffix: str, stem: str, parse: Parse) -> Table:
    """A table of CSV, or of a file whose columns are separated by `::` and have no names."""
    kind: TableKind = "items" if stem == "movies" else "interactions"
    if suffix == "csv":
        return csv_table(source, kind, _COLUMNS[stem], parse, "userId")
    rows = partial(read_lines, source, partial(_parse_dat, _COLUMNS[stem]))
    return Table(source.name, kind, rows, parse, "userId")


def _genome(files: Files, themes: Details, request: ReadRequest) -> list[Table]:
    names = Details(request.stack)

    def score(row: Cells) -> None:
        if (number(row, "relevance") or 0.0) >= THEME_RELEVANCE:
            themes.put(required(row, "movieId"), *names.get(required(row, "tagId")))

    return detail_tables(
        files,
        ("genome-tags.csv", ("tagId", "tag"), names.keep("tagId", "tag")),
        ("genome-scores.csv", ("movieId", "tagId", "relevance"), score),
    )


def _links(files: Files, links: Details) -> list[Table]:
    def link(row: Cells) -> None:
        if imdb := text(row, "imdbId"):
            links.put(required(row, "movieId"), f"https://www.imdb.com/title/tt{imdb.zfill(7)}/")

    return detail_tables(files, ("links.csv", (), link))


def _film(domain: str, themes: Details, links: Details, row: Cells) -> Item:
    id_, genres = required(row, "movieId"), text(row, "genres")
    film_themes = themes.get(id_)
    return parse_title(required(row, "title"), bracketed_alias=True).item(
        domain,
        id_,
        categories=() if genres == _NO_GENRES else split(genres, "|"),
        links=links.get(id_),
        attributes={"themes": film_themes} if film_themes else {},
    )


def _parse_dat(names: tuple[str, ...], raw: bytes) -> dict[str, object] | None:
    try:
        line = raw.decode()
    except UnicodeDecodeError:
        line = raw.decode("latin-1")  # as all of 1M is: accented Latin-1 is hardly ever UTF-8
    cells = line.rstrip("\r\n").split("::")
    if cells == [""]:
        return None
    if len(cells) != len(names):
        raise RefusedRow(WRONG_COLUMN_COUNT, f"{len(cells)} instead of {len(names)}")
    return dict(zip(names, cells, strict=True))
