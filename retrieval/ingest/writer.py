"""Rows into the store, table by table. Reads `Table`s, produces counts; bad rows go to the rejects.

Rows go in by the thousand, each thousand in one transaction.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from retrieval.errors import TitleError, UnknownTitle
from retrieval.formats import LeftOut, Mention, Record, Table
from retrieval.ingest.interaction_filter import Sieve
from retrieval.ingest.matching import Matcher
from retrieval.store import Store, UpsertReport
from retrieval.tabular import RefusedRow, Rejected, Rejects, Row
from retrieval.tabular.readers import RowProblem
from retrieval.types import Interaction, Item

BATCH: Final = 1000
"""Rows in one transaction."""
REPEATED: Final = "came before with other content"
UNKNOWN_ITEM: Final = "unknown item"
UNMATCHED: Final = "no such title in the catalogue"
AMBIGUOUS: Final = "several items of the catalogue have this title"


@dataclass
class Counts:
    """What became of a table's rows, rejected ones aside. `left_out` counts good rows that were not wanted."""

    rows: int = 0
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    repeated: int = 0
    new_items: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


class Job:
    """Parses rows and writes them batch by batch; all tables of an import belong to one run of the store.

    `matcher` finds the items that a person's own titles are (None: no table is an export), `add_items` makes items of
    those that it does not find.
    """

    def __init__(
        self,
        store: Store,
        refused: Rejects,
        sieve: Sieve,
        progress: Callable[[int], None] | None,
        *,
        matcher: Matcher | None = None,
        add_items: bool = False,
        named: bool = False,
    ) -> None:
        self._store = store
        self._refused = refused
        self._sieve = sieve
        self._progress = progress
        self._matcher = matcher
        self._add_items = add_items
        self._named = named
        self._run = uuid.uuid4().hex
        self._done = 0
        self._good: list[tuple[Row, Item | Interaction]] = []
        self._new: list[Item] = []
        self._bad: list[Rejected] = []

    def run(self, table: Table) -> Counts:
        """Work through all rows of a table.

        Raises:
            BadRow: a row was bad and the rejects are strict.
        """
        counts = Counts()
        for row in table.rows():
            counts.rows += 1
            self._take(row, table, counts)
            if counts.rows % BATCH == 0 or (self._bad and self._refused.strict):
                self._flush(table, counts)
        self._flush(table, counts)
        self._done += counts.rows
        return counts

    def _take(self, row: Row | RowProblem, table: Table, counts: Counts) -> None:
        if isinstance(row, RowProblem):
            self._bad.append(Rejected(row.line, row.reason, row.detail, _of_problem(row, table)))
            return
        try:
            record = self._matched(table.parse(row[1]))
        except RefusedRow as exc:
            self._bad.append(Rejected(row[0], exc.reason, exc.detail, _of_person(row[1], table)))
        except LeftOut as exc:
            counts.left_out[str(exc)] += 1
        else:
            if record is None:
                counts.added += 1
            else:
                self._good.append((row, record))

    def _matched(self, record: Record | None) -> Item | Interaction | None:
        if record is None or isinstance(record, Item):
            return record
        if (reason := self._sieve.reason(record)) is not None:
            raise LeftOut(reason)
        return record if isinstance(record, Interaction) else record.of(self._item_of(record))

    def _item_of(self, mention: Mention) -> Item:
        if self._matcher is None:  # a third party's reader that calls itself no export
            raise RefusedRow(UNMATCHED, "the reader gives titles, but is not one of a person's export")
        try:
            return self._matcher.match(mention.item)
        except UnknownTitle as exc:
            if not self._add_items:
                raise RefusedRow(UNMATCHED, str(exc)) from exc
            self._matcher.add(mention.item)
            self._new.append(mention.item)
            return mention.item
        except TitleError as exc:
            raise RefusedRow(AMBIGUOUS, str(exc)) from exc

    def _flush(self, table: Table, counts: Counts) -> None:
        if self._new:
            counts.new_items += self._store.upsert_items(self._new, self._run).added
        if self._good:
            report = self._write([record for _, record in self._good])
            for name in ("added", "updated", "unchanged", "repeated"):
                setattr(counts, name, getattr(counts, name) + getattr(report, name))
            for reason, refused in ((REPEATED, report.conflicts), (UNKNOWN_ITEM, report.unknown)):
                for index, detail in refused:
                    line, row = self._good[index][0]
                    self._bad.append(Rejected(line, reason, detail, _of_person(row, table)))
        for bad in sorted(self._bad, key=lambda b: b.line):
            self._refused.add(bad, table.file if self._named else "")
        self._good, self._new, self._bad = [], [], []
        if self._progress is not None:
            self._progress(self._done + counts.rows)

    def _write(self, records: list[Item | Interaction]) -> UpsertReport:
        items = [record for record in records if isinstance(record, Item)]
        if items:
            return self._store.upsert_items(items, self._run)
        return self._store.upsert_interactions([r for r in records if isinstance(r, Interaction)], self._run)


def _of_person(row: Mapping[str, object], table: Table) -> Mapping[str, object]:
    """The row with its user under a usual name, so that deleting a person finds it among the rejects."""
    if table.kind == "interactions" and table.user != "user" and table.user in row:
        return {"user": row[table.user], **row}
    return row


def _of_problem(problem: RowProblem, table: Table) -> object:
    """As `_of_person`; an unreadable row of somebody's own export is theirs."""
    return problem.raw if table.person is None else {"user": table.person, "raw": problem.raw}
