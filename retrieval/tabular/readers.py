"""Rows of a file, one at a time. Reads CSV, JSONL (each also gzipped) and Parquet, produces rows and row problems.

A row that cannot be decoded is a `RowProblem` and reading goes on behind it; memory holds one row (Parquet: one
batch), whatever the size of the file. Files may be members of a ZIP.
"""

from __future__ import annotations

import csv
import gzip
import json
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BufferedReader
from itertools import chain, count, islice
from pathlib import Path
from typing import IO, Final, cast

from retrieval.errors import DataError, UnreadableFile
from retrieval.tabular.rows import RefusedRow

MAX_ROW: Final = 1 << 20
"""Longest row in bytes (1 MiB); a CSV row may span several lines."""
CUT_OFF: Final = "the file is cut off or damaged here"
TOO_LONG: Final = "row longer than 1 MiB"
NOT_UTF8: Final = "not UTF-8"
WRONG_COLUMN_COUNT: Final = "wrong number of columns"
NOT_CSV: Final = "not CSV"
NOT_JSON: Final = "not a JSON object"

_DAMAGED: Final = (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile)
_EXCERPT: Final = 1000  # characters of a bad row
_PARQUET_BATCH: Final = 1000
_PEEKED: Final = 100  # rows that tell which columns there are


@dataclass(frozen=True)
class RowProblem:
    """A row that is not used: `reason` is one of a few constants, `raw` the row or the beginning of its text."""

    line: int
    reason: str
    raw: object = ""
    detail: str = ""


@dataclass(frozen=True)
class Source:
    """Where rows come from: a file, or the member of a ZIP that has this name."""

    path: Path
    member: str | None = None

    @property
    def name(self) -> str:
        """The name without folders."""
        return (self.member or self.path.name).rpartition("/")[2]

    def __str__(self) -> str:
        return f"{self.path}/{self.member}" if self.member else str(self.path)


Line = tuple[int, bytes]
"""Number (from 1) and bytes."""
Row = tuple[int, dict[str, object]]
"""Line number (from 1; Parquet: row number) and values by column."""
Rows = Iterator[Row | RowProblem]
RowReader = Callable[[Source], Rows]


def read_rows(path: Path, format: str | None = None, readers: Mapping[str, RowReader] | None = None) -> Rows:
    """The file's rows in order. `format` is a key of `readers` (None: `ROW_READERS`); None: guessed from the suffix.

    Raises:
        UnreadableFile: the file is missing, of no known format, or not of that format from the start.
    """
    known = readers or ROW_READERS
    name = format or guess_format(path, known)
    if name not in known:
        raise UnreadableFile(f"{path}: {name!r} is not a format", hint=f"formats: {', '.join(known)}")
    return known[name](Source(path))


def guess_format(path: Path, known: Mapping[str, RowReader]) -> str:
    """The format that the file's name ends with, ".gz" aside.

    Raises:
        UnreadableFile: the suffix is not that of a format.
    """
    suffix = Path(path.name.casefold().removesuffix(".gz")).suffix.removeprefix(".")
    if suffix in known:
        return suffix
    hint = f"name the format: --format {'|'.join(known)}"
    raise UnreadableFile(f"{path}: the name does not tell the format", hint=hint)


def peek_columns(path: Path, rows: Rows) -> tuple[Rows, list[str]]:
    """All the rows again, and the columns that the first hundred have.

    Raises:
        DataError: there are no rows, or none of the first is readable.
    """
    first = list(islice(rows, _PEEKED))
    columns = list(dict.fromkeys(name for row in first if not isinstance(row, RowProblem) for name in row[1]))
    if not first:
        raise DataError(f"{path} has no rows", hint="give a file with at least one row below the column names")
    if not columns:
        reason = first[0].reason if isinstance(first[0], RowProblem) else "it has no columns"
        raise DataError(f"{path}: no readable row; the first: {reason}", hint="check its format: --format")
    return chain(first, rows), columns


