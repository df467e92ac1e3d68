"""Relations into the store. Reads triples from a file, produces a `RelationReport`.

Like `ingest`: batch by batch, each one transaction; an import that is killed is completed by running it again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from retrieval.errors import UsageError
from retrieval.ingest.relation_writer import RelationWriter
from retrieval.ingest.triples import Triple, read_triples
from retrieval.store import RelationStore
from retrieval.tabular import Problem, Rejected, Rejects
from retrieval.tabular.lines import RowProblem
from retrieval.types import Frozen

BATCH = 5000
"""Triples in one transaction."""


class PredicateCounts(Frozen):
    """What became of the triples with one predicate: new, in the store already, or earlier in the same file."""

    added: int = 0
    unchanged: int = 0
    repeated: int = 0
    rejected: int = 0


class RelationReport(Frozen):
    """What became of a file's triples.

    Attributes:
        rows: added + unchanged + repeated + labels + rejected.
        labels: triples that only say what something is called.
        predicates: the same by predicate, the most frequent first; rows that could not be read have none.
        apart: relations of the whole store that join two names of which neither is related to any item: kept, but of
            no use until their items are there.
        reasons, problems, rejects_file: as in `IngestReport`.
    """

    rows: int
    added: int
    unchanged: int
    repeated: int
    labels: int
    rejected: int
    predicates: dict[str, PredicateCounts]
    apart: int
    reasons: dict[str, int]
    problems: tuple[Problem, ...]
    rejects_file: Path | None


def ingest_relations(
    store: RelationStore,
    path: Path,
    *,
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
    strict: bool = False,
    rejects: Path | None = None,
    progress: Callable[[int], None] | None = None,
) -> RelationReport:
    """Write a file's triples into the store; bad ones are counted, shown and left out.

    Args:
        store: where to.
        path, format, columns: as in `read_triples`.
        strict: stop at the first bad row; all batches before it are written.
        rejects: file for the bad rows, as JSONL with line, reason and row; there is none when no row is bad.
        progress: called with the number of rows done so far, after each batch.

    Raises:
        UsageError: the rejects would overwrite the file.
        UnreadableFile, DataError: from `read_triples`.
        BadRow: a row was bad and `strict` was given.
        StoreError: the database failed.
    """
    if rejects is not None and rejects.resolve() == path.resolve():
        raise UsageError(f"the rejects would overwrite {path}", hint="give another file for --rejects")
    reading = read_triples(path, format, columns)
    with Rejects(rejects, path, strict=strict) as refused:
        job = _Job(RelationWriter(store), refused, progress)
        job.run(reading)
        rejects_file = refused.finish()
    return job.report(store.unlinked(), rejects_file)


class _Job:
    """Collects triples and writes them batch by batch."""

    def __init__(self, writer: RelationWriter, refused: Rejects, progress: Callable[[int], None] | None) -> None:
        self._writer = writer
        self._refused = refused
        self._progress = progress
        self._rows = self._labels = 0
        self._counts: dict[str, Counter[str]] = {"added": Counter(), "unchanged": Counter(), "repeated": Counter()}
        self._rejected: Counter[str] = Counter()
        self._good: list[Triple] = []
        self._bad: list[Rejected] = []

    def run(self, reading: Iterator[Triple | RowProblem]) -> None:
        for row in reading:
            self._rows += 1
            if isinstance(row, RowProblem):
                self._bad.append(Rejected(row.line, row.reason, row.detail, row.raw))
            else:
                self._good.append(row)
            if self._rows % BATCH == 0 or (self._bad and self._refused.strict):
                self._flush()
        self._flush()

    def _flush(self) -> None:
        if self._good:
            written = self._writer.write(self._good)
            self._labels += written.labels
            for name, counts in self._counts.items():
                counts.update(getattr(written, name))
            for index, reason, detail in written.refused:
                triple = self._good[index]
                self._rejected[triple.predicate] += 1
                row = {"subject": triple.subject, "predicate": triple.predicate, "object": triple.object}
                self._bad.append(Rejected(triple.line, reason, detail, row))
        for bad in sorted(self._bad, key=lambda b: b.line):
            self._refused.add(bad)
        self._good, self._bad = [], []
        if self._progress is not None:
            self._progress(self._rows)

    def report(self, apart: int, rejects_file: Path | None) -> RelationReport:
        by_predicate = {**self._counts, "rejected": self._rejected}
        total = sum(by_predicate.values(), Counter())
        return RelationReport(
            rows=self._rows,
            **{name: counts.total() for name, counts in self._counts.items()},
            labels=self._labels,
            rejected=self._refused.reasons.total(),
            predicates={
                predicate: PredicateCounts(**{name: counts[predicate] for name, counts in by_predicate.items()})
                for predicate, _ in sorted(total.items(), key=lambda pair: (-pair[1], pair[0]))
            },
            apart=apart,
            reasons=dict(self._refused.reasons.most_common()),
            problems=tuple(self._refused.first),
            rejects_file=rejects_file,
        )
