"""Amazon Reviews. Reads the reviews and metadata of 2014, 2018 and 2023, produces items and ratings."""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Final

from retrieval.errors import DataError
from retrieval.formats.base import Request, Table, no_files
from retrieval.formats.files import Files, first_line
from retrieval.formats.naming import clean, name_of
from retrieval.formats.values import required, stars, text, texts, unix
from retrieval.tabular import NOT_JSON, NOT_UTF8, RefusedRow, Row, Source, opened, shown
from retrieval.tabular.lines import RowProblem
from retrieval.types import Interaction, Item

LITERAL_LIMIT: Final = 256 * 1024
"""Longest single-quoted line (2014) that is read, in bytes: its parser needs a hundred times as much memory."""
NESTING_LIMIT: Final = 100
"""Most brackets that may be open at once in such a line: its parser is recursive."""
TOO_DEEP = "too long or too deeply nested"
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
    own = False

    def recognises(self, files: Files) -> bool:
        """By the fields of a first line that no other data set has together."""
        return any(_layout(source) is not None for source in _candidates(files))

    def tables(self, files: Files, request: Request) -> list[Table]:
        """Metadata, then reviews."""
        items, reviews, strange = [], [], []
        for source in _candidates(files):
            layout = _layout(source)
            if layout is None:
                strange.append(source)
                continue
            kind, parse = layout
            rows = partial(_rows, source)
            if kind == "items":
                items.append(Table(source.name, "items", rows, partial(parse, request.domain)))
            else:
                user = "user_id" if parse is _review_2023 else "reviewerID"
                reviews.append(Table(source.name, "interactions", rows, partial(parse, request.domain), user=user))
        if strange and not (items or reviews):
            msg = f"{strange[0]}: the first line has not the fields of a review or a product"
            hint = "reviews have reviewerID, asin and overall (2014, 2018) or user_id and parent_asin (2023)"
            raise DataError(msg, hint=f"{hint}; another layout: --format jsonl --column FIELD=COLUMN")
        if not items and not reviews:
            raise no_files(self, files)
        return [*items, *reviews]


_Parse = Callable[[str, Mapping[str, object]], Item | Interaction]


def _candidates(files: Files) -> list[Source]:
    return [source for name, source in files.sources.items() if name.endswith(_SUFFIXES)]


def _layout(source: Source) -> tuple[str, _Parse] | None:
    """What a file holds, by the fields of its first line."""
    try:
        found = _decoded(first_line(source))
    except (ValueError, RefusedRow):
        return None
    if {"reviewerID", "asin", "overall"} <= found.keys():
        return "interactions", _review
    if {"user_id", "parent_asin", "rating"} <= found.keys():
        return "interactions", _review_2023
    if "parent_asin" in found and "title" in found:
        return "items", _product_2023
    if "asin" in found and found.keys() & {"categories", "category", "salesRank", "related", "imUrl", "main_cat"}:
        return "items", _product
    return None


def _rows(source: Source) -> Iterator[Row | RowProblem]:
    """Lines of JSON, or of Python literals as in the metadata of 2014."""
    with opened(source) as lines:
        for line in lines:
            if isinstance(line, RowProblem):
                yield line
                continue
            number, raw = line
            try:
                written = raw.decode()
                if written.strip():
                    yield number, _decoded(written)
            except UnicodeDecodeError as exc:
                yield RowProblem(number, NOT_UTF8, shown(raw), f"byte {exc.start + 1}")
            except RefusedRow as exc:
                yield RowProblem(number, exc.reason, shown(raw), exc.detail)
            except ValueError as exc:
                yield RowProblem(number, NOT_JSON, shown(raw), str(exc))


def _decoded(written: str) -> dict[str, object]:
    try:
        value = json.loads(written, parse_constant=lambda _name: None)
    except (ValueError, RecursionError):
        if not written.lstrip().startswith("{'"):
            raise ValueError("neither JSON nor a Python literal") from None
        value = _literal(written)
    if not isinstance(value, dict):
        raise ValueError(f"a {type(value).__name__}")  # noqa: TRY004 (translated with the other unreadable lines)
    return value


