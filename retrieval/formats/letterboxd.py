"""Letterboxd. Reads the ZIP of its settings page (or its folder, or one of its CSV files), produces interactions."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from retrieval.formats.base import ReadRequest, Table
from retrieval.formats.exports import CsvExport, Export, open_export
from retrieval.formats.files import Files, columns
from retrieval.formats.values import Cells, TitleParts, required, text
from retrieval.tabular import RowProblem, Rows, Source

LIKE: Final = "finish"
"""The event that a heart stands for: the strongest one."""
_MEMBERS: Final = ("ratings.csv", "diary.csv", "watched.csv", "likes/films.csv")


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
        exports = {member: open_export(files, source) for member, source in _members(files).items()}
        # Ratings of the diary are repeated in ratings.csv, where the latest stands.
        rates = "ratings.csv" if "ratings.csv" in exports else "diary.csv"
        unrated = _Films(rates, rates=True).kind_of_unrated(exports.get(rates))
        for member, export in exports.items():
            event = LIKE if member == "likes/films.csv" else unrated
            rows = partial(_latest_ratings, export) if member == rates == "diary.csv" else export.rows
            yield _Films(member, rates=member == rates).table(export, request, event, rows)


class _Films(CsvExport):
    """One file of the export."""

    name = Letterboxd.name

    def __init__(self, member: str, *, rates: bool) -> None:
        fields = {"date": ("Watched Date", "Date"), "title": ("Name",), "year": ("Year",)}
        if member != "diary.csv":  # there it leads to the entry
            fields["link"] = ("Letterboxd URI",)
        if rates:
            fields["rating"] = ("Rating",)
        self.fields, self.needed = fields, tuple(fields)

    def title(self, cells: Cells) -> TitleParts:
        """As it is written; the year has a column of its own: "(500) Days of Summer" stays whole."""
        return TitleParts(required(cells, "title"))


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


def _latest_ratings(diary: Export) -> Rows:
    """Rows of a diary in which a film has one rating, that of the last row that gives one."""
    last = {_film(row): line for line, row in diary.readable_rows() if text(row, "Rating")}
    for row in diary.rows():
        if isinstance(row, RowProblem) or last.get(_film(row[1]), row[0]) == row[0]:
            yield row
        else:
            yield row[0], {**row[1], "Rating": ""}


def _film(row: Cells) -> tuple[str, str]:
    return str(row.get("Name")), str(row.get("Year"))
