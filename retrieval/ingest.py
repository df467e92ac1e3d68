"""Files into the store. Reads a catalogue or interactions from a file, produces an `IngestReport`.

Rows go in by the thousand, each thousand in one transaction: an import that is killed leaves what was there
before and whole batches of itself, and running it again completes it.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Literal, NamedTuple, Self, TextIO

from retrieval.columns import INTERACTION_COLUMNS, ITEM_COLUMNS, Columns
from retrieval.errors import BadRow, DataError, UsageError
from retrieval.readers import Row, RowProblem, read_rows
from retrieval.rows import InteractionRows, ItemRows, RefusedRow
from retrieval.store import Store, UpsertReport
from retrieval.types import Frozen, Interaction, Item

BATCH = 1000
"""Rows in one transaction."""
_LOOKED_AT = 100  # rows that tell which columns there are
_SHOWN = 20
REPEATED = "came before with other content"
UNKNOWN_ITEM = "unknown item"

Kind = Literal["items", "interactions"]


class Problem(Frozen):
    """A row that was refused: its line in the file (Parquet: row) and why."""

    line: int
    reason: str


class IngestReport(Frozen):
    """What became of a file's rows.

    `rows` = added + updated + unchanged + repeated + rejected. `reasons` counts the rejected rows by reason,
    `problems` shows the first 20, `attributes` names the columns that became attributes, `rejects_file` holds
    all rejected rows.
    """

    domain: str
    kind: Kind
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
    strict: bool = False,
    rejects: Path | None = None,
    progress: Callable[[int], None] | None = None,
) -> IngestReport:
    """Write a file's rows into the store; bad rows are counted, shown and left out.

    Args:
        store: where to.
        domain: whose catalogue or interactions they are.
        path: a file that `readers.READERS` can read.
        kind: what the rows are; None: interactions if there is a user column, else items.
        format: a key of `READERS`; None: guessed from the suffix.
        columns: fields (title, creators … or user, item, value, kind, timestamp) to columns of the file,
        where the usual names (`columns.ITEM_COLUMNS`, `columns.INTERACTION_COLUMNS`) do not fit.
        list_separator: between the parts of a list in one text. scale: lowest and highest rating of the file,
        mapped linearly to 1 to 5. event: kind of interactions without a kind column. strict: stop at the
        first bad row; all rows before it are written. rejects: file for the bad rows, as JSONL with line,
        reason and row; there is none when no row is bad. progress: called with the number of rows done so
        far, after each batch.

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
    with _Rejects(rejects, path, strict=strict) as refused:
        job = _Job(store, parser, refused, progress)
        job.run(rows)
        attributes = tuple(parser.attributes) if isinstance(parser, ItemRows) else ()
        rejects_file = refused.finish()
    return IngestReport(
        domain=domain,
        kind=kind,
        rows=job.rows,
        **job.counts,
        rejected=refused.reasons.total(),
        reasons=dict(refused.reasons.most_common()),
        problems=tuple(refused.first),
        attributes=attributes,
        rejects_file=rejects_file,
    )


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


class _Job:
    """Parses rows and writes them batch by batch."""

    def __init__(
        self,
        store: Store,
        parser: ItemRows | InteractionRows,
        refused: _Rejects,
        progress: Callable[[int], None] | None,
    ) -> None:
        self._store = store
        self._parser = parser
        self._refused = refused
        self._progress = progress
        self._run = uuid.uuid4().hex
        self.rows = 0
        self.counts = {"added": 0, "updated": 0, "unchanged": 0, "repeated": 0}

        self._good: list[tuple[Row, Item | Interaction]] = []
        self._bad: list[_Bad] = []

    def run(self, rows: Iterator[Row | RowProblem]) -> None:
        """Work through all rows.

        Raises:
            BadRow: a row was bad and the rejects are strict.
        """
        for row in rows:
            self.rows += 1
            self._take(row)
            if self.rows % BATCH == 0 or (self._bad and self._refused.strict):
                self._flush()
        self._flush()

    def _take(self, row: Row | RowProblem) -> None:
        if isinstance(row, RowProblem):
            self._bad.append(_Bad(row.line, row.reason, row.detail, row.raw))
            return
        try:
            self._good.append((row, self._parser.parse(row[1])))
        except RefusedRow as exc:
            self._bad.append(_Bad(row[0], exc.reason, exc.detail, row[1]))

    def _flush(self) -> None:
        if self._good:
            report = self._write([record for _, record in self._good])
            for name in self.counts:
                self.counts[name] += getattr(report, name)
            for reason, refused in ((REPEATED, report.conflicts), (UNKNOWN_ITEM, report.unknown)):
                for index, detail in refused:
                    line, row = self._good[index][0]
                    self._bad.append(_Bad(line, reason, detail, row))
        for bad in sorted(self._bad, key=lambda b: b.line):
            self._refused.add(bad)
        self._good, self._bad = [], []
        if self._progress is not None:
            self._progress(self.rows)

    def _write(self, records: list[Item | Interaction]) -> UpsertReport:
        items = [record for record in records if isinstance(record, Item)]
        if items:
            return self._store.upsert_items(items, self._run)
        return self._store.upsert_interactions([r for r in records if isinstance(r, Interaction)], self._run)


class _Bad(NamedTuple):
    line: int
    reason: str
    detail: str
    row: object


class _Rejects:
    """Counts bad rows and writes them to a file, which only appears when it is complete."""

    def __init__(self, path: Path | None, source: Path, *, strict: bool) -> None:
        self.strict = strict
        self.reasons: Counter[str] = Counter()
        self.first: list[Problem] = []
        self._source = source
        self._path = path
        self._partial = path.with_name(f"{path.name}.partial") if path is not None else None
        self._file: TextIO | None = None

    def __enter__(self) -> Self:
        if self._partial is not None:
            try:
                # Half a surrogate pair becomes the escape that JSON has for it.
                self._file = self._partial.open("w", encoding="utf-8", errors="backslashreplace")
            except OSError as exc:
                msg = f"cannot write the rejects to {self._path}: {exc.strerror}"
                raise UsageError(msg, hint="give a file in a folder that you may write") from exc
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._file is not None and self._partial is not None:
            self._file.close()
            self._partial.unlink(missing_ok=True)

    def add(self, bad: _Bad) -> None:
        """Count and write a bad row.

        Raises:
            BadRow: the rejects are strict.
        """
        reason = f"{bad.reason}: {bad.detail}" if bad.detail else bad.reason
        if self.strict:
            msg = f"{self._source}, line {bad.line}: {reason}"
            raise BadRow(msg, hint="mend the row, or leave out --strict to go on without such rows")
        self.reasons[bad.reason] += 1
        if len(self.first) < _SHOWN:
            self.first.append(Problem(line=bad.line, reason=reason))
        if self._file is not None:
            record = {"line": bad.line, "reason": reason, "row": bad.row}
            self._file.write(json.dumps(record, ensure_ascii=False, default=str) + "\n")

    def finish(self) -> Path | None:
        """Put the file in its place; None if there is none, since no row was bad."""
        if self._path is None or self._file is None or self._partial is None:
            return None
        self._file.close()
        if not self.reasons:
            self._path.unlink(missing_ok=True)  # that of an earlier run
            return None
        self._partial.replace(self._path)
        return self._path