def _literal(written: str) -> object:
    """The value of a Python literal; nothing in it is ever run."""
    if len(written) > LITERAL_LIMIT or _nesting(written) > NESTING_LIMIT:
        raise RefusedRow(TOO_DEEP)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "\d" in a description is no concern of ours
            return ast.literal_eval(written.strip())
    # MemoryError is what Python's own parser raises when its stack ends.
    except (SyntaxError, TypeError, MemoryError, RecursionError) as exc:
        raise ValueError(f"not a Python literal: {exc}") from exc


def _nesting(written: str) -> int:
    depth = deepest = 0
    for bracket in re.findall(r"[\[({\])}]", written):
        depth = depth + 1 if bracket in "[({" else max(depth - 1, 0)
        deepest = max(deepest, depth)
    return deepest


def _review(domain: str, row: Mapping[str, object]) -> Interaction:
    return Interaction(
        user=required(row, "reviewerID"),
        domain=domain,
        item=required(row, "asin"),
        value=_stars(row, "overall"),
        timestamp=unix(row, "unixReviewTime"),
    )


def _review_2023(domain: str, row: Mapping[str, object]) -> Interaction:
    # The dump of 2023 counts milliseconds, its first samples counted seconds.
    seconds = len(text(row, "timestamp")) <= 10
    return Interaction(
        user=required(row, "user_id"),
        domain=domain,
        item=required(row, "parent_asin"),
        value=_stars(row, "rating"),
        timestamp=unix(row, "timestamp", milliseconds=not seconds),
    )


def _stars(row: Mapping[str, object], column: str) -> float:
    value = stars(row, column)
    if value is None:
        raise RefusedRow(f"{column} is missing")
    return value


def _product(domain: str, row: Mapping[str, object]) -> Item:
    """2014 and 2018: brand is the maker (of books, often the author), categories one path or several."""
    brand = text(row, "brand")
    page = _AUTHORS_PAGE.match(brand)
    return _item(
        domain,
        required(row, "asin"),
        row,
        creators=texts(page["name"] if page else brand),
        categories=_categories(row.get("category") or row.get("categories")),
        media=texts(row.get("imUrl") or row.get("imageURLHighRes")),
    )


def _product_2023(domain: str, row: Mapping[str, object]) -> Item:
    author = row.get("author")
    written = author.get("name") if isinstance(author, dict) else author
    stores = _ROLE.sub("", _STORE_FORMAT.sub("", text(row, "store")))
    images = row.get("images")
    large = [image.get("large") for image in images if isinstance(image, dict)] if isinstance(images, list) else []
    return _item(
        domain,
        required(row, "parent_asin"),
        row,
        creators=texts(written) or texts(stores.split(",")),
        categories=_categories(row.get("categories")),
        media=texts(large)[:1],
    )


def _item(
    domain: str,
    id_: str,
    row: Mapping[str, object],
    *,
    creators: tuple[str, ...],
    categories: tuple[str, ...],
    media: tuple[str, ...],
) -> Item:
    written = required(row, "title")
    if _PAGE_CODE.search(written):
        raise RefusedRow("title is a piece of a page", written[:80])
    name = name_of(written)
    details = row.get("details")
    language = details.get("Language") if isinstance(details, dict) else None
    return Item(
        domain=domain,
        id=id_,
        title=name.title,
        creators=creators,
        year=name.year,
        series=name.series,
        volume=name.volume,
        language=clean(language).partition(";")[0] or None if isinstance(language, str) else None,
        categories=categories,
        description=" ".join(texts(row.get("description"))),
        media=media,
    )


def _categories(value: object) -> tuple[str, ...]:
    """All parts of all paths, without the shop's own root."""
    paths = value if isinstance(value, list) else []
    flat = [part for path in paths for part in (path if isinstance(path, list) else [path])]
    return tuple(part for part in texts(flat) if part not in _ROOTS and "<" not in part)
