"""What a format is. Reads nothing, produces nothing; each format is a `Reader` that gives `Table`s.

A reader knows which files belong to it and what a row of each means. It opens nothing on its own: a `Table` says how
its rows are read, and the import reads them when their turn comes, as often as it needs to.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Literal, NamedTuple, Protocol, get_args, runtime_checkable

from retrieval.errors import DataError, StoreError
from retrieval.formats.files import Files, columns
from retrieval.formats.values import required
from retrieval.tabular import Rows, Source, read_csv, read_jsonl
from retrieval.types import Interaction, Item

TableKind = Literal["details", "items", "interactions", "relations"]
"""What the rows of a table are; details (authors' names, genres) complete items and are not stored for themselves."""

_ORDER: Final[tuple[TableKind, ...]] = get_args(TableKind)
_CACHE_KIB: Final = 32 * 1024


class LeftOut(Exception):
    """A good row that is not wanted; the message is one of a few constants."""


@dataclass(frozen=True)
class TitledInteraction:
    """An interaction with a work that is only known by its title, as in one user's export.

    `work` has a title and perhaps creators and a year; the import finds the item of the catalogue that it is.
    """

    work: Item
    user: str
    kind: str
    value: float
    timestamp: int | None = None

    def with_item(self, item: Item) -> Interaction:
        """The interaction with that item of the catalogue."""
        known = {name: value for name, value in vars(self).items() if name != "work"}
        return Interaction(domain=item.domain, item=item.id, **known)


class Triple(NamedTuple):
    """A relation as a file has it: two names and a predicate. `language` is that of a label, empty if unknown."""

    subject: str
    predicate: str
    object: str
    language: str = ""


Record = Item | Interaction | TitledInteraction | Triple
Parse = Callable[[Mapping[str, object]], Record | None]
"""A row's meaning; None for a detail, which is kept where the items' rows find it.

Raises:
    RefusedRow: it has none.
    LeftOut: it is not wanted.
"""


@dataclass(frozen=True)
class Table:
    """A file of a format.

    Attributes:
        file: its name, for reports.
        rows: reads it from the beginning; called more than once if users are sampled by a first pass.
        user_column: names the user, so that a refused row is known to be theirs.
        owner: whose export it is; None: the rows name their users.
        attributes: names of the columns that became attributes of items, filled while rows are parsed.
    """

    file: str
    kind: TableKind
    rows: Callable[[], Rows]
    parse: Parse
    user_column: str = "user"
    owner: str | None = None
    attributes: Collection[str] = ()


@dataclass(frozen=True)
class ReadRequest:
    """What an import asks of a reader.

    Attributes:
        domain: of the items and interactions.
        user: whose export it is; empty where rows name their users.
        stack: closes what the reader opens (tables of details on disk) when the import ends.
    """

    domain: str
    user: str = ""
    stack: ExitStack = field(default_factory=ExitStack)


@runtime_checkable
class Reader(Protocol):
    """A format. Third parties register objects like this under the entry point group `xdrec.readers`."""

    name: str
    """What `--format` calls it."""
    about: str
    """One line: what it is and which files it accepts."""
    personal: bool
    """Whether it is one user's export, whose titles are looked up in a catalogue."""

    def recognises(self, files: Files) -> bool:
        """Whether the files are unmistakably of this format."""

    def tables(self, files: Files, request: ReadRequest) -> Iterable[Table]:
        """The tables of the files that belong to the format.

        Raises:
            DataError: a file has not the columns of the format.
        """


def tables_of(reader: Reader, files: Files, request: ReadRequest) -> list[Table]:
    """The reader's tables in the order in which they have to be read: details, items, interactions.

    Raises:
        DataError: no file of the format is there, or one has not the columns of the format.
    """
    tables = sorted(reader.tables(files, request), key=lambda table: _ORDER.index(table.kind))
    if tables:
        return tables
    names = ", ".join(list(files.sources)[:10]) or "nothing"
    msg = f"{files.path} holds no file of {reader.name}; found: {names}"
    raise DataError(msg, hint=f"{reader.name} reads {reader.about}")


def require_columns(source: Source, present: Collection[str], required: Iterable[str]) -> None:
    """Check that a file has the columns that the format needs.

    Raises:
        DataError: it lacks some, and which it has instead.
    """
    if missing := [name for name in required if name not in present]:
        msg = f"{source} has no column {', '.join(missing)}: its layout is another one or has changed"
        shown = ", ".join(list(present)[:20])
        raise DataError(msg, hint=f"the columns are: {shown}; name them yourself: --format csv --column FIELD=COLUMN")


def csv_table(source: Source, kind: TableKind, required: Iterable[str], parse: Parse, user_column: str = "") -> Table:
    """A table of a CSV file in UTF-8.

    Raises:
        DataError: it lacks a required column.
    """
    require_columns(source, columns(source), required)
    return Table(source.name, kind, partial(read_csv, source), parse, user_column)


def detail_tables(files: Files, *needed: tuple[str, tuple[str, ...], Parse]) -> list[Table]:
    """Tables of details: file name, columns that a CSV file must have, what keeps a row. None unless all are there."""
    sources = [source for name, _, _ in needed if (source := files.beside(name))]
    if len(sources) < len(needed):
        return []
    return [
        csv_table(source, "details", required, keep)
        if name.endswith(".csv")
        else Table(source.name, "details", partial(read_jsonl, source), keep)
        for source, (name, required, keep) in zip(sources, needed, strict=True)
    ]


class Details:
    """Texts by id, from one file for the items of another. Of several puts under one id all are kept, in order.

    In a temporary SQLite file: two million books' genres would not fit the memory that an import may take.

    Raises:
        StoreError: the temporary folder is full or cannot be written.
    """

    def __init__(self, stack: ExitStack) -> None:
        self._db = stack.enter_context(scratch_database("CREATE TABLE details (id TEXT NOT NULL, texts TEXT NOT NULL)"))
        self._indexed = False

    def put(self, id_: str, *texts: str) -> None:
        """Keep texts under an id."""
        self._execute("INSERT INTO details VALUES (?, ?)", id_, json.dumps(texts))

    def get(self, id_: str) -> tuple[str, ...]:
        """All texts under an id, without repetitions; none if it is unknown."""
        if not self._indexed:
            # Only now: one sort at the end is much cheaper than an index that grows in random order.
            self._execute("CREATE INDEX by_id ON details (id)")
            self._indexed = True
        rows = self._execute("SELECT texts FROM details WHERE id = ? ORDER BY rowid", id_)
        return tuple(dict.fromkeys(text for (texts,) in rows for text in json.loads(texts)))

    def keep(self, id_column: str, text_column: str) -> Parse:
        """What keeps the texts of one column of rows under the ids of another."""
        return lambda row: self.put(required(row, id_column), required(row, text_column))

    def _execute(self, statement: str, *values: str) -> list[tuple[str]]:
        with scratch_errors():
            return self._db.execute(statement, values).fetchall()


@contextmanager
def scratch_database(table: str) -> Iterator[sqlite3.Connection]:
    """A temporary SQLite database with one table; `table` is the statement that makes it.

    Raises:
        StoreError: the temporary folder is full or cannot be written.
    """
    with ExitStack() as stack:
        with scratch_errors():
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="xdrec-ingest-")))
            database = stack.enter_context(closing(sqlite3.connect(folder / "scratch.sqlite", isolation_level=None)))
            # Nothing has to survive a crash; the cache bounds the memory.
            for statement in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{_CACHE_KIB}"):
                database.execute(f"PRAGMA {statement}")
            database.execute(table)
            database.execute("BEGIN")
        yield database


@contextmanager
def scratch_errors() -> Iterator[None]:
    """Raise `StoreError` where a temporary database fails."""
    try:
        yield
    except (sqlite3.Error, OSError) as exc:
        hint = "make room in the folder for temporary files (TMPDIR)"
        raise StoreError(f"a temporary database failed: {exc}", hint=hint) from exc
