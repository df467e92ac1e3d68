"""Rows into the store, table by table. Reads `Table`s, produces counts; bad rows go to the rejects.

Rows go in by the batch, each batch in one transaction.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple, Protocol

from retrieval.errors import TitleError, UnknownTitle
from retrieval.formats import LeftOut, Record, Table, TitledInteraction
from retrieval.ingest.interaction_filter import SkipReason
from retrieval.ingest.matching import TitleMatcher
from retrieval.store import Store
from retrieval.tabular import Problem, RefusedRow, Rejects, Row, RowProblem
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
    """What became of a table's rows.

    `outcomes` counts what was written, `left_out` and `reasons` the good and the bad rows that were not, by reason;
    `problems` has the first bad ones.
    """

    rows: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    problems: tuple[Problem, ...] = ()


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
        self._problems: list[RowProblem] = []

    def write(self, table: Table) -> TableCounts:
        """Write all rows of a table.

        Raises:
            BadRow: a row was bad and the rejects are strict.
        """
        counts = TableCounts()
        reasons, shown = self._rejects.reasons.copy(), len(self._rejects.first)
        for row in table.rows():
            counts.rows += 1
            self._add(row, table, counts)
            if counts.rows % self._destination.batch_size == 0 or (self._problems and self._rejects.strict):
                self._flush(table, counts)
        self._flush(table, counts)
        self._rows_before += counts.rows
        counts.reasons, counts.problems = self._rejects.reasons - reasons, tuple(self._rejects.first[shown:])
        return counts

    def _add(self, row: Row | RowProblem, table: Table, counts: TableCounts) -> None:
        if isinstance(row, RowProblem):
            # An unreadable row of a user's own export is theirs.
            raw = row.raw if table.owner is None else {"user": table.owner, "raw": row.raw}
            self._problems.append(replace(row, raw=raw))
            return
        try:
            record = table.parse(row[1])
            if record is None:
                counts.outcomes["added"] += 1
            else:
                self._batch.append((row, self._destination.accept(record)))
        except RefusedRow as exc:
            self._problems.append(_problem(row, table, exc.reason, exc.detail))
        except LeftOut as exc:
            counts.left_out[str(exc)] += 1

    def _flush(self, table: Table, counts: TableCounts) -> None:
        if self._batch:
            outcomes, refusals = self._destination.write([record for _, record in self._batch])
            counts.outcomes.update(outcomes)
            for position, reason, detail in refusals:
                self._problems.append(_problem(self._batch[position][0], table, reason, detail))
        for problem in sorted(self._problems, key=lambda problem: problem.line):
            self._rejects.add(problem, table.file if self._name_tables else "")
        self._batch, self._problems = [], []
        if self._progress is not None:
            self._progress(self._rows_before + counts.rows)


def _problem(row: Row, table: Table, reason: str, detail: str) -> RowProblem:
    """A refused row, with its user under a usual name, so that deleting a user finds it among the rejects."""
    line, values = row
    if table.kind == "interactions" and table.user_column in values:
        values = {"user": values[table.user_column], **values}
    return RowProblem(line, reason, values, detail)


class CatalogueDestination:
    """Items and interactions of a store; all tables of an import belong to one run.

    `matcher` finds the items of a user's own titles (None: no table is an export), `add_items` makes items of those
    that it does not find.
    """

    batch_size = BATCH

    def __init__(
        self, store: Store, skip_reason: SkipReason, matcher: TitleMatcher | None = None, *, add_items: bool = False
    ) -> None:
        self._store = store
        self._skip_reason = skip_reason
        self._matcher = matcher
        self._add_items = add_items
        self._run = uuid.uuid4().hex
        self._new_items: list[Item] = []

    def accept(self, record: Record) -> Record:
        """The item, or the interaction if it is to be kept, with the item that its title names."""
        if isinstance(record, Interaction | TitledInteraction) and (reason := self._skip_reason(record)):
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
        if items := [record for record in records if isinstance(record, Item)]:
            report = self._store.upsert_items(items, self._run)
        else:
            interactions = [record for record in records if isinstance(record, Interaction)]
            report = self._store.upsert_interactions(interactions, self._run)
        outcomes.update(report.model_dump(exclude={"conflicts", "unknown"}))
        refusals = [Refusal(position, REPEATED, detail) for position, detail in report.conflicts]
        refusals += [Refusal(position, UNKNOWN_ITEM, detail) for position, detail in report.unknown]
        return outcomes, refusals
