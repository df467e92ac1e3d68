"""Letterboxd. Reads the ZIP that its settings export (or its folder, or one of its CSV files), produces mentions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from retrieval.formats.base import Mention, Request, Table, no_files
from retrieval.formats.files import Files, columns
from retrieval.formats.naming import Name
from retrieval.formats.personal import export_table, mention, unrated_kind
from retrieval.formats.values import moment, required, stars, text, texts, year
from retrieval.tabular import Row, Source
from retrieval.tabular.lines import RowProblem

_NEEDED = ("Date", "Name", "Year", "Letterboxd URI")
_MEMBERS = ("ratings.csv", "diary.csv", "watched.csv", "likes/films.csv")
LIKE = "finish"
"""The event that a heart stands for: the strongest one."""


class Letterboxd:
    """A person's films. Ratings count as such, a heart as a finished work, a watched film as `own.unrated_kind` says.

    Of the ZIP only four members are read; a film of the diary that was rated more than once has its latest rating.
    """

    name = "letterboxd"
    about = "Letterboxd: the exported ZIP (ratings, diary, watched, likes), its folder, or one of its CSV files"
    own = True

    def recognises(self, files: Files) -> bool:
        """By the column "Letterboxd URI" in one of the files."""
        return any("Letterboxd URI" in columns(source) for _, source in _known(files))

    def tables(self, files: Files, request: Request) -> list[Table]:
        """Ratings, diary, watched films and likes, as far as they are there."""
        known = dict(_known(files))
        if not known:
            raise no_files(self, files)
        rated = known.get("ratings.csv", known.get("diary.csv"))
        unrated = unrated_kind(files, rated, lambda row: bool(text(row, "Rating")))
        tables = []
        for name, source in known.items():
            kind = LIKE if name == "likes/films.csv" else unrated
            # Ratings of the diary are repeated in ratings.csv, where the latest stands.
            rates = name == "ratings.csv" or (name == "diary.csv" and "ratings.csv" not in known)
            wanted = (*_NEEDED, "Rating") if rates else _NEEDED
            parse = partial(_film, request, kind, rates)
            change = _latest_rating if name == "diary.csv" and rates else None
            tables.append(export_table(files, source, request, parse, wanted, change=change))
        return tables


def _known(files: Files) -> Iterator[tuple[str, Source]]:
    for name in _MEMBERS:
        source = files.get(name)
        if source is not None:
            yield name, source
    if files.alone:
        for name, source in files.sources.items():
            if name not in _MEMBERS and name.endswith(".csv"):
                yield _by_columns(name, columns(source)), source


def _by_columns(name: str, present: tuple[str, ...]) -> str:
    if "Watched Date" in present:
        return "diary.csv"
    if "Rating" in present:
        return "ratings.csv"
    return "likes/films.csv" if name == "films.csv" else "watched.csv"


def _film(request: Request, unrated: str, rates: bool, row: Mapping[str, object]) -> Mention:
    return mention(
        "letterboxd",
        request,
        Name(required(row, "Name")),  # the year has a column of its own: "(500) Days of Summer" stays whole
        year=year(row, "Year"),
        creators=(),
        rating=stars(row, "Rating") if rates else None,
        unrated=unrated,
        timestamp=moment(row, "Watched Date" if text(row, "Watched Date") else "Date"),
        links=() if "Watched Date" in row else texts(row.get("Letterboxd URI")),  # the diary's is of the entry
    )


def _latest_rating(read: Callable[[], Iterator[Row | RowProblem]]) -> Iterator[Row | RowProblem]:
    """Rows of a diary in which a film has one rating, that of the last row that gives one."""
    last = {_film_key(row[1]): row[0] for row in read() if not isinstance(row, RowProblem) and text(row[1], "Rating")}
    for row in read():
        if isinstance(row, RowProblem) or last.get(_film_key(row[1]), row[0]) == row[0]:
            yield row
        else:
            yield row[0], {**row[1], "Rating": ""}


def _film_key(row: Mapping[str, object]) -> tuple[str, str]:
    return str(row.get("Name")), str(row.get("Year"))
