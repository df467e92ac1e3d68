"""Rows of a file, one at a time. Reads CSV, JSONL (each also gzipped) and Parquet, produces rows and row
problems.

A row that cannot be decoded is a `RowProblem` and reading goes on behind it; memory holds one row (Parquet:
one batch), whatever the size of the file.
"""

from __future__ import annotations

import csv
import json
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from retrieval.errors import UnreadableFile
from retrieval.tabular.lines import CUT_OFF, MAX_ROW, TOO_LONG, Line, RowProblem, Source, missing, opened, shown

__all__ = ["CUT_OFF", "MAX_ROW", "ROWS", "TOO_LONG", "Row", "RowProblem", "Source", "guess_format", "read_rows"]

_BATCH = 1000  # Parquet rows

NOT_UTF8 = "not UTF-8"
COLUMNS = "wrong number of columns"
NOT_CSV = "not CSV"
NOT_JSON = "not a JSON object"

Row = tuple[int, dict[str, object]]
"""Line number (from 1; Parquet: row number) and values by column."""


RowReader = Callable[[Source], Iterator[Row | RowProblem]]


def read_rows(path: Path, format: str | None = None) -> Iterator[Row | RowProblem]:
    """The file's rows in order. `format` is a key of `ROWS`; None: guessed from the suffix.

    Raises:
        UnreadableFile: the file is missing, of no known format, or not of that format from the start.
    """
    name = format or guess_format(path)
    if name not in ROWS:
        msg = f"{path}: {name!r} is not a format"
        raise UnreadableFile(msg, hint=f"formats: {', '.join(ROWS)}")
    return ROWS[name](Source(path))


def guess_format(path: Path) -> str:
    """The format that the file's name ends with, ".gz" aside.

    Raises:
        UnreadableFile: the suffix is not that of a format.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    suffix = suffixes[-2] if len(suffixes) > 1 and suffixes[-1] == ".gz" else path.suffix.lower()
    if suffix.lstrip(".") in ROWS:
        return suffix.lstrip(".")
    msg = f"{path}: the name does not tell the format"
    raise UnreadableFile(msg, hint=f"name the format: --format {'|'.join(ROWS)}")


def read_csv(source: Source, encoding: str = "utf-8") -> Iterator[Row | RowProblem]:
    """Rows of a CSV file whose first row names the columns.

    `encoding` is tried on every row; one that it does not fit is a problem.
    """
    with opened(source) as lines:
        feed = _CsvFeed(lines, encoding)
        names = _header(source, feed)
        for record in feed.records():
            if isinstance(record, RowProblem):
                yield record
            elif len(record[1]) == len(names):
                yield record[0], dict(zip(names, record[1], strict=True))
            else:
                yield feed.problem(COLUMNS, f"{len(record[1])} instead of {len(names)}")


def read_jsonl(source: Source) -> Iterator[Row | RowProblem]:
    """Rows of a file with one JSON object a line."""
    with opened(source) as lines:
        for line in lines:
            if isinstance(line, RowProblem):
                yield line
                continue
            number, raw = line
            try:
                text = raw.decode()
                value = json.loads(text, parse_constant=lambda _name: None) if text.strip() else None
            except UnicodeDecodeError as exc:
                yield RowProblem(number, NOT_UTF8, shown(raw), f"byte {exc.start + 1}")
            except (ValueError, RecursionError) as exc:
                yield RowProblem(number, NOT_JSON, shown(raw), str(exc))
            else:
                if isinstance(value, dict):
                    yield number, value
                elif text.strip():
                    yield RowProblem(number, NOT_JSON, shown(raw), f"a {type(value).__name__}")


def read_parquet(source: Source) -> Iterator[Row | RowProblem]:
    """Rows of a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = source.path
    if not path.is_file():
        raise missing(source)
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as exc:
        raise UnreadableFile(f"{path} is not Parquet: {exc}", hint="is it a complete download?") from exc
    number = 0
    with file:
        batches = file.iter_batches(batch_size=_BATCH)
        while True:
            try:
                rows = next(batches).to_pylist()
            except StopIteration:
                return
            except (pa.ArrowException, OSError, ValueError) as exc:
                yield RowProblem(number + 1, CUT_OFF, detail=str(exc))
                return
            for row in rows:
                number += 1
                yield number, row


