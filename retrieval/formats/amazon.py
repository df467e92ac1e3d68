"""Amazon Reviews. Reads the reviews and metadata of 2014, 2018 and 2023, produces items and ratings."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from functools import partial
from typing import Final

from retrieval.errors import DataError
from retrieval.formats.base import Parse, ReadRequest, Table, TableKind
from retrieval.formats.files import Files, first_line
from retrieval.formats.values import Cells, clean, parse_title, rated, required, text, texts
from retrieval.tabular import NOT_JSON, RefusedRow, Source, parse_json, read_lines
from retrieval.types import Item

LITERAL_LIMIT: Final = 256 * 1024
"""Longest single-quoted line (2014) that is read, in bytes: its parser needs a hundred times as much memory."""
NESTING_LIMIT: Final = 100
"""Most brackets that may be open at once in such a line: its parser is recursive."""
TOO_DEEP = "too long or too deeply nested"
_REVIEW: Final = ("reviewerID", "asin", "overall", "unixReviewTime")
# The dump of 2023 counts milliseconds, its first samples counted seconds.
_REVIEW_2023: Final = ("user_id", "parent_asin", "rating", "timestamp")
_SUFFIXES = (".json", ".jsonl")
_ROOTS = frozenset({"Books", "Movies & TV", "Kindle Store", "Music", "CDs & Vinyl", "Video Games"})
# What stands where a title belongs in some pages of 2018, and in front of an author's name.
_PAGE_CODE = re.compile(r"getTime\(|<span|<script|\bvar ", re.IGNORECASE)
_AUTHORS_PAGE = re.compile(r"^Visit Amazon's (?P<name>.+?) Page$")
_ROLE = re.compile(r"\s*\((?:Author|Actor|Director|Artist|Composer|Editor|Narrator)\)", re.IGNORECASE)
_STORE_FORMAT = re.compile(r"\s+(?:Format|Rated):.*$", re.IGNORECASE)


class Amazon:
    """The data sets of the McAuley lab. Of a product's editions (2023) the parent is the item."""

    name = "amazon"
    about = "Amazon Reviews 2014, 2018, 2023: reviews and metadata of one domain (.json.gz, .jsonl.gz) or their folder"
    personal = False

    def recognises(self, files: Files) -> bool:
        """By the fields of a first line that no other data set has together."""
        return any(_layout(source, "") is not None for source in files.ending(*_SUFFIXES))

    def tables(self, files: Files, request: ReadRequest) -> Iterator[Table]:
        """Metadata and reviews; files of another layout are passed over unless there is nothing else."""
        layouts = {source: _layout(source, request.domain) for source in files.ending(*_SUFFIXES)}
        if layouts and not any(layouts.values()):
            msg = f"{next(iter(layouts))}: the first line has not the fields of a review or a product"
            hint = "reviews have reviewerID, asin and overall (2014, 2018) or user_id and parent_asin (2023)"
            raise DataError(msg, hint=f"{hint}; another layout: --format jsonl --column FIELD=COLUMN")
        for source, layout in layouts.items():
            if layout is not None:
                kind, parse, user = layout
                yield Table(source.name, kind, partial(read_lines, source, _decoded), parse, user)


def _layout(source: Source, domain: str) -> tuple[TableKind, Parse, str] | None:
    """Kind of a file's rows, what parses them and their user's column, by the fields of its first line."""
    try:
        fields = (_decoded(first_line(source)) or {}).keys()
    except (UnicodeDecodeError, RefusedRow):
        return None
    for columns in (_REVIEW, _REVIEW_2023):
        if set(columns[:3]) <= fields:
            return "interactions", partial(rated, domain, columns), columns[0]
    if {"parent_asin", "title"} <= fields:
        return "items", partial(_product_2023, domain), ""
    if "asin" in fields and fields & {"categories", "category", "salesRank", "related", "imUrl", "main_cat"}:
        return "items", partial(_product, domain), ""
    return None


def _decoded(raw: bytes) -> dict[str, object] | None:
    """The object of a line of JSON, or of a Python literal as in the metadata of 2014; nothing in it is ever run."""
    if not raw.lstrip().startswith(b"{'"):
        return parse_json(raw)
    written = raw.decode()
    if len(written) > LITERAL_LIMIT or _nesting(written) > NESTING_LIMIT:
        raise RefusedRow(TOO_DEEP)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "\d" in a description is no concern of ours
            value = ast.literal_eval(written.strip())
    # MemoryError is what Python's own parser raises when its stack ends.
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as exc:
        raise RefusedRow(NOT_JSON, f"not a Python literal: {exc}") from exc
    if not isinstance(value, dict):
        raise RefusedRow(NOT_JSON, f"a {type(value).__name__}")
    return value


def _nesting(written: str) -> int:
    depth = deepest = 0
    for bracket in re.findall(r"[\[({\])}]", written):
        depth = depth + 1 if bracket in "[({" else max(depth - 1, 0)
        deepest = max(deepest, depth)
    return deepest


def _product(domain: str, row: Cells) -> Item:
    """2014 and 2018: brand is the maker (of books, often the author), categories one path or several."""
    brand = text(row, "brand")
    page = _AUTHORS_PAGE.match(brand)
    creators = texts(page["name"] if page else brand)
    categories = row.get("category") or row.get("categories")
    return _item(domain, "asin", row, creators, categories, texts(row.get("imUrl") or row.get("imageURLHighRes")))


def _product_2023(domain: str, row: Cells) -> Item:
    author = row.get("author")
    names = texts(author.get("name") if isinstance(author, dict) else author)
    store = _ROLE.sub("", _STORE_FORMAT.sub("", text(row, "store")))
    images = row.get("images")
    large = [image.get("large") for image in images if isinstance(image, dict)] if isinstance(images, list) else []
    creators = names or texts(store.split(","))
    return _item(domain, "parent_asin", row, creators, row.get("categories"), texts(large)[:1])


def _item(
    domain: str, id_column: str, row: Cells, creators: tuple[str, ...], categories: object, media: tuple[str, ...]
) -> Item:
    id_, title = required(row, id_column), required(row, "title")
    if _PAGE_CODE.search(title):
        raise RefusedRow("title is a piece of a page", title[:80])
    details = row.get("details")
    language = details.get("Language") if isinstance(details, dict) else None
    return parse_title(title).item(
        domain,
        id_,
        creators=creators,
        language=clean(language).partition(";")[0] or None if isinstance(language, str) else None,
        categories=_categories(categories),
        description=" ".join(texts(row.get("description"))),
        media=media,
    )


def _categories(value: object) -> tuple[str, ...]:
    """All parts of all paths, without the shop's own root."""
    paths = value if isinstance(value, list) else []
    names = [name for path in paths for name in (path if isinstance(path, list) else [path])]
    return tuple(name for name in texts(names) if name not in _ROOTS and "<" not in name)
