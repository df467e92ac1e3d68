"""Rejected rows. Reads rows that were refused, produces their counts, the first of them, and a file of them all."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import NamedTuple, Self, TextIO

from retrieval.errors import BadRow, UsageError
from retrieval.types import Frozen

_FIRST = 20


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
    """Counts refused rows and writes them to a file, which only appears when it is complete.

    Args:
        path: of the file, JSONL with line, reason and row; None: they are only counted.
        source: whose rows they are, for messages.
        strict: the first refused row is an error.

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
        self._file: TextIO | None = None

    def __enter__(self) -> Self:
        if self._path is not None:
            try:
                # Half a surrogate pair becomes the escape that JSON has for it.
                self._file = self._partial(self._path).open("w", encoding="utf-8", errors="backslashreplace")
            except OSError as exc:
                msg = f"cannot write the rejects to {self._path}: {exc.strerror}"
                raise UsageError(msg, hint="give a file in a folder that you may write") from exc
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._file is not None and self._path is not None:
            self._file.close()
            self._partial(self._path).unlink(missing_ok=True)

    @staticmethod
    def _partial(path: Path) -> Path:
        return path.with_name(f"{path.name}.partial")

    def add(self, rejected: Rejected, table: str = "") -> None:
        """Count and write a refused row; `table` names its file where there are several.

        Raises:
            BadRow: the rejects are strict.
        """
        reason = f"{rejected.reason}: {rejected.detail}" if rejected.detail else rejected.reason
        if self.strict:
            msg = f"{table or self._source}, line {rejected.line}: {reason}"
            raise BadRow(msg, hint="mend the row, or leave out --strict to go on without such rows")
        self.reasons[rejected.reason] += 1
        if len(self.first) < _FIRST:
            self.first.append(Problem(line=rejected.line, reason=reason))
        if self._file is not None:
            record = {"line": rejected.line, "reason": reason, "row": rejected.row} | (
                {"table": table} if table else {}
            )
            self._file.write(json.dumps(record, ensure_ascii=False, default=str) + "\n")

    def finish(self) -> Path | None:
        """Put the file in its place; None, and no file of an earlier run, if no row was refused."""
        if self._path is None or self._file is None:
            return None
        self._file.close()
        if not self.reasons:
            self._path.unlink(missing_ok=True)
            return None
        return self._partial(self._path).replace(self._path)