def read_lines(source: Source, parse: Callable[[bytes], dict[str, object] | None]) -> Rows:
    """Rows of a file with one row a line. `parse` gives a line's values, None for a line that is none.

    A line for which `parse` raises `RefusedRow` or a Unicode error is a problem.
    """
    with open_lines(source) as lines:
        for line in lines:
            if isinstance(line, RowProblem):
                yield line
                continue
            number, raw = line
            try:
                if (values := parse(raw)) is not None:
                    yield number, values
            except UnicodeDecodeError as exc:
                yield RowProblem(number, NOT_UTF8, excerpt(raw), f"byte {exc.start + 1}")
            except RefusedRow as exc:
                yield RowProblem(number, exc.reason, excerpt(raw), exc.detail)


def read_jsonl(source: Source) -> Rows:
    """Rows of a file with one JSON object a line."""
    return read_lines(source, parse_json)


def parse_json(raw: bytes) -> dict[str, object] | None:
    """The object of a line of JSON; NaN, which JSON does not have, is no value."""
    if not (text := raw.decode()).strip():
        return None
    try:
        value = json.loads(text, parse_constant=lambda _name: None)
    except (ValueError, RecursionError) as exc:
        raise RefusedRow(NOT_JSON, str(exc)) from exc
    if not isinstance(value, dict):
        raise RefusedRow(NOT_JSON, f"a {type(value).__name__}")
    return value


def read_parquet(source: Source) -> Rows:
    """Rows of a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not source.path.is_file():
        raise missing_file(source)
    try:
        file = pq.ParquetFile(source.path)
    except (pa.ArrowException, OSError) as exc:
        raise UnreadableFile(f"{source} is not Parquet: {exc}", hint="is it a complete download?") from exc
    number = 0
    with file:
        rows = (row for batch in file.iter_batches(batch_size=_PARQUET_BATCH) for row in batch.to_pylist())
        try:
            for number, row in enumerate(rows, start=1):
                yield number, row
        except (pa.ArrowException, OSError, ValueError) as exc:
            yield RowProblem(number + 1, CUT_OFF, detail=str(exc))


def read_csv(source: Source, encoding: str = "utf-8") -> Rows:
    """Rows of a CSV file whose first row names the columns.

    `encoding` is tried on every row; one that it does not fit is a problem.
    """
    with open_lines(source) as lines:
        csv_lines = _CsvLines(lines, encoding)
        names = _header(source, csv_lines)
        for record in csv_lines.records():
            if isinstance(record, RowProblem):
                yield record
            elif len(record[1]) == len(names):
                yield record[0], dict(zip(names, record[1], strict=True))
            else:
                yield csv_lines.problem(WRONG_COLUMN_COUNT, f"{len(record[1])} instead of {len(names)}")


ROW_READERS: Final[Mapping[str, RowReader]] = {"csv": read_csv, "jsonl": read_jsonl, "parquet": read_parquet}
"""The readers of plain tables by format name, which is also the file suffix."""


@contextmanager
def open_lines(source: Source) -> Iterator[Iterator[Line | RowProblem]]:
    """The lines of a source, plain or gzipped whatever its name, without a byte order mark.

    Memory holds one line. A line that is too long, or where the file is cut off, is a problem.

    Raises:
        UnreadableFile: it is not there, may not be read, or is no ZIP.
    """
    try:
        with ExitStack() as stack:
            yield _lines_of(source, stack)
    except FileNotFoundError as exc:
        raise missing_file(source) from exc
    except OSError as exc:
        raise UnreadableFile(f"{source}: {exc.strerror or exc}", hint="give a file that you may read") from exc


def missing_file(source: Source) -> UnreadableFile:
    """The error of a file that is not there."""
    return UnreadableFile(f"there is no file {source}", hint="check the name; paths start at the working folder")


def excerpt(raw: bytes) -> str:
    """The beginning of a bad row."""
    return raw[: 4 * _EXCERPT].decode(errors="replace").rstrip("\r\n")[:_EXCERPT]


def _lines_of(source: Source, stack: ExitStack) -> Iterator[Line | RowProblem]:
    try:
        file = stack.enter_context(_open_member(source, stack) if source.member else source.path.open("rb"))
        zipped = cast(BufferedReader, file).peek(2)[:2] == b"\x1f\x8b"
    except _DAMAGED as exc:  # a damaged ZIP's member, at its first bytes
        return iter([RowProblem(1, CUT_OFF, detail=str(exc))])
    return _lines(gzip.GzipFile(fileobj=file) if zipped else file)


def _open_member(source: Source, stack: ExitStack) -> IO[bytes]:
    try:
        return stack.enter_context(zipfile.ZipFile(source.path)).open(source.member or "")
    except (zipfile.BadZipFile, KeyError, NotImplementedError, RuntimeError) as exc:  # the last: encrypted
        msg = f"{source} cannot be unpacked: {exc}"
        raise UnreadableFile(msg, hint="is it a complete download? unpack it and give the folder") from exc


def _lines(file: IO[bytes] | gzip.GzipFile) -> Iterator[Line | RowProblem]:
    for number in count(1):
        try:
            line = rest = file.readline(MAX_ROW + 1)
            while len(rest) > MAX_ROW and not rest.endswith(b"\n"):
                rest = file.readline(MAX_ROW + 1)
        except _DAMAGED as exc:
            yield RowProblem(number, CUT_OFF, detail=str(exc))
            return
        if not line:
            return
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        yield (number, line) if len(line) <= MAX_ROW else RowProblem(number, TOO_LONG, excerpt(line))


class _BadRecord(csv.Error):
    """Carries a problem out through csv's reader."""

    def __init__(self, problem: RowProblem) -> None:
        self.problem = problem


