"""MovieLens. Reads its CSV files (latest-small to 32M) or `::` files (1M, 10M), produces films and ratings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Final

from retrieval.formats.base import Parse, Request, Table, needs, no_files
from retrieval.formats.details import Details
from retrieval.formats.files import Files, columns, first_line
from retrieval.formats.naming import name_of
from retrieval.formats.values import number, required, split, stars, text, unix
from retrieval.tabular import COLUMNS, RefusedRow, Row, Source, opened, read_csv, shown
from retrieval.tabular.lines import RowProblem
from retrieval.types import Interaction, Item

THEME_RELEVANCE: Final = 0.8
"""A tag of the tag genome is a theme of a film from this relevance on, in [0, 1]."""
_MOVIES = ("movieId", "title", "genres")
_RATINGS = ("userId", "movieId", "rating", "timestamp")
_LINKS = ("movieId", "imdbId")
_GENOME = ("movieId", "tagId", "relevance")
_TAGS = ("tagId", "tag")
_NO_GENRES = "(no genres listed)"


class MovieLens:
    """The data sets of grouplens.org; films' themes come from the tag genome where it lies beside them."""

    name = "movielens"
    about = "MovieLens: the folder, its ZIP, or movies.csv, ratings.csv (32M …), movies.dat, ratings.dat (1M, 10M)"
    own = False

    def recognises(self, files: Files) -> bool:
        """By the exact column names of movies.csv or ratings.csv, or by a first line with `::`."""
        return any(
            columns(source) in (_MOVIES, _RATINGS) if suffix == "csv" else "::" in first_line(source)
            for _, suffix, source in _known(files)
        )

    def tables(self, files: Files, request: Request) -> list[Table]:
        """Tags and links if they are there, then films, then ratings."""
        details: list[Table] = []
        items: list[Table] = []
        ratings: list[Table] = []
        for stem, suffix, source in _known(files):
            wanted = _MOVIES if stem == "movies" else _RATINGS
            if suffix == "csv":
                needs(source, columns(source), wanted)
            rows = partial(read_csv, source) if suffix == "csv" else partial(_dat_rows, source, wanted)
            if stem == "movies":
                themes, links = Details(request.stack), Details(request.stack)
                details = [*_genome(files, themes, request), *_links(files, links)]
                items.append(Table(source.name, "items", rows, partial(_film, request.domain, themes, links)))
            else:
                parse = partial(_rating, request.domain)
                ratings.append(Table(source.name, "interactions", rows, parse, user="userId"))
        if not items and not ratings:
            raise no_files(self, files)
        return [*details, *items, *ratings]


def _known(files: Files) -> Iterator[tuple[str, str, Source]]:
    """Stem, suffix and source of the films' and ratings' files; a file on its own may have another name."""
    for name, source in files.sources.items():
        stem, _, suffix = name.rpartition(".")
        if suffix not in {"csv", "dat"}:
            continue
        if stem in {"movies", "ratings"}:
            yield stem, suffix, source
        elif files.alone and suffix == "csv" and columns(source) in (_MOVIES, _RATINGS):
            yield ("movies" if columns(source) == _MOVIES else "ratings"), suffix, source


def _genome(files: Files, themes: Details, request: Request) -> list[Table]:
    scores, tags = files.beside("genome-scores.csv"), files.beside("genome-tags.csv")
    if scores is None or tags is None:
        return []
    needs(scores, columns(scores), _GENOME)
    needs(tags, columns(tags), _TAGS)
    names = Details(request.stack)

    def tag(row: Mapping[str, object]) -> None:
        names.put(required(row, "tagId"), required(row, "tag"))

    def score(row: Mapping[str, object]) -> None:
        if (number(row, "relevance") or 0.0) >= THEME_RELEVANCE:
            themes.put(required(row, "movieId"), *names.get(required(row, "tagId")))

    return [
        Table(source.name, "details", partial(read_csv, source), parse)
        for source, parse in ((tags, tag), (scores, score))
    ]


def _links(files: Files, links: Details) -> list[Table]:
    source = files.beside("links.csv")
    if source is None or not set(_LINKS) <= set(columns(source)):
        return []

    def link(row: Mapping[str, object]) -> None:
        if imdb := text(row, "imdbId"):
            links.put(required(row, "movieId"), f"https://www.imdb.com/title/tt{imdb.zfill(7)}/")

    parse: Parse = link
    return [Table(source.name, "details", partial(read_csv, source), parse)]


def _film(domain: str, themes: Details, links: Details, row: Mapping[str, object]) -> Item:
    id_ = required(row, "movieId")
    name = name_of(required(row, "title"), bracketed_alias=True)
    genres = text(row, "genres")
    found = themes.get(id_)
    return Item(
        domain=domain,
        id=id_,
        title=name.title,
        aliases=name.aliases,
        year=name.year,
        categories=() if genres == _NO_GENRES else split(genres, "|"),
        links=links.get(id_),
        attributes={"themes": found} if found else {},
    )


def _rating(domain: str, row: Mapping[str, object]) -> Interaction:
    value = stars(row, "rating")
    if value is None:
        raise RefusedRow("rating is missing")
    return Interaction(
        user=required(row, "userId"),
        domain=domain,
        item=required(row, "movieId"),
        value=value,
        timestamp=unix(row, "timestamp"),
    )


def _dat_rows(source: Source, names: tuple[str, ...]) -> Iterator[Row | RowProblem]:
    """Rows of a file whose columns are separated by `::` and have no names.

    1M is in Latin-1, 10M in UTF-8: a line that is not UTF-8 is Latin-1, for accented Latin-1 is hardly ever UTF-8.
    """
    with opened(source) as lines:
        for line in lines:
            if isinstance(line, RowProblem):
                yield line
                continue
            number_, raw = line
            try:
                written = raw.decode()
            except UnicodeDecodeError:
                written = raw.decode("latin-1")
            cells = written.rstrip("\r\n").split("::")
            if cells == [""]:
                continue
            if len(cells) == len(names):
                yield number_, dict(zip(names, cells, strict=True))
            else:
                yield RowProblem(number_, COLUMNS, shown(raw), f"{len(cells)} instead of {len(names)}")