ROWS: dict[str, RowReader] = {"csv": read_csv, "jsonl": read_jsonl, "parquet": read_parquet}
"""The readers by format name, which is also the file suffix."""


class _Stop(Exception):
    """Carries a problem out through csv's reader."""

    def __init__(self, problem: RowProblem) -> None:
        self.problem = problem


class _CsvFeed:
    """Feeds lines to csv's reader, one record at a time, so that reading can resume behind a bad row.

    A stray quote makes csv swallow the lines that follow. Therefore the lines of the current record are kept
    (at most 1 MiB), and when it turns out not to be CSV only its first line is given up: the others are read
    again.
    """

    def __init__(self, lines: Iterator[Line | RowProblem], encoding: str = "utf-8") -> None:
        self._lines = lines
        self._encoding = encoding
        self._again: deque[Line | RowProblem] = deque()
        self._record: list[Line] = []

    def records(self) -> Iterator[tuple[int, list[str]] | RowProblem]:
        """Line and fields of the records; a bad one is a problem."""
        # The limit is csv's own and global: a field cannot be longer than its row.
        csv.field_size_limit(MAX_ROW)
        while True:
            self._record = []
            try:
                fields = next(csv.reader(self._feed(), strict=True))
            except StopIteration:
                return
            except (csv.Error, _Stop) as exc:
                problem = exc.problem if isinstance(exc, _Stop) else self.problem(NOT_CSV, str(exc))
                self._retry()
                yield problem
                continue
            if any("\udc80" <= char <= "\udcff" for field in fields if not field.isascii() for char in field):
                yield self.problem(NOT_UTF8 if self._encoding == "utf-8" else f"not {self._encoding}")
            elif fields:
                yield self._record[0][0], fields

    def _retry(self) -> None:
        """Give up only the first line of the current record and read the others again."""
        self._again.extendleft(reversed(self._record[1:]))
        self._record = []

    def _feed(self) -> Iterator[str]:
        size = 0
        while (line := self._again.popleft() if self._again else next(self._lines, None)) is not None:
            if isinstance(line, RowProblem) and not self._record:
                raise _Stop(line)
            if isinstance(line, RowProblem) or size + len(line[1]) > MAX_ROW:
                self._again.appendleft(line)
                raise _Stop(self.problem(NOT_CSV, "a quote is not closed"))
            size += len(line[1])
            self._record.append(line)
            # Broken bytes become lone surrogates: csv keeps its place and the record is refused afterwards.
            yield line[1].decode(self._encoding, errors="surrogateescape")

    def problem(self, reason: str, detail: str = "") -> RowProblem:
        """The current record as a problem."""
        return RowProblem(self._record[0][0], reason, self._raw(), detail)

    def _raw(self) -> str:
        return shown(b"".join(raw for _, raw in self._record[:10]))


def _header(source: Source, feed: _CsvFeed) -> list[str]:
    header = next(feed.records(), None)
    if isinstance(header, RowProblem):
        msg = f"{source}: the first row, which names the columns, is unreadable: {header.reason}"
        damaged = header.reason == CUT_OFF
        raise UnreadableFile(msg, hint="download it again" if damaged else "save the file as CSV in UTF-8")
    names = [name.strip() for name in header[1]] if header is not None else []
    if len({name for name in names if name}) < sum(map(bool, names)):
        twice = ", ".join(sorted({name for name in names if name and names.count(name) > 1}))
        raise UnreadableFile(f"{source}: column named twice: {twice}", hint="rename one of them")
    return names
