"""What all exports of one person share. Reads a CSV file of any usual encoding, produces rows and mentions.

An export only holds titles; which items of a catalogue they are is found out by `retrieval.ingest.matching`.
"""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Final

from retrieval.errors import UnreadableFile
from retrieval.formats.base import Mention, Request, Table, needs
from retrieval.formats.files import Files, columns_of
from retrieval.formats.naming import Name
from retrieval.tabular import Row, Source, opened, read_csv
from retrieval.tabular.lines import RowProblem
from retrieval.titles import normalise
from retrieval.types import EVENT_WEIGHTS, Item

MAX_BYTES: Final = 64 << 20
"""Largest file of an export (64 MiB), unpacked: nobody's diary is longer, so what is has been made to be."""
NOT_YET = "wished for or begun, not finished"
_SEEN_WITHOUT_RATING = "view"

Meaning = Callable[[Mapping[str, object]], Mention | None]


def read_export(files: Files, source: Source, encodings: tuple[str, ...] = ("utf-8",)) -> tuple[tuple[str, ...], str]:
    """The column names of a CSV file, and which of two encodings it is in.

    It is in UTF-8 if more lines with other than ASCII characters fit that than do not: single broken rows are for
    the report. Else it is in the second one.

    Raises:
        UnreadableFile: it is larger than an export can be, in UTF-16, or its first line is in neither encoding.
    """
    if (size := files.size(source)) > MAX_BYTES:
        msg = f"{source} has {size >> 20} MiB; an export of one person has less than {MAX_BYTES >> 20}"
        raise UnreadableFile(msg, hint="give the export as the site made it")
    first, fitting, broken = b"", 0, 0
    with opened(source) as lines:
        for line in lines:
            if isinstance(line, RowProblem):
                continue
            first = first or line[1]
            if not line[1].isascii():
                fits = _fits(line[1], encodings[0])
                fitting, broken = fitting + fits, broken + (not fits)
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UnreadableFile(f"{source} is in UTF-16", hint="save it as CSV in UTF-8")
    encoding = encodings[0] if broken <= fitting else encodings[-1]
    if not _fits(first, encoding):
        raise UnreadableFile(f"{source} is not in {' or '.join(encodings)}", hint="save it as CSV in UTF-8")
    return columns_of(first.decode(encoding)), encoding


def _fits(raw: bytes, encoding: str) -> bool:
    try:
        raw.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def export_table(
    files: Files,
    source: Source,
    request: Request,
    parse: Meaning,
    wanted: tuple[str, ...],
    *,
    encodings: tuple[str, ...] = ("utf-8",),
    change: Callable[[Callable[[], Iterator[Row | RowProblem]]], Iterator[Row | RowProblem]] | None = None,
) -> Table:
    """A table of one person's export, whose every row is theirs.

    `wanted` are the columns it must have; `change` may look at all rows before it passes them on.

    Raises:
        UnreadableFile: it is larger than an export can be.
        DataError: a column is missing.
    """
    present, encoding = read_export(files, source, encodings)
    needs(source, present, wanted)
    read: Callable[[], Iterator[Row | RowProblem]] = partial(read_csv, source, encoding)
    rows = partial(change, read) if change is not None else read
    return Table(source.name, "interactions", partial(_owned, rows, request.user), parse, person=request.user)


def _owned(rows: Callable[[], Iterator[Row | RowProblem]], person: str) -> Iterator[Row | RowProblem]:
    for row in rows():
        yield row if isinstance(row, RowProblem) else (row[0], {"user": person, **row[1]})


def mention(
    source: str,
    request: Request,
    name: Name,
    *,
    year: int | None,
    creators: tuple[str, ...],
    rating: float | None,
    unrated: str,
    timestamp: int | None,
    links: tuple[str, ...] = (),
) -> Mention:
    """What the person said about a work: the rating, else an event of the kind `unrated`.

    The item holds public facts only (no reviews, no shelves), since `--add-items` puts it where all can see it.
    """
    year = year or name.year
    item = Item(
        domain=request.domain,
        id=_id_of(source, name.title, year, creators),
        title=name.title,
        aliases=name.aliases,
        creators=creators,
        year=year,
        series=name.series,
        volume=name.volume,
        links=links,
    )
    if rating is not None:
        return Mention(item, request.user, "rating", rating, timestamp)
    return Mention(item, request.user, unrated, EVENT_WEIGHTS[unrated], timestamp)


def unrated_kind(
    files: Files,
    source: Source | None,
    rated: Callable[[Mapping[str, object]], bool],
    encodings: tuple[str, ...] = ("utf-8",),
) -> str:
    """What a work without a rating tells: nothing but that it is known if the person rates others, else "finish".

    Somebody who rates has not rated it for a reason; of somebody who never does, finishing is all there is.

    Raises:
        UnreadableFile: as `read_export`.
    """
    if source is None:
        return "finish"
    rows = read_csv(source, read_export(files, source, encodings)[1])
    return _SEEN_WITHOUT_RATING if any(rated(r[1]) for r in rows if not isinstance(r, RowProblem)) else "finish"


def _id_of(source: str, title: str, year: int | None, creators: tuple[str, ...]) -> str:
    """The same work gets the same id in every export of a site."""
    key = "|".join((normalise(title), str(year or ""), *map(normalise, creators[:1])))
    return f"{source}:{hashlib.blake2b(key.encode(), digest_size=8).hexdigest()}"
