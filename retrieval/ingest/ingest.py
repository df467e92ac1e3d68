"""Files into the store. Reads an `IngestRequest` and its files, produces an `IngestReport` for each file.

Rows go in by the batch, each batch in one transaction: an import that is killed leaves what was there before and
whole batches of itself, and running it again completes it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

from retrieval.errors import DataError
from retrieval.formats import Table
from retrieval.ingest.matching import TitleMatcher
from retrieval.ingest.relation_writer import RelationWriter
from retrieval.ingest.tables import IngestRequest, open_import
from retrieval.ingest.writer import CatalogueDestination, Destination, IngestWriter, TableCounts
from retrieval.store import RelationStore, Store
from retrieval.tabular import Problem, Rejects
from retrieval.types import Frozen


class IngestReport(Frozen):
    """What became of a file's rows.

    `rows` = added + updated + unchanged + repeated + rejected + those in `left_out`, which counts good rows that were
    not wanted by reason. `reasons` counts the rejected rows by reason, `problems` shows the first 20 of the import,
    `attributes` names the columns that became attributes, `rejects_file` holds all rejected rows of the import.
    `new_items` is how many items a user's own export added to the catalogue. Rows of kind "details" complete items.
    """

    domain: str
    kind: Literal["items", "interactions", "details", "relations"]
    format: str
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


class PredicateCounts(Frozen):
    """What became of the triples with one predicate: new, in the store already, or earlier in the same file."""

    added: int = 0
    unchanged: int = 0
    repeated: int = 0
    rejected: int = 0


class RelationReport(IngestReport):
    """What became of a file's triples; `rows` counts `labels`, too.

    Attributes:
        labels: triples that only say what something is called.
        predicates: counts by predicate, the most frequent first; rows that could not be read have none.
        unlinked: relations of the whole store between two names that no other relation links to an item: kept, but of
            no use until their items are there.
    """

    labels: int
    predicates: dict[str, PredicateCounts]
    unlinked: int


def ingest(
    store: Store, request: IngestRequest, *, progress: Callable[[int], None] | None = None
) -> tuple[IngestReport, ...]:
    """Write files into the store; bad rows are counted, shown and left out.

    Args:
        store: where to.
        request: what to import.
        progress: called with the number of rows done so far, after each batch.

    Returns:
        A report for each file in the order they were read; of relations one `RelationReport`.

    Raises:
        UsageError: something in the request makes no sense, or there is no such format.
        UnreadableFile: a file is missing or not in its format.
        DataError: there are no rows, or a column is not there.
        BadRow: a row was bad and `strict` was asked for.
        StoreError: the database failed.
    """
    request.check()
    done: list[tuple[Table, TableCounts, Counter[str], tuple[Problem, ...]]] = []
    with ExitStack() as stack:
        format_, tables, reader = open_import(store, request, stack)
        rejects = stack.enter_context(Rejects(request.rejects, request.path, strict=request.strict))
        relations = RelationWriter(RelationStore.open(store.database)) if request.kind == "relations" else None
        destination: Destination
        if relations is not None:
            destination = relations
        else:
            matcher = TitleMatcher(store, request.domain) if reader is not None and reader.personal else None
            keep = request.keep.fitted(tables)
            destination = CatalogueDestination(store, keep, matcher, add_items=request.add_items)
        writer = IngestWriter(destination, rejects, progress, name_tables=reader is not None)
        for table in tables:
            reasons, shown = rejects.reasons.copy(), len(rejects.first)
            counts = writer.write(table)
            done.append((table, counts, rejects.reasons - reasons, tuple(rejects.first[shown:])))
        rejects_file = rejects.finish()
    if reader is not None and not any(counts.rows for _, counts, _, _ in done):
        raise DataError(f"{request.path} has no rows", hint="give files with at least one row below the column names")
    reports = tuple(_report(request.domain, format_, *of_table, rejects_file) for of_table in done)
    return (_with_predicates(reports[0], relations),) if relations is not None else reports


def _report(
    domain: str,
    format_: str,
    table: Table,
    counts: TableCounts,
    reasons: Counter[str],
    problems: tuple[Problem, ...],
    rejects_file: Path | None,
) -> IngestReport:
    return IngestReport(
        domain=domain,
        kind=table.kind,
        format=format_,
        file=table.file,
        rows=counts.rows,
        **{name: counts.outcomes[name] for name in ("added", "updated", "unchanged", "repeated", "new_items")},
        rejected=reasons.total(),
        reasons=dict(reasons.most_common()),
        problems=problems,
        attributes=tuple(table.attributes),
        rejects_file=rejects_file,
        left_out=dict(counts.left_out.most_common()),
    )


def _with_predicates(report: IngestReport, writer: RelationWriter) -> RelationReport:
    totals = {predicate: counts.total() for predicate, counts in writer.predicates.items()}
    by_frequency = sorted(totals, key=lambda predicate: (-totals[predicate], predicate))
    return RelationReport(
        **dict(report),
        labels=writer.labels,
        predicates={name: PredicateCounts(**writer.predicates[name]) for name in by_frequency},
        unlinked=writer.store.unlinked(),
    )
