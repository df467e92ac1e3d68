"""The tables of an import. Reads what is asked for, produces its `Table`s: a plain table, a known format, triples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Literal, NamedTuple

from retrieval.errors import DataError, UsageError
from retrieval.formats import Files, Parse, Reader, ReadRequest, Table, find_reader, guess_reader, tables_of
from retrieval.ingest.interaction_filter import InteractionFilter
from retrieval.ingest.relations import RELATION_COLUMNS, parse_rdf_row, parse_table_row
from retrieval.store import Store
from retrieval.tabular import (
    INTERACTION_COLUMNS,
    ITEM_COLUMNS,
    ROW_READERS,
    TRIPLE_READERS,
    Columns,
    InteractionRows,
    ItemRows,
    Rows,
    guess_format,
    peek_columns,
    read_rows,
)

Kind = Literal["items", "interactions", "relations"]
_ALL: Final = InteractionFilter()


@dataclass(frozen=True)
class IngestRequest:
    """What to import, and how. What is None or empty was not asked for.

    Attributes:
        path: a plain table (`tabular.ROW_READERS`), a file, folder or ZIP of a known format (`formats.READERS`), or a
            file of triples (`tabular.TRIPLE_READERS`).
        domain: whose catalogue or interactions they are; empty for relations, which name their items' domains.
        kind: what the rows are; "relations" has to be said. None: interactions if there is a user column, else items.
        format: of the file. None: the known format that recognises it without doubt, else guessed from the suffix.
        columns: fields (title, creators … or user, item, value, kind, timestamp, or subject, predicate, object) to
            columns of a plain table, where the usual names (`ITEM_COLUMNS`, `INTERACTION_COLUMNS`,
            `RELATION_COLUMNS`) do not fit.
        list_separator: between the parts of a list in one text of a plain table; None: "|".
        scale: lowest and highest rating of a plain table, mapped linearly to 1 to 5; None: 1 to 5.
        event: kind of the interactions of a plain table without a kind column; None: ratings.
        user: whose own export it is; its titles are looked up in the domain's catalogue.
        add_items: make items of an export's titles that the catalogue does not have.
        keep: which interactions are kept.
        strict: stop at the first bad row; all rows before it are written (of relations all batches before it).
        rejects: file for the bad rows, as JSONL with line, reason and row; there is none when no row is bad.
    """

    path: Path
    domain: str = ""
    kind: Kind | None = None
    format: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    list_separator: str | None = None
    scale: tuple[float, float] | None = None
    event: str | None = None
    user: str = ""
    add_items: bool = False
    keep: InteractionFilter = _ALL
    strict: bool = False
    rejects: Path | None = None

    @property
    def describes_table(self) -> bool:
        """Whether something is said that only a plain table needs."""
        given = (self.kind, self.list_separator, self.scale, self.event)
        return bool(self.columns) or any(value is not None for value in given)

    def check(self) -> None:
        """Refuse values that make no sense whatever is in the file.

        Raises:
            UsageError: there is one.
        """
        if self.kind == "relations":
            if self.domain or self.user or self.add_items or self.keep != _ALL:
                raise UsageError("relations have no domain or users of their own", hint="xdrec ingest --relations FILE")
        elif not self.domain.strip():
            raise UsageError("the domain has no name", hint="name it, as in: xdrec ingest books FILE")
        if self.list_separator == "":
            raise UsageError("the list separator is empty", hint="give a character, as in: --list-separator ';'")
        if self.scale is not None and not self.scale[0] < self.scale[1]:
            msg = f"the scale {self.scale[0]:g} to {self.scale[1]:g} is empty"
            raise UsageError(msg, hint="lowest first, as in: --scale 1:5")
        if self.rejects is not None and self.rejects.resolve() == self.path.resolve():
            raise UsageError(f"the rejects would overwrite {self.path}", hint="give another file for --rejects")


class Import(NamedTuple):
    """The tables of an import in the order in which they are read; `reader` is that of a known format."""

    format: str
    tables: Sequence[Table]
    reader: Reader | None = None


def open_import(store: Store, request: IngestRequest, stack: ExitStack) -> Import:
    """Find out what the files are; `stack` closes what is opened for them.

    Raises:
        UsageError, UnreadableFile, DataError: as `ingest`.
    """
    if request.kind == "relations":
        return _relations(request)
    reader = _known_format(request)
    if reader is not None and reader.personal:
        _check_export(store, reader, request)
    elif request.user or request.add_items:
        name = reader.name if reader else "a plain table"
        msg = f"{name} holds the data of many users: a user and new items belong to a user's own export"
        raise UsageError(msg, hint="name the --format of the export, or leave out --user and --add-items")
    if reader is None:
        return _plain_table(request)
    files = ReadRequest(domain=request.domain, user=request.user, stack=stack)
    return Import(reader.name, tables_of(reader, Files(request.path), files), reader)


def _known_format(request: IngestRequest) -> Reader | None:
    """The reader of a known format; None for a plain table."""
    if request.format in ROW_READERS:
        return None
    if request.format is not None:
        reader = find_reader(request.format)
        if request.describes_table:
            msg = f"{request.format} has columns and scales of its own"
            raise UsageError(msg, hint="leave out --kind, --column, --list-separator, --scale and --event")
        return reader
    # A pipe can be read once only, so nothing may look into it.
    if request.describes_table or not (request.path.is_dir() or request.path.is_file()):
        return None
    return guess_reader(Files(request.path))


def _check_export(store: Store, reader: Reader, request: IngestRequest) -> None:
    if not request.user.strip():
        msg = f"{reader.name} is a user's own export and does not say whose"
        raise UsageError(msg, hint="name the user, as in: --user me")
    if request.keep.samples_users:
        raise UsageError("one user's export has no users to choose from", hint="leave out --sample and the like")
    if not request.add_items and not store.has(request.domain):
        msg = f"there is no catalogue {request.domain!r} in which the titles could be looked up"
        raise UsageError(msg, hint="ingest one first, or make one of the export: --add-items")


def _plain_table(request: IngestRequest) -> Import:
    rows, present, format_ = _peeked(request)
    kind = request.kind or _guess_kind(present, request.columns)
    if kind == "items":
        known = Columns(ITEM_COLUMNS, present, request.columns, ("id", "title"))
        items = ItemRows(request.domain, known, request.list_separator or "|")
        return Import(format_, [Table(request.path.name, kind, rows, items.parse, attributes=items.attributes)])
    known = Columns(INTERACTION_COLUMNS, present, request.columns, ("user", "item"))
    event = request.event or "rating"
    if event == "rating" and not (known.has("value") or known.has("kind")):
        hint = f"--column rating=COLUMN, or --event play; the columns are: {', '.join(present)}"
        raise DataError("no column for the rating", hint=hint)
    interactions = InteractionRows(request.domain, known, request.scale or (1, 5), event)
    return Import(format_, [Table(request.path.name, kind, rows, interactions.parse)])


def _relations(request: IngestRequest) -> Import:
    format_ = request.format or guess_format(request.path, TRIPLE_READERS)
    if format_ not in ROW_READERS:
        rows: Callable[[], Rows] = partial(read_rows, request.path, format_, TRIPLE_READERS)
        parse: Parse = parse_rdf_row
    else:
        rows, present, _ = _peeked(request)
        parse = partial(parse_table_row, Columns(RELATION_COLUMNS, present, request.columns, RELATION_COLUMNS))
    return Import(format_, [Table(request.path.name, "relations", rows, parse)])


def _peeked(request: IngestRequest) -> tuple[Callable[[], Rows], list[str], str]:
    """The rows of a plain table, its columns as far as they are known, and its format."""
    format_ = request.format or guess_format(request.path, ROW_READERS)
    reread = partial(read_rows, request.path, format_)
    rows, present = peek_columns(request.path, reread())
    # Rows are read again only where a first pass needs that: a pipe can be read once.
    return (reread if request.keep.samples_users else lambda: rows), present, format_


def _guess_kind(present: list[str], named: Mapping[str, str]) -> Literal["items", "interactions"]:
    names = {name.casefold() for name in (*present, *named)} - {column.casefold() for column in named.values()}
    return "interactions" if names & set(INTERACTION_COLUMNS["user"]) else "items"
