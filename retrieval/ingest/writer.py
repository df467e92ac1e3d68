"""Rows into the store, table by table. Reads `Table`s, produces counts; bad rows go to the rejects.

Rows go in by the batch, each batch in one transaction.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from retrieval.errors import TitleError, UnknownTitle
from retrieval.formats import LeftOut, Record, Table, TitledInteraction
from retrieval.ingest.interaction_filter import FittedFilter
from retrieval.ingest.matching import TitleMatcher
from retrieval.store import Store
from retrieval.tabular import RefusedRow, Rejected, Rejects, Row, RowProblem
from retrieval.types import Interaction, Item

BATCH: Final = 1000
"""Items or interactions in one transaction."""
REPEATED: Final = "came before with other content"
UNKNOWN_ITEM: Final = "unknown item"
UNMATCHED: Final = "no such title in the catalogue"
AMBIGUOUS: Final = "several items of the catalogue have this title"


class Refusal(NamedTuple):
    """A record of a batch that was not written: its position in the batch, a constant reason, and what exactly."""

    position: int
    reason: str
    detail: str


class Destination(Protocol):
    """What records are written to."""

    batch_size: int

    def accept(self, record: Record) -> Record:
        """The record to write.

        Raises:
            RefusedRow, LeftOut: there is none.
        """

    def write(self, records: Sequence[Record]) -> tuple[Mapping[str, int], Sequence[Refusal]]:
        """Write a batch as a whole; how many records were "added", "updated", "unchanged" …, and the others."""


@dataclass
class TableCounts:
    """What became of a table's rows, rejected ones aside: what was written by outcome, what was left out by reason."""

    rows: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)


class IngestWriter:
    """Parses rows and writes them batch by batch; `name_tables` puts the table's name into the rejects."""

    def __init__(
        self,
        destination: Destination,
        rejects: Rejects,
        progress: Callable[[int], None] | None,
        *,
        name_tables: bool = False,
    ) -> None:
        self._destination = destination
        self._rejects = rejects
        self._progress = progress
        self._name_tables = name_tables
        self._rows_before = 0
        self._batch: list[tuple[Row, Record]] = []
        self._rejected: list[Rejected] = []

    def write(self, table: Table) -> TableCounts:
        """Write all rows of a table.

        Raises:
            BadRow: a row was bad and the rejects are strict.
        """
        counts = TableCounts()
        for row in table.rows():
            counts.rows += 1
            self._add(row, table, counts)
            if counts.rows % self._destination.batch_size == 0 or (self._rejected and self._rejects.strict):
                self._flush(table, counts)
        self._flush(table, counts)
        self._rows_before += counts.rows
        return counts

    def _add(self, row: Row | RowProblem, table: Table, counts: TableCounts) -> None:
        if isinstance(row, RowProblem):
            self._rejected.append(Rejected(row.line, row.reason, row.detail, _raw_with_owner(row, table)))
            return
        try:
            record = table.parse(row[1])
            if record is None:
                counts.outcomes["added"] += 1
            else:
                self._batch.append((row, self._destination.accept(record)))
        except RefusedRow as exc:
            self._rejected.append(Rejected(row[0], exc.reason, exc.detail, _row_with_user(row[1], table)))
        except LeftOut as exc:
            counts.left_out[str(exc)] += 1

    def _flush(self, table: Table, counts: TableCounts) -> None:
        if self._batch:
            outcomes, refusals = self._destination.write([record for _, record in self._batch])
            counts.outcomes.update(outcomes)
            for position, reason, detail in refusals:
                line, row = self._batch[position][0]
                self._rejected.append(Rejected(line, reason, detail, _row_with_user(row, table)))
        for rejected in sorted(self._rejected, key=lambda r: r.line):
            self._rejects.add(rejected, table.file if self._name_tables else "")
        self._batch, self._rejected = [], []
        if self._progress is not None:
            self._progress(self._rows_before + counts.rows)


class CatalogueDestination:
    """Items and interactions of a store; all tables of an import belong to one run.

    `matcher` finds the items of a user's own titles (None: no table is an export), `add_items` makes items of those
    that it does not find.
    """

    batch_size = BATCH

    def __init__(
        self, store: Store, keep: FittedFilter, matcher: TitleMatcher | None = None, *, add_items: bool = False
    ) -> None:
        self._store = store
        self._keep = keep
        self._matcher = matcher
        self._add_items = add_items
        self._run = uuid.uuid4().hex
        self._new_items: list[Item] = []

    def accept(self, record: Record) -> Record:
        """The item, or the interaction if it is to be kept, with the item that its title names."""
        if isinstance(record, Interaction | TitledInteraction) and (reason := self._keep.skip_reason(record)):
            raise LeftOut(reason)
        return record.with_item(self._match(record.work)) if isinstance(record, TitledInteraction) else record

    def _match(self, work: Item) -> Item:
        if self._matcher is None:  # a third party's reader that calls itself no export
            raise RefusedRow(UNMATCHED, "the reader gives titles, but is not one of a user's export")
        try:
            return self._matcher.match(work)
        except UnknownTitle as exc:
            if not self._add_items:
                raise RefusedRow(UNMATCHED, str(exc)) from exc
            self._matcher.add(work)
            self._new_items.append(work)
            return work
        except TitleError as exc:
            raise RefusedRow(AMBIGUOUS, str(exc)) from exc

    def write(self, records: Sequence[Record]) -> tuple[Mapping[str, int], Sequence[Refusal]]:
        """Write new items of titles, then the items or interactions."""
        outcomes: Counter[str] = Counter()
        if self._new_items:
            outcomes["new_items"] = self._store.upsert_items(self._new_items, self._run).added
            self._new_items = []
        items = [record for record in records if isinstance(record, Item)]
        interactions = [record for record in records if isinstance(record, Interaction)]
        if items:
            report = self._store.upsert_items(items, self._run)
        else:
            report = self._store.upsert_interactions(interactions, self._run)
        outcomes.update({name: getattr(report, name) for name in ("added", "updated", "unchanged", "repeated")})
        refusals = [Refusal(position, REPEATED, detail) for position, detail in report.conflicts]
        refusals += [Refusal(position, UNKNOWN_ITEM, detail) for position, detail in report.unknown]
        return outcomes, refusals


def _row_with_user(row: Mapping[str, object], table: Table) -> Mapping[str, object]:
    """The row with its user under a usual name, so that deleting a user finds it among the rejects."""
    if table.kind == "interactions" and table.user_column != "user" and table.user_column in row:
        return {"user": row[table.user_column], **row}
    return row


def _raw_with_owner(problem: RowProblem, table: Table) -> object:
    """As `_row_with_user`; an unreadable row of a user's own export is theirs."""
    return problem.raw if table.owner is None else {"user": table.owner, "raw": problem.raw}
