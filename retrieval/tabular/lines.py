"""Lines of a file, one at a time. Reads a file or a ZIP's member, produces lines and row problems.

A line that is too long, or where a file is cut off, is a `RowProblem`; memory holds one line, whatever the file.
"""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, cast

from retrieval.errors import UnreadableFile

MAX_ROW = 1 << 20
"""Longest row in bytes (1 MiB); a CSV row may span several lines."""
_EXCERPT = 1000  # characters of a bad row

CUT_OFF = "the file is cut off or damaged here"
TOO_LONG = "row longer than 1 MiB"


@dataclass(frozen=True)
class RowProblem:
    """A row that cannot be decoded. `reason` is one of a few constants, `raw` holds the beginning of the row."""

    line: int
    reason: str
    raw: str = ""
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


@contextmanager
def open_lines(source: Source) -> Iterator[Iterator[Line | RowProblem]]:
    """The lines of a source, plain or gzipped whatever its name, without a byte order mark.

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
        file = cast(BinaryIO, _open(source, stack))
        zipped = file.peek(2)[:2] == b"\x1f\x8b"  # type: ignore[attr-defined]
    except (EOFError, zlib.error, zipfile.BadZipFile) as exc:  # a damaged ZIP's member, at its first bytes
        return iter([RowProblem(1, CUT_OFF, detail=str(exc))])
    return _lines(cast(IO[bytes], gzip.GzipFile(fileobj=file)) if zipped else file)


def _open(source: Source, stack: ExitStack) -> IO[bytes]:
    if source.member is None:
        return stack.enter_context(source.path.open("rb"))
    try:
        packed = stack.enter_context(zipfile.ZipFile(source.path))
        return stack.enter_context(packed.open(source.member))
    except (zipfile.BadZipFile, KeyError, NotImplementedError, RuntimeError) as exc:  # the last: encrypted
        msg = f"{source} cannot be unpacked: {exc}"
        raise UnreadableFile(msg, hint="is it a complete download? unpack it and give the folder") from exc


def _lines(file: IO[bytes]) -> Iterator[Line | RowProblem]:
    number = 0
    while True:
        number += 1
        try:
            line = file.readline(MAX_ROW + 1)
            cut = line
            while len(cut) > MAX_ROW and not cut.endswith(b"\n"):
                cut = file.readline(MAX_ROW + 1)
        except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile) as exc:
            yield RowProblem(number, CUT_OFF, detail=str(exc))
            return
        if not line:
            return
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        yield (number, line) if len(line) <= MAX_ROW else RowProblem(number, TOO_LONG, excerpt(line))
