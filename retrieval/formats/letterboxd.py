"""Letterboxd. Reads the ZIP of its settings page (or its folder, or one of its CSV files), produces interactions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from retrieval.formats.base import ReadRequest, Table, TitledInteraction, require_columns
from retrieval.formats.exports import export_table, kind_of_unrated, read_header, titled_interaction
from retrieval.formats.files import Files, columns
from retrieval.formats.values import Cells, TitleParts, required, stars, text, texts, timestamp, year
from retrieval.tabular import RowProblem, Rows, Source

_REQUIRED: Final = ("Date", "Name", "Year", "Letterboxd URI")
_MEMBERS: Final = ("ratings.csv", "diary.csv", "watched.csv", "likes/films.csv")
LIKE: Final = "finish"
"""The event that a heart stands for: the strongest one."""


class Letterboxd:
    """A user's films. Ratings count as such, a heart as a finished work, a watched film as `kind_of_unrated` says.

    Of the ZIP only four members are read; a film of the diary that was rated more than once has its latest rating.
    """

    name = "letterboxd"
    about = "Letterboxd: the exported ZIP (ratings, diary, watched, likes), its folder, or one of its CSV files"
    personal = True

    def recognises(self, files: Files) -> bool:
        """By the column "Letterboxd URI" in one of the files."""
        return any("Letterboxd URI" in columns(source) for source in _members(files).values())

    def tables(self, files: Files, request: ReadRequest) -> Iterator[Table]:
        """Ratings, diary, watched films and likes, as far as they are there."""
        headers = {name: read_header(files, source) for name, source in _members(files).items()}
        rated = headers.get("ratings.csv", headers.get("diary.csv"))
        unrated = kind_of_unrated(rated, lambda row: bool(text(row, "Rating")))
        for name, header in headers.items():
            # Ratings of the diary are repeated in ratings.csv, where the latest stands.
            rates = name == "ratings.csv" or (name == "diary.csv" and "ratings.csv" not in headers)
            require_columns(header.source, header.columns, (*_REQUIRED, "Rating") if rates else _REQUIRED)
            parse = partial(_film, request, LIKE if name == "likes/films.csv" else unrated, rates)
            change = _latest_rating if name == "diary.csv" and rates else None
            yield export_table(header, request, parse, change)


def _members(files: Files) -> dict[str, Source]:
    """The files by their name in the export; a file given alone is known by its columns."""
    members = {name: source for name in _MEMBERS if (source := files.get(name)) is not None}
    if files.alone and not members:
        members = {_member_name(source): source for source in files.ending(".csv")}
    return members


def _member_name(source: Source) -> str:
    present = columns(source)
    if "Watched Date" in present:
        return "diary.csv"
    if "Rating" in present:
        return "ratings.csv"
    return "likes/films.csv" if source.name == "films.csv" else "watched.csv"


def _film(request: ReadRequest, unrated: str, rates: bool, row: Cells) -> TitledInteraction:
    return titled_interaction(
        "letterboxd",
        request,
        TitleParts(required(row, "Name")),  # the year has a column of its own: "(500) Days of Summer" stays whole
        year=year(row, "Year"),
        creators=(),
        rating=stars(row, "Rating") if rates else None,
        unrated=unrated,
        timestamp=timestamp(row, "Watched Date" if text(row, "Watched Date") else "Date"),
        links=() if "Watched Date" in row else texts(row.get("Letterboxd URI")),  # the diary's is of the entry
    )


def _latest_rating(read: Callable[[], Rows]) -> Rows:
    """Rows of a diary in which a film has one rating, that of the last row that gives one."""
    last = {_film_key(row[1]): row[0] for row in read() if not isinstance(row, RowProblem) and text(row[1], "Rating")}
    for row in read():
        if isinstance(row, RowProblem) or last.get(_film_key(row[1]), row[0]) == row[0]:
            yield row
        else:
            yield row[0], {**row[1], "Rating": ""}


def _film_key(row: Cells) -> tuple[str, str]:
    return str(row.get("Name")), str(row.get("Year"))
