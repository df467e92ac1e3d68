"""Users' own exports in CSV. Reads a file of any usual encoding, produces titled interactions.

What differs between the sites is declared: which columns hold which field, and what a row means. An export only holds
titles; `retrieval.ingest.matching` finds the items of a catalogue that they are.
"""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Final

from retrieval.errors import DataError, UnreadableFile
from retrieval.formats.base import LeftOut, ReadRequest, Table, TitledInteraction
from retrieval.formats.files import Files, columns, columns_of, decodes
from retrieval.formats.values import (
    Cells,
    TitleParts,
    number,
    parse_title,
    required,
    split,
    stars,
    text,
    texts,
    timestamp,
    year,
)
from retrieval.tabular import RowProblem, Rows, Source, open_lines, read_csv
from retrieval.titles import normalise
from retrieval.types import EVENT_WEIGHTS

MAX_BYTES: Final = 64 << 20
"""Largest file of an export (64 MiB), unpacked: nobody's diary is longer, so what is has been made to be."""
READ_PERCENT: Final = 90
"""From here on a Kindle book counts as read: the last pages are notes and advertisements."""
NOT_YET: Final = "wished for or begun, not finished"
NOT_OWNED: Final = "a sample or lent, not bought"


@dataclass(frozen=True)
class Export:
    """A CSV file of an export: its column names, and its encoding."""

    source: Source
    columns: tuple[str, ...]
    encoding: str

    def rows(self) -> Rows:
        """The rows, from the first one."""
        return read_csv(self.source, self.encoding)

    def readable_rows(self) -> Iterable[tuple[int, Cells]]:
        """The rows that can be decoded, with their lines."""
        return (row for row in self.rows() if not isinstance(row, RowProblem))


def open_export(files: Files, source: Source, encodings: tuple[str, ...] = ("utf-8",)) -> Export:
    """The column names of a CSV file, and which of two encodings it is in.

    It is in UTF-8 if more lines with other than ASCII characters fit that than do not: single broken rows are for
    the report. Else it is in the second one.

    Raises:
        UnreadableFile: it is larger than an export can be, in UTF-16, or its first line is in neither encoding.
    """
    if (size := files.size(source)) > MAX_BYTES:
        msg = f"{source} has {size >> 20} MiB; an export of one user has less than {MAX_BYTES >> 20}"
        raise UnreadableFile(msg, hint="give the export as the site made it")
    first, fitting, broken = b"", 0, 0
    with open_lines(source) as lines:
        for line in lines:
            if isinstance(line, RowProblem):
                continue
            first = first or line[1]
            if not line[1].isascii():
                fits = decodes(line[1], encodings[0])
                fitting, broken = fitting + fits, broken + (not fits)
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UnreadableFile(f"{source} is in UTF-16", hint="save it as CSV in UTF-8")
    encoding = encodings[0] if broken <= fitting else encodings[-1]
    if not decodes(first, encoding):
        raise UnreadableFile(f"{source} is not in {' or '.join(encodings)}", hint="save it as CSV in UTF-8")
    return Export(source, columns_of(first.decode(encoding)), encoding)


