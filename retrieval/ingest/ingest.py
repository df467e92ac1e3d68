"""Files into the store. Reads an `IngestRequest` and its files, produces an `IngestReport` for each file.

Rows go in by the batch, each batch in one transaction: an import that is killed leaves what was there before and
whole batches of itself, and running it again completes it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

from retrieval.errors import DataError
from retrieval.ingest.matching import TitleMatcher
from retrieval.ingest.relations import RelationWriter
from retrieval.ingest.tables import IngestRequest, open_import
from retrieval.ingest.writer import CatalogueDestination, Destination, IngestWriter
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
    rejects = Rejects(request.path, strict=request.strict)
    relations: RelationWriter | None = None
    with ExitStack() as stack:
        format_, tables, reader = open_import(store, request, stack)
        stack.enter_context(rejects.written_to(request.rejects))
        destination: Destination
        if request.kind == "relations":
            destination = relations = RelationWriter(RelationStore.open(store.database))
        else:
            matcher = TitleMatcher(store, request.domain) if reader is not None and reader.personal else None
            skip_reason = request.keep.fitted(tables)
            destination = CatalogueDestination(store, skip_reason, matcher, add_items=request.add_items)
        writer = IngestWriter(destination, rejects, progress, name_tables=reader is not None)
        done = [(table, writer.write(table)) for table in tables]
    if reader is not None and not any(counts.rows for _, counts in done):
        raise DataError(f"{request.path} has no rows", hint="give files with at least one row below the column names")
    reports = tuple(
        IngestReport(
            domain=request.domain,
            kind=table.kind,
            format=format_,
            file=table.file,
            rows=counts.rows,
            **{name: counts.outcomes[name] for name in ("added", "updated", "unchanged", "repeated", "new_items")},
            rejected=counts.reasons.total(),
            reasons=dict(counts.reasons.most_common()),
            problems=counts.problems,
            attributes=tuple(table.attributes),
            rejects_file=request.rejects if rejects.reasons else None,
            left_out=dict(counts.left_out.most_common()),
        )
        for table, counts in done
    )
    return (_with_predicates(reports[0], relations),) if relations is not None else reports


def _with_predicates(report: IngestReport, writer: RelationWriter) -> RelationReport:
    by_frequency = sorted(writer.predicates.items(), key=lambda counted: (-counted[1].total(), counted[0]))
    return RelationReport(
        **dict(report),
        labels=writer.labels,
        predicates={name: PredicateCounts(**counts) for name, counts in by_frequency},
        unlinked=writer.store.unlinked(),
    )
