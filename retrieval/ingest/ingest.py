"""Files into the store. Reads catalogues and interactions from files, produces `IngestReport`s.

Rows go in by the thousand, each thousand in one transaction: an import that is killed leaves what was there
before and whole batches of itself, and running it again completes it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Literal

from retrieval.errors import DataError, UsageError
from retrieval.formats import Files, Reader, Request, Table, find_reader
from retrieval.ingest.interaction_filter import Wanted
from retrieval.ingest.matching import Matcher
from retrieval.ingest.writer import BATCH, Counts, Job
from retrieval.store import Store
from retrieval.tabular import (
    INTERACTION_COLUMNS,
    ITEM_COLUMNS,
    Columns,
    InteractionRows,
    ItemRows,
    Problem,
    Rejects,
    Row,
    read_rows,
)
from retrieval.tabular.readers import RowProblem
from retrieval.types import Frozen

__all__ = ["BATCH", "IngestReport", "Problem", "Wanted", "ingest", "ingest_format"]

_LOOKED_AT = 100  # rows that tell which columns there are
_ALL = Wanted()

Kind = Literal["items", "interactions"]


class IngestReport(Frozen):
    """What became of a file's rows.

    `rows` = added + updated + unchanged + repeated + rejected + those in `left_out`, which counts good rows that were
    not wanted by reason. `reasons` counts the rejected rows by reason, `problems` shows the first 20 of the import,
    `attributes` names the columns that became attributes, `rejects_file` holds all rejected rows of the import.
    `new_items` is how many items a person's own export added to the catalogue. Rows of kind "details" complete items.
    """

    domain: str
    kind: Literal["items", "interactions", "details"]
    file: str
    rows: int
    added: int
    updated: int
    unchanged: int
    repeated: int
    rejected: int
    reasons: dict[str, int]
    problems: tuple[Problem, ...]
    attributes: tuple[str, ...]
    rejects_file: Path | None
    left_out: dict[str, int]
    new_items: int


def ingest(
    store: Store,
    domain: str,
    path: Path,
    *,
    kind: Kind | None = None,
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
    list_separator: str = "|",
    scale: tuple[float, float] = (1, 5),
    event: str = "rating",
    wanted: Wanted = _ALL,
    strict: bool = False,
    rejects: Path | None = None,
    progress: Callable[[int], None] | None = None,
) -> IngestReport:
    """Write a file's rows into the store; bad rows are counted, shown and left out.

    Args:
        store: where to.
        domain: whose catalogue or interactions they are.
        path: a table that `readers.ROWS` can read.
        kind: what the rows are; None: interactions if there is a user column, else items.
        format: a key of `ROWS`; None: guessed from the suffix.
        columns: fields (title, creators … or user, item, value, kind, timestamp) to columns of the file,
        where the usual names (`columns.ITEM_COLUMNS`, `columns.INTERACTION_COLUMNS`) do not fit.
        list_separator: between the parts of a list in one text. scale: lowest and highest rating of the file,
        mapped linearly to 1 to 5. event: kind of interactions without a kind column. wanted: which interactions.
        strict: stop at the first bad row; all rows before it are written. rejects: file for the bad rows, as
        JSONL with line, reason and row; there is none when no row is bad. progress: called with the number of
        rows done so far, after each batch.

    Raises:
        UsageError: an argument makes no sense.
        UnreadableFile: the file is missing or not in its format.
        DataError: it has no rows, or a column is not there.
        BadRow: a row was bad and `strict` was given.
        StoreError: the database failed.
    """
    _check(domain, path, list_separator, scale, rejects)
    rows, present = _opened(path, format)
    kind = kind or _guess_kind(present, columns or {})
    parser: ItemRows | InteractionRows
    if kind == "items":
        known = Columns(ITEM_COLUMNS, present, columns or {}, ("id", "title"))
        parser = ItemRows(domain, known, list_separator)
    else:
        known = Columns(INTERACTION_COLUMNS, present, columns or {}, ("user", "item"))
        if event == "rating" and not (known.has("value") or known.has("kind")):
            hint = f"--column rating=COLUMN, or --event play; the columns are: {', '.join(present)}"
            raise DataError("no column for the rating", hint=hint)
        parser = InteractionRows(domain, known, scale, event)
    # Rows are read again only where a first pass needs that: a pipe can be read once.
    reread = partial(read_rows, path, format)
    table = Table(path.name, kind, reread if wanted.chooses_people else lambda: rows, parser.parse)
    with Rejects(rejects, path, strict=strict) as refused:
        counts = Job(store, refused, wanted.sieve([table]), progress).run(table)
        attributes = tuple(parser.attributes) if isinstance(parser, ItemRows) else ()
        rejects_file = refused.finish()
    return _report(domain, table, counts, refused.reasons, tuple(refused.first), rejects_file, attributes)


def ingest_format(
    store: Store,
    domain: str,
    path: Path,
    format: str,
    *,
    user: str = "",
    add_items: bool = False,
    wanted: Wanted = _ALL,
    strict: bool = False,
    rejects: Path | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[IngestReport, ...]:
    """Write the files of a known format into the store; a report for each of them, in the order they were read.

    Args:
        store: where to.
        domain: whose catalogue or interactions they are.
        path: a file of the format, a folder or a ZIP of them.
        format: a key of `formats.READERS`, or of a third party's reader.
        user: whose own export it is; its titles are looked up in the domain's catalogue.
        add_items: make items of an export's titles that the catalogue does not have.
        wanted, strict, rejects, progress: as for `ingest`.

    Raises:
        UsageError: an argument makes no sense for this format, or there is no such format.
        UnreadableFile: a file is missing or not in its format.
        DataError: nothing of the format is there, or a column has changed.
        BadRow: a row was bad and `strict` was given.
        StoreError: the database failed.
    """
    reader = find_reader(format)
    _check(domain, path, "|", (1, 5), rejects)
    _check_own(store, reader, domain, user, add_items, wanted)
    done: list[tuple[Table, Counts, Counter[str], tuple[Problem, ...]]] = []
    with ExitStack() as stack, Rejects(rejects, path, strict=strict) as refused:
        tables = reader.tables(Files(path), Request(domain=domain, user=user, stack=stack))
        job = Job(
            store,
            refused,
            wanted.sieve(tables),
            progress,
            matcher=Matcher(store, domain) if reader.own else None,
            add_items=add_items,
            named=True,
        )
        for table in tables:
            before, shown = refused.reasons.copy(), len(refused.first)
            counts = job.run(table)
            done.append((table, counts, refused.reasons - before, tuple(refused.first[shown:])))
        rejects_file = refused.finish()
    if not any(counts.rows for _, counts, _, _ in done):
        raise DataError(f"{path} has no rows", hint="give files with at least one row below the column names")
    return tuple(_report(domain, *of, rejects_file) for of in done)


def _report(
    domain: str,
    table: Table,
    counts: Counts,
    reasons: Counter[str],
    problems: tuple[Problem, ...],
    rejects_file: Path | None,
    attributes: tuple[str, ...] = (),
) -> IngestReport:
    return IngestReport(
        domain=domain,
        kind=table.kind,
        file=table.file,
        rows=counts.rows,
        added=counts.added,
        updated=counts.updated,
        unchanged=counts.unchanged,
        repeated=counts.repeated,
        rejected=reasons.total(),
        reasons=dict(reasons.most_common()),
        problems=problems,
        attributes=attributes,
        rejects_file=rejects_file,
        left_out=dict(counts.left_out.most_common()),
        new_items=counts.new_items,
    )


def _check_own(store: Store, reader: Reader, domain: str, user: str, add_items: bool, wanted: Wanted) -> None:
    if not reader.own and (user or add_items):
        msg = f"{reader.name} is a data set of many people: a user and new items belong to a person's own export"
        raise UsageError(msg, hint="leave out --user and --add-items")
    if reader.own and not user.strip():
        msg = f"{reader.name} is a person's own export and does not say whose"
        raise UsageError(msg, hint="name the person, as in: --user me")
    if reader.own and wanted.chooses_people:
        raise UsageError("one person's export has no users to choose from", hint="leave out --sample and the like")
    if reader.own and not add_items and not store.has(domain):
        msg = f"there is no catalogue {domain!r} in which the titles could be looked up"
        raise UsageError(msg, hint="ingest one first, or make one of the export: --add-items")


def _check(domain: str, path: Path, list_separator: str, scale: tuple[float, float], rejects: Path | None) -> None:
    if not domain.strip():
        raise UsageError("the domain has no name", hint="name it, as in: xdrec ingest books FILE")
    if not list_separator:
        raise UsageError("the list separator is empty", hint="give a character, as in: --list-separator ';'")
    if not scale[0] < scale[1]:
        raise UsageError(f"the scale {scale[0]:g} to {scale[1]:g} is empty", hint="lowest first, as in: --scale 1:5")
    if rejects is not None and rejects.resolve() == path.resolve():
        raise UsageError(f"the rejects would overwrite {path}", hint="give another file for --rejects")


def _opened(path: Path, format: str | None) -> tuple[Iterator[Row | RowProblem], list[str]]:
    """The rows, and the columns that the first of them have."""
    reading = read_rows(path, format)
    first = list(islice(reading, _LOOKED_AT))
    present = list(dict.fromkeys(name for row in first if not isinstance(row, RowProblem) for name in row[1]))
    if not first:
        raise DataError(f"{path} has no rows", hint="give a file with at least one row below the column names")
    if not present:
        reason = first[0].reason if isinstance(first[0], RowProblem) else "it has no columns"
        raise DataError(f"{path}: no readable row; the first: {reason}", hint="check its format: --format")
    return chain(first, reading), present


def _guess_kind(present: list[str], chosen: Mapping[str, str]) -> Kind:
    names = {name.casefold() for name in (*present, *chosen)} - {c.casefold() for c in chosen.values()}
    return "interactions" if names & set(INTERACTION_COLUMNS["user"]) else "items"
