"""What a format is. Reads nothing, produces nothing; each format is a `Reader` that gives `Table`s.

A reader knows which files belong to it and what a row of each means. It opens nothing on its own: a `Table` says how
its rows are read, and the import reads them when their turn comes, as often as it needs to.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Literal, NamedTuple, Protocol, get_args, runtime_checkable

from retrieval.errors import DataError
from retrieval.formats.files import Files, columns
from retrieval.tabular import Rows, Source, read_csv, read_jsonl
from retrieval.types import Interaction, Item

TableKind = Literal["details", "items", "interactions", "relations"]
"""What the rows of a table are; details (authors' names, genres) complete items and are not stored for themselves."""

_ORDER: Final[tuple[TableKind, ...]] = get_args(TableKind)


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
        return Interaction(
            user=self.user,
            domain=item.domain,
            item=item.id,
            kind=self.kind,
            value=self.value,
            timestamp=self.timestamp,
        )


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


def require_columns(source: Source, present: Collection[str], required: Collection[str]) -> None:
    """Check that a file has the columns that the format needs.

    Raises:
        DataError: it lacks some, and which it has instead.
    """
    if missing := [name for name in required if name not in present]:
        msg = f"{source} has no column {', '.join(missing)}: its layout is another one or has changed"
        shown = ", ".join(list(present)[:20])
        raise DataError(msg, hint=f"the columns are: {shown}; name them yourself: --format csv --column FIELD=COLUMN")


def detail_tables(files: Files, *needed: tuple[str, tuple[str, ...], Parse]) -> list[Table]:
    """Tables of details: file name, columns that a CSV file must have, what keeps a row. None unless all are there."""
    tables = []
    for name, required, keep in needed:
        source = files.beside(name)
        if source is None:
            return []
        if required:
            require_columns(source, columns(source), required)
        rows = partial(read_csv if name.endswith(".csv") else read_jsonl, source)
        tables.append(Table(source.name, "details", rows, keep))
    return tables