class CsvExport:
    """A user's export whose CSV files have one layout."""

    name: str
    about: str
    personal = True
    fields: Mapping[str, tuple[str, ...]]
    """Columns, whatever their case, that hold each field: of those that are there, the first with a value counts."""
    needed: tuple[str, ...] = ("title",)
    """Fields without a column for which a file is not of this layout."""
    signature: ClassVar[frozenset[str]] = frozenset()
    """Fields that no other layout has together; empty: the format is never guessed."""
    encodings: ClassVar[tuple[str, ...]] = ("utf-8", "cp1252")  # Excel saves CSV in the second one in Western countries
    creator_separator: ClassVar[str] = ","
    star_words: ClassVar[Mapping[str, str]] = {}
    """What the site calls its stars."""

    def recognises(self, files: Files) -> bool:
        """By columns that no other export has together."""
        sources = files.ending(".csv") if self.signature else []
        return any(self.signature <= self._columns_of(columns(s, self.encodings)).keys() for s in sources)

    def tables(self, files: Files, request: ReadRequest) -> Iterable[Table]:
        """One table a file."""
        for source in files.sources.values() if files.alone else files.ending(".csv"):
            export = open_export(files, source, self.encodings)
            yield self.table(export, request, self.kind_of_unrated(export), export.rows)

    def kind_of_unrated(self, export: Export | None) -> str:
        """The event of a work without a rating: "view" (it is known) if the user rates others, else "finish".

        Users who rate had a reason not to rate it; of users who never rate, finishing is all that is known.
        """
        if export is None:
            return "finish"
        rating = self._columns_of(export.columns).get("rating", [""])[0]
        return "view" if any(text(row, rating) not in {"", "0"} for _, row in export.readable_rows()) else "finish"

    def table(self, export: Export, request: ReadRequest, unrated: str, rows: Callable[[], Rows]) -> Table:
        """The table of a file, read by `rows`, all of which are the user's.

        Raises:
            DataError: it lacks a needed column.
        """
        known = self._columns_of(export.columns)
        if missing := next((field for field in self.needed if field not in known), None):
            msg = f"{export.source} has no column {' or '.join(self.fields[missing][:4])} for the {missing}"
            shown = ", ".join(export.columns)
            raise DataError(msg, hint=f"the columns are: {shown}; or name them: --format csv --column FIELD=COLUMN")

        def owned_rows() -> Rows:
            for row in rows():
                yield row if isinstance(row, RowProblem) else (row[0], {"user": request.user, **row[1]})

        parse = partial(self._parse, request, unrated, known)
        return Table(export.source.name, "interactions", owned_rows, parse, owner=request.user)

    def _columns_of(self, present: Iterable[str]) -> dict[str, list[str]]:
        """The columns of a file by field; fields without one are left out."""
        written = {column.casefold(): column for column in reversed(list(present))}
        known = {field: [written.get(name.casefold(), "") for name in names] for field, names in self.fields.items()}
        return {field: list(filter(None, names)) for field, names in known.items() if any(names)}

    def _parse(
        self, request: ReadRequest, unrated: str, known: Mapping[str, list[str]], row: Cells
    ) -> TitledInteraction:
        """What the user said about a work: the rating, else an event.

        The work holds public facts only (no reviews, no shelves), since `--add-items` puts it where all can see it.
        """
        cells = {
            field: next((row[name] for name in names if row.get(name) not in {None, ""}), None)
            for field, names in known.items()
        }
        if "rating" in cells:
            cells["rating"] = self.star_words.get(text(cells, "rating"), cells["rating"])
        unrated = self.unrated_kind(cells, unrated)
        parts, creators, rating = self.title(cells), self.creators(cells), stars(cells, "rating")
        published = year(cells, "year") or parts.year
        # The same work gets the same id in every export of a site.
        key = "|".join((normalise(parts.title), str(published or ""), *map(normalise, creators[:1])))
        id_ = f"{self.name}:{hashlib.blake2b(key.encode(), digest_size=8).hexdigest()}"
        links = split(text(cells, "link"), " ")
        work = parts.item(request.domain, id_, year=published, creators=creators, links=links)
        kind, value = (unrated, EVENT_WEIGHTS[unrated]) if rating is None else ("rating", rating)
        return TitledInteraction(work, request.user, kind, value, timestamp(cells, "date"))

    def title(self, cells: Cells) -> TitleParts:
        """The title's parts."""
        return parse_title(required(cells, "title"))

    def creators(self, cells: Cells) -> tuple[str, ...]:
        """The creators' names."""
        return split(text(cells, "creators"), self.creator_separator)

    def unrated_kind(self, cells: Cells, unrated: str) -> str:
        """The kind of event of a work without a rating; `unrated` is what `kind_of_unrated` says of the file.

        Raises:
            LeftOut: the row says nothing about what the user likes.
        """
        return unrated


class GoodreadsLibrary(CsvExport):
    """goodreads_library_export.csv. Shelves decide only what is unrated; reviews and notes are not kept."""

    name = "goodreads"
    about = "Goodreads: goodreads_library_export.csv of your own books"
    fields: Mapping[str, tuple[str, ...]] = {
        "id": ("Book Id",),
        "title": ("Title",),
        "creators": ("Author",),
        "rating": ("My Rating",),
        "status": ("Exclusive Shelf",),
        "year": ("Original Publication Year", "Year Published"),
        "date": ("Date Read", "Date Added"),
    }
    needed = ("title", "creators", "rating", "status")
    signature = frozenset({"id", "rating", "status"})

    def creators(self, cells: Cells) -> tuple[str, ...]:
        """One author, whatever the name holds."""
        return texts(cells.get("creators"))

    def unrated_kind(self, cells: Cells, unrated: str) -> str:
        """Read books count; of the others only the rated ones."""
        if stars(cells, "rating") is None and text(cells, "status") != "read":
            raise LeftOut(NOT_YET)
        return unrated


