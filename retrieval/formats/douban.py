"""Douban. Reads the CSV files that export scripts make, with Chinese column names, produces mentions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from retrieval.errors import DataError, UnreadableFile
from retrieval.formats.base import LeftOut, Mention, Request, Table, no_files
from retrieval.formats.files import Files
from retrieval.formats.naming import name_of
from retrieval.formats.personal import NOT_YET, export_table, mention, read_export, unrated_kind
from retrieval.formats.values import moment, required, split, stars, text, year
from retrieval.tabular import Source

_ENCODINGS: Final = ("utf-8", "gb18030")  # Excel saves CSV in the second one in China
_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "title": ("标题", "片名", "书名", "名称", "标题/书名", "电影名", "电影名称"),
    "original": ("原名", "原作名", "又名", "外文名"),
    "rating": ("个人评分", "我的评分", "评分", "打分"),
    "date": ("打分日期", "标记日期", "标记时间", "创建时间", "评分日期", "日期"),
    "year": ("年份", "上映日期", "上映年份", "出版日期", "出版年", "出版时间", "出版年份"),
    "creators": ("作者", "导演", "译者/作者"),
    "status": ("状态", "看过状态", "阅读状态"),
    "link": ("条目链接", "链接", "豆瓣链接"),
}
"""Column names that the usual scripts give; 豆瓣评分, everybody's rating, is none of them."""
_WORDS: Final[Mapping[str, str]] = {"力荐": "5", "推荐": "4", "还行": "3", "较差": "2", "很差": "1"}
"""What Douban calls its stars."""
_WISHES = frozenset({"想看", "想读", "想听", "想玩", "在看", "在读", "在听", "在玩", "wish", "do"})


class Douban:
    """A person's films or books. What stands behind " / " in a title is an alias, and so is the original title."""

    name = "douban"
    about = "Douban: a CSV of 看过 or 读过 with Chinese column names (标题, 个人评分, 打分日期 …), in UTF-8 or GB18030"
    own = True

    def recognises(self, files: Files) -> bool:
        """By Chinese names for title and rating."""
        return any({"title", "rating"} <= _fields(files, source)[0].keys() for source in _csv(files))

    def tables(self, files: Files, request: Request) -> list[Table]:
        """One table a file."""
        tables = []
        for source in _csv(files):
            known, present = _fields(files, source)
            if "title" not in known:
                hint = f"it has to be called {' or '.join(_COLUMNS['title'][:4])}; there are: {', '.join(present)}"
                raise DataError(f"{source} has no column with titles", hint=hint)
            rating = known.get("rating", "")
            unrated = unrated_kind(files, source, partial(_has, rating), _ENCODINGS)
            parse = partial(_work, request, unrated, known)
            tables.append(export_table(files, source, request, parse, (), encodings=_ENCODINGS))
        if not tables:
            raise no_files(self, files)
        return tables


def _has(column: str, row: Mapping[str, object]) -> bool:
    return bool(text(row, column))


def _csv(files: Files) -> list[Source]:
    return [source for name, source in files.sources.items() if name.endswith(".csv")]


def _fields(files: Files, source: Source) -> tuple[dict[str, str], tuple[str, ...]]:
    """Columns by field, and all columns."""
    try:
        present, _ = read_export(files, source, _ENCODINGS)
    except UnreadableFile:
        return {}, ()
    known = {field: name for field, names in _COLUMNS.items() for name in reversed(names) if name in present}
    return known, present


def _work(request: Request, unrated: str, known: Mapping[str, str], row: Mapping[str, object]) -> Mention:
    cells = {field: row.get(column) for field, column in known.items()}
    if text(cells, "status") in _WISHES:
        raise LeftOut(NOT_YET)
    written = required(cells, "title")
    originals = " / ".join(split(text(cells, "original"), "/"))
    cells["rating"] = _WORDS.get(text(cells, "rating"), cells.get("rating"))
    return mention(
        "douban",
        request,
        name_of(f"{written} / {originals}" if originals else written, slashed_alias=True),
        year=year(cells, "year"),
        creators=split(text(cells, "creators"), "/"),
        rating=stars(cells, "rating"),
        unrated=unrated,
        timestamp=moment(cells, "date"),
        links=split(text(cells, "link"), " "),
    )
