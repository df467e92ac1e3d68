"""What all exports of one user share. Reads a CSV file of any usual encoding, produces rows and interactions.

An export only holds titles; `retrieval.ingest.matching` finds the items of a catalogue that they are.
"""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from retrieval.errors import UnreadableFile
from retrieval.formats.base import Parse, ReadRequest, Table, TitledInteraction
from retrieval.formats.files import Files, columns_of, decodes
from retrieval.formats.title_parts import TitleParts
from retrieval.formats.values import Cells
from retrieval.tabular import RowProblem, Rows, Source, open_lines, read_csv
from retrieval.titles import normalise
from retrieval.types import EVENT_WEIGHTS

MAX_BYTES: Final = 64 << 20
"""Largest file of an export (64 MiB), unpacked: nobody's diary is longer, so what is has been made to be."""


@dataclass(frozen=True)
class Header:
    """The column names of a CSV file, and its encoding."""

    source: Source
    columns: tuple[str, ...]
    encoding: str

    def rows(self) -> Rows:
        """The rows, from the first one."""
        return read_csv(self.source, self.encoding)


def read_header(files: Files, source: Source, encodings: tuple[str, ...] = ("utf-8",)) -> Header:
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
    return Header(source, columns_of(first.decode(encoding)), encoding)


def export_table(
    header: Header, request: ReadRequest, parse: Parse, change: Callable[[Callable[[], Rows]], Rows] | None = None
) -> Table:
    """The table of an export, all rows of which are the user's; `change` may look at all rows before it passes them."""
    rows = partial(change, header.rows) if change is not None else header.rows
    owned = partial(_owned, rows, request.user)
    return Table(header.source.name, "interactions", owned, parse, owner=request.user)


def _owned(rows: Callable[[], Rows], user: str) -> Rows:
    for row in rows():
        yield row if isinstance(row, RowProblem) else (row[0], {"user": user, **row[1]})


def titled_interaction(
    site: str,
    request: ReadRequest,
    parts: TitleParts,
    *,
    year: int | None,
    creators: tuple[str, ...],
    rating: float | None,
    unrated: str,
    timestamp: int | None,
    links: tuple[str, ...] = (),
) -> TitledInteraction:
    """What the user said about a work: the rating, else an event of the kind `unrated`.

    The work holds public facts only (no reviews, no shelves), since `--add-items` puts it where all can see it.
    """
    year = year or parts.year
    # The same work gets the same id in every export of a site.
    key = "|".join((normalise(parts.title), str(year or ""), *map(normalise, creators[:1])))
    id_ = f"{site}:{hashlib.blake2b(key.encode(), digest_size=8).hexdigest()}"
    work = parts.item(request.domain, id_, year=year, creators=creators, links=links)
    if rating is not None:
        return TitledInteraction(work, request.user, "rating", rating, timestamp)
    return TitledInteraction(work, request.user, unrated, EVENT_WEIGHTS[unrated], timestamp)


def kind_of_unrated(header: Header | None, rated: Callable[[Cells], bool]) -> str:
    """The event of a work without a rating: "view" (it is known) if the user rates others, else "finish".

    Users who rate had a reason not to rate it; of users who never rate, finishing is all that is known.
    """
    rows = header.rows() if header is not None else iter(())
    return "view" if any(rated(row[1]) for row in rows if not isinstance(row, RowProblem)) else "finish"