class _CsvLines:
    """Gives lines to csv's reader, one record at a time, so that reading can resume behind a bad row.

    A stray quote makes csv swallow the lines that follow. Therefore the lines of the current record are kept
    (at most 1 MiB), and when it turns out not to be CSV only its first line is given up: the others are read
    again.
    """

    def __init__(self, lines: Iterator[Line | RowProblem], encoding: str = "utf-8") -> None:
        self._lines = lines
        self._encoding = encoding
        self._reread: deque[Line | RowProblem] = deque()
        self._record: list[Line] = []

    def records(self) -> Iterator[tuple[int, list[str]] | RowProblem]:
        """Line and fields of the records; a bad one is a problem."""
        # The limit is csv's own and global: a field cannot be longer than its row.
        csv.field_size_limit(MAX_ROW)
        while True:
            self._record = []
            try:
                fields = next(csv.reader(self._record_lines(), strict=True))
            except StopIteration:
                return
            except csv.Error as exc:
                problem = exc.problem if isinstance(exc, _BadRecord) else self.problem(NOT_CSV, str(exc))
                # Only the first line is given up.
                self._reread.extendleft(reversed(self._record[1:]))
                yield problem
                continue
            if any("\udc80" <= char <= "\udcff" for field in fields if not field.isascii() for char in field):
                yield self.problem(NOT_UTF8 if self._encoding == "utf-8" else f"not {self._encoding}")
            elif fields:
                yield self._record[0][0], fields

    def _record_lines(self) -> Iterator[str]:
        size = 0
        while (line := self._reread.popleft() if self._reread else next(self._lines, None)) is not None:
            if isinstance(line, RowProblem) and not self._record:
                raise _BadRecord(line)
            if isinstance(line, RowProblem) or size + len(line[1]) > MAX_ROW:
                self._reread.appendleft(line)
                raise _BadRecord(self.problem(NOT_CSV, "a quote is not closed"))
            size += len(line[1])
            self._record.append(line)
            # Broken bytes become lone surrogates: csv keeps its place and the record is refused afterwards.
            yield line[1].decode(self._encoding, errors="surrogateescape")

    def problem(self, reason: str, detail: str = "") -> RowProblem:
        """The current record as a problem."""
        raw = b"".join(raw for _, raw in self._record[:10])
        return RowProblem(self._record[0][0], reason, excerpt(raw), detail)


def _header(source: Source, csv_lines: _CsvLines) -> list[str]:
    header = next(csv_lines.records(), None)
    if isinstance(header, RowProblem):
        msg = f"{source}: the first row, which names the columns, is unreadable: {header.reason}"
        damaged = header.reason == CUT_OFF
        raise UnreadableFile(msg, hint="download it again" if damaged else "save the file as CSV in UTF-8")
    names = [name.strip() for name in header[1]] if header is not None else []
    if len({name for name in names if name}) < sum(map(bool, names)):
        twice = ", ".join(sorted({name for name in names if name and names.count(name) > 1}))
        raise UnreadableFile(f"{source}: column named twice: {twice}", hint="rename one of them")
    return names
