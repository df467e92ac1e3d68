"""What is refused. Reads bad rows, produces their counts, the first of them, and a file that holds them all."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import NamedTuple, Self, TextIO

from retrieval.errors import BadRow, UsageError
from retrieval.types import Frozen

_SHOWN = 20


class Problem(Frozen):
    """A row that was refused: its line in the file (Parquet: row) and why."""

    line: int
    reason: str


class Rejected(NamedTuple):
    """A refused row: its line, one of a few constant reasons, what exactly, and the row itself."""

    line: int
    reason: str
    detail: str
    row: object


class Rejects:
    """Counts bad rows and writes them to a file, which only appears when it is complete.

    Args:
        path: of the file, JSONL with line, reason and row; None: they are only counted.
        source: whose rows they are, for messages.
        strict: the first bad row is an error.

    Attributes:
        reasons: how many rows were refused, by reason.
        first: the first 20.
    """

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

    def add(self, bad: Rejected, table: str = "") -> None:
        """Count and write a bad row; `table` names its file where there are several.

        Raises:
            BadRow: the rejects are strict.
        """
        reason = f"{bad.reason}: {bad.detail}" if bad.detail else bad.reason
        if self.strict:
            msg = f"{table or self._source}, line {bad.line}: {reason}"
            raise BadRow(msg, hint="mend the row, or leave out --strict to go on without such rows")
        self.reasons[bad.reason] += 1
        if len(self.first) < _SHOWN:
            self.first.append(Problem(line=bad.line, reason=reason))
        if self._file is not None:
            record = {"line": bad.line, "reason": reason, "row": bad.row} | ({"table": table} if table else {})
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
