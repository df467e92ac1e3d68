"""Rejected rows. Reads rows that were refused, produces their counts, the first of them, and a file of them all."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from retrieval.errors import BadRow, UsageError
from retrieval.tabular.readers import RowProblem
from retrieval.types import Frozen

_FIRST = 20


class Problem(Frozen):
    """A row that was refused: its line in the file (Parquet: row) and why."""

    line: int
    reason: str


class Rejects:
    """Counts refused rows, and writes them to a file if one is open; `strict` makes the first one an error.

    Attributes:
        reasons: how many rows were refused, by reason.
        first: the first 20.
    """

    def __init__(self, source: Path, *, strict: bool) -> None:
        self.strict = strict
        self.reasons: Counter[str] = Counter()
        self.first: list[Problem] = []
        self._source = source
        self._file: TextIO | None = None

    @contextmanager
    def written_to(self, path: Path | None) -> Iterator[None]:
        """Write the rows to a file (None: none), JSONL with line, reason and row, which only appears when complete.

        If no row was refused there is no file, not even that of an earlier run.

        Raises:
            UsageError: the file cannot be written.
        """
        if path is None:
            yield
            return
        partial = path.with_name(f"{path.name}.partial")
        try:
            # Half a surrogate pair becomes the escape that JSON has for it.
            self._file = partial.open("w", encoding="utf-8", errors="backslashreplace")
        except OSError as exc:
            msg = f"cannot write the rejects to {path}: {exc.strerror}"
            raise UsageError(msg, hint="give a file in a folder that you may write") from exc
        try:
            with self._file:
                yield
            if self.reasons:
                partial.replace(path)
            else:
                path.unlink(missing_ok=True)
        finally:
            partial.unlink(missing_ok=True)

    def add(self, problem: RowProblem, table: str = "") -> None:
        """Count and write a refused row; `table` names its file where there are several.

        Raises:
            BadRow: the rejects are strict.
        """
        reason = f"{problem.reason}: {problem.detail}" if problem.detail else problem.reason
        if self.strict:
            msg = f"{table or self._source}, line {problem.line}: {reason}"
            raise BadRow(msg, hint="mend the row, or leave out --strict to go on without such rows")
        self.reasons[problem.reason] += 1
        if len(self.first) < _FIRST:
            self.first.append(Problem(line=problem.line, reason=reason))
        if self._file is not None:
            record = {"line": problem.line, "reason": reason, "row": problem.raw, **({"table": table} if table else {})}
            self._file.write(json.dumps(record, ensure_ascii=False, default=str) + "\n")