class StoryGraph(CsvExport):
    """The StoryGraph's library export."""

    name = "storygraph"
    about = "StoryGraph: the CSV of Manage Account, Export StoryGraph Library"
    fields: Mapping[str, tuple[str, ...]] = {
        "title": ("Title",),
        "creators": ("Authors",),
        "rating": ("Star Rating",),
        "status": ("Read Status",),
        "date": ("Last Date Read", "Date Added"),
        "finished": ("Last Date Read",),
    }
    needed = ("title", "creators", "rating", "status")
    signature = frozenset({"rating", "status", "finished"})

    def unrated_kind(self, cells: Cells, unrated: str) -> str:
        """Read books count; abandoned ones are known."""
        status = text(cells, "status")
        if stars(cells, "rating") is None and status not in {"read", "did-not-finish"}:
            raise LeftOut(NOT_YET)
        return unrated if status == "read" else "view"


class Kindle(CsvExport):
    """A list of a Kindle library, as scripts and data requests make it; there is no rating in any of them.

    Amazon has no export of its own, and a title and an author are in every list of books: it is never guessed.
    """

    name = "kindle"
    about = "Kindle: a CSV of your library with title and authors, and where known date, status and percentage read"
    fields: Mapping[str, tuple[str, ...]] = {
        "title": ("title", "book title", "product name"),
        "creators": ("authors", "author", "author(s)"),
        "date": ("acquireddate", "acquired date", "acquired", "purchase date", "order date", "date"),
        "percent": ("percentageread", "percentage read", "percent read", "progress"),
        "status": ("readstatus", "read status", "status"),
        "origin": ("origintype", "origin type", "origin"),
    }

    def creators(self, cells: Cells) -> tuple[str, ...]:
        """ "Trussoni, Danielle:King, Stephen:" and "Danielle Trussoni; Stephen King" are two people each."""
        written = text(cells, "creators")
        names = (name.partition(", ") for name in split(written, ":" if ":" in written else ";"))
        return tuple(f"{first} {last}" if first else last for last, _, first in names)

    def unrated_kind(self, cells: Cells, unrated: str) -> str:
        """Finished from 90% on, otherwise bought."""
        if text(cells, "origin").casefold() not in {"", "purchase", "ku", "comixologyunlimited"}:
            raise LeftOut(NOT_OWNED)
        percent = number({"percent": text(cells, "percent").rstrip("% ")}, "percent") or 0
        read = text(cells, "status").casefold() in {"read", "finished"} or percent >= READ_PERCENT
        return "finish" if read else "purchase"


class Douban(CsvExport):
    """A user's films or books. What stands behind " / " in a title is an alias, and so is the original title.

    The columns have the names that the usual scripts give; 豆瓣评分, everybody's rating, is none of them.
    """

    name = "douban"
    about = "Douban: a CSV of 看过 or 读过 with Chinese column names (标题, 个人评分, 打分日期 …), in UTF-8 or GB18030"
    fields: Mapping[str, tuple[str, ...]] = {
        "title": ("标题", "片名", "书名", "名称", "标题/书名", "电影名", "电影名称"),
        "original": ("原名", "原作名", "又名", "外文名"),
        "rating": ("个人评分", "我的评分", "评分", "打分"),
        "date": ("打分日期", "标记日期", "标记时间", "创建时间", "评分日期", "日期"),
        "year": ("年份", "上映日期", "上映年份", "出版日期", "出版年", "出版时间", "出版年份"),
        "creators": ("作者", "导演", "译者/作者"),
        "status": ("状态", "看过状态", "阅读状态"),
        "link": ("条目链接", "链接", "豆瓣链接"),
    }
    signature = frozenset({"title", "rating"})
    encodings = ("utf-8", "gb18030")  # Excel saves CSV in the second one in China
    creator_separator = "/"
    star_words: ClassVar = {"力荐": "5", "推荐": "4", "还行": "3", "较差": "2", "很差": "1"}
    wishes: ClassVar = frozenset({"想看", "想读", "想听", "想玩", "在看", "在读", "在听", "在玩", "wish", "do"})

    def title(self, cells: Cells) -> TitleParts:
        """The title with the original title as an alias."""
        titles = (required(cells, "title"), *split(text(cells, "original"), "/"))
        return parse_title(" / ".join(titles), slashed_alias=True)

    def unrated_kind(self, cells: Cells, unrated: str) -> str:
        """Everything counts but wishes and what is under way."""
        if text(cells, "status") in self.wishes:
            raise LeftOut(NOT_YET)
        return unrated
