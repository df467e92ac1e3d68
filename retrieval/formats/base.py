"""What a format is. Reads nothing, produces nothing; each format is a `Reader` that gives `Table`s.

A reader knows which files belong to it and what a row of each means. It opens nothing on its own: a `Table` says how
its rows are read, and the import reads them when their turn comes, as often as it needs to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from retrieval.errors import DataError
from retrieval.formats.files import Files
from retrieval.tabular import Row, Source
from retrieval.tabular.lines import RowProblem
from retrieval.types import Interaction, Item

Kind = Literal["items", "interactions", "details"]
"""What the rows of a table are; details (authors' names, genres) complete items and are not stored for themselves."""


class LeftOut(Exception):
    """A good row that is not wanted; the reason is one of a few constants."""


@dataclass(frozen=True)
class Mention:
    """A work as a person's own export knows it, and what the person did with it.

    `item` has a title and perhaps creators and a year; which item of the catalogue it is has to be found out.
    """

    item: Item
    user: str
    kind: str
    value: float
    timestamp: int | None = None

    def of(self, item: Item) -> Interaction:
        """The interaction with that item of the catalogue."""
        return Interaction(
            user=self.user,
            domain=item.domain,
            item=item.id,
            kind=self.kind,
            value=self.value,
            timestamp=self.timestamp,
        )


Record = Item | Interaction | Mention
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
        rows: reads it from the beginning; called more than once if users are chosen by a first pass.
        user: column of the person, so that a refused row can be told to be theirs.
        person: whose export it is; None: the rows name their users.
    """

    file: str
    kind: Kind
    rows: Callable[[], Iterator[Row | RowProblem]]
    parse: Parse
    user: str = "user"
    person: str | None = None


@dataclass(frozen=True)
class Request:
    """What an import asks of a reader.

    Attributes:
        domain: whose items and interactions they shall be.
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
    own: bool
    """Whether it is one person's export, whose titles are looked up in a catalogue."""

    def recognises(self, files: Files) -> bool:
        """Whether the files are unmistakably of this format."""

    def tables(self, files: Files, request: Request) -> list[Table]:
        """The tables, in the order in which they have to be read: details, items, interactions.

        Raises:
            DataError: no file of the format is there, or one has not the columns of the format.
        """


def no_files(reader: Reader, files: Files) -> DataError:
    """The error when nothing that was given belongs to the format."""
    found = ", ".join(list(files.sources)[:10]) or "nothing"
    return DataError(
        f"{files.path} holds no file of {reader.name}; found: {found}", hint=f"{reader.name} reads {reader.about}"
    )


def needs(source: Source, present: Mapping[str, object] | tuple[str, ...], wanted: tuple[str, ...]) -> None:
    """Check that a file has the columns that the format needs.

    Raises:
        DataError: it lacks some, and which it has instead.
    """
    missing = [name for name in wanted if name not in present]
    if missing:
        msg = f"{source} has no column {', '.join(missing)}: its layout is another one or has changed"
        hint = (
            f"the columns are: {', '.join(list(present)[:20])}; name them yourself: --format csv --column FIELD=COLUMN"
        )
        raise DataError(msg, hint=hint)
