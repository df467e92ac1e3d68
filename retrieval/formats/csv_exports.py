"""Exports of one CSV layout each: Goodreads, StoryGraph, Kindle, Douban. Reads their files, produces interactions.

What differs between the sites is declared: which columns hold which field, and what a row means.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import ClassVar, Final

from retrieval.errors import DataError
from retrieval.formats.base import LeftOut, ReadRequest, Table, TitledInteraction
from retrieval.formats.export import export_table, kind_of_unrated, read_header, titled_interaction
from retrieval.formats.files import Files, columns
from retrieval.formats.title_parts import TitleParts, parse_title
from retrieval.formats.values import Cells, number, required, split, stars, text, texts, timestamp, year
from retrieval.tabular import Source

READ_PERCENT: Final = 90
"""From here on a Kindle book counts as read: the last pages are notes and advertisements."""
NOT_YET: Final = "wished for or begun, not finished"
NOT_OWNED: Final = "a sample or lent, not bought"


class CsvExport:
    """A user's export whose CSV files have one layout."""

    name: str
    about: str
    personal = True
    fields: ClassVar[Mapping[str, tuple[str, ...]]]
    """Columns, whatever their case, that hold each field: of those that are there, the first with a value counts."""
    needed: ClassVar[tuple[str, ...]] = ("title",)
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

    def tables(self, files: Files, request: ReadRequest) -> list[Table]:
        """One table a file."""
        sources = list(files.sources.values()) if files.alone else files.ending(".csv")
        return [self._table(files, source, request) for source in sources]

    def _table(self, files: Files, source: Source, request: ReadRequest) -> Table:
        header = read_header(files, source, self.encodings)
        known = self._columns_of(header.columns)
        for field in self.needed:
            if field not in known:
                msg = f"{source} has no column {' or '.join(self.fields[field][:4])} for the {field}"
                shown = ", ".join(header.columns)
                raise DataError(msg, hint=f"the columns are: {shown}; or name them: --format csv --column FIELD=COLUMN")
        rating = known.get("rating", ())
        unrated = kind_of_unrated(header, lambda row: bool(rating) and text(row, rating[0]) not in {"", "0"})
        return export_table(header, request, partial(self._parse, request, unrated, known))

    def _columns_of(self, present: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
        """The columns of a file by field; fields without one are left out."""
        written = {column.casefold(): column for column in reversed(present)}
        known = {
            field: tuple(written[name.casefold()] for name in names if name.casefold() in written)
            for field, names in self.fields.items()
        }
        return {field: names for field, names in known.items() if names}

    def _parse(
        self, request: ReadRequest, unrated: str, known: Mapping[str, tuple[str, ...]], row: Cells
    ) -> TitledInteraction:
        cells = {
            field: next((row[name] for name in names if row.get(name) not in {None, ""}), None)
            for field, names in known.items()
        }
        if "rating" in cells:
            cells["rating"] = self.star_words.get(text(cells, "rating"), cells["rating"])
        kind = self.unrated_kind(cells, unrated)
        return titled_interaction(
            self.name,
            request,
            self.title(cells),
            year=year(cells, "year"),
            creators=self.creators(cells),
            rating=stars(cells, "rating"),
            unrated=kind,
            timestamp=timestamp(cells, "date"),
            links=split(text(cells, "link"), " "),
        )

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
        raise NotImplementedError


class GoodreadsLibrary(CsvExport):
    """goodreads_library_export.csv. Shelves decide only what is unrated; reviews and notes are not kept."""

    name = "goodreads"
    about = "Goodreads: goodreads_library_export.csv of your own books"
    fields: ClassVar = {
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
    fields: ClassVar = {
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
    fields: ClassVar = {
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
    fields: ClassVar = {
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
