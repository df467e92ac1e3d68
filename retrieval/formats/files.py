"""Files of a data set or export. Reads the name of a file, folder or ZIP, produces the sources in it.

A ZIP is never unpacked: members are read where they are, found by name, so that no name in it can lead elsewhere.
"""

from __future__ import annotations

import csv
import zipfile
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path, PurePosixPath

from retrieval.errors import UnreadableFile
from retrieval.tabular import RefusedRow, RowProblem, Source, missing_file, open_lines, parse_json

MAX_FILES = 2_000
"""Most files and folders in a folder, or members of a ZIP, that are looked at."""


@dataclass(frozen=True)
class Files:
    """The files of a data set or export, by their names below `path`, ".gz" aside; `path` may itself be the file.

    Raises:
        UnreadableFile: from every method, if there is no such path or it holds too much.
    """

    path: Path

    @property
    def alone(self) -> bool:
        """Whether a single file was given, rather than a folder or a ZIP."""
        return not self.path.is_dir() and not self._zipped

    @cached_property
    def _zipped(self) -> bool:
        return self.path.is_file() and zipfile.is_zipfile(self.path)

    @cached_property
    def sources(self) -> dict[str, Source]:
        """By name, with the folder where there is one: "likes/films.csv"."""
        return dict(sorted((name.removesuffix(".gz"), source) for name, source in self._all()))

    def ending(self, *suffixes: str) -> list[Source]:
        """The sources whose name ends so, ".gz" aside."""
        return [source for name, source in self.sources.items() if name.endswith(suffixes)]

    def get(self, name: str) -> Source | None:
        """The source of this name (".gz" aside), None if there is none."""
        return self.sources.get(name)

    def beside(self, name: str) -> Source | None:
        """As `get`; for a single file also one of this name in its folder."""
        if not self.alone:
            return self.get(name)
        places = (self.path.with_name(name), self.path.with_name(f"{name}.gz"))
        return next((Source(place) for place in places if place.is_file()), None)

    def size(self, source: Source) -> int:
        """Bytes of a source, as a ZIP declares them (no more than that is ever read of a member)."""
        if source.member is None:
            return source.path.stat().st_size
        with zipfile.ZipFile(source.path) as packed:
            return packed.getinfo(source.member).file_size

    def _all(self) -> list[tuple[str, Source]]:
        if self.path.is_dir():
            paths = list(islice(self.path.rglob("*"), MAX_FILES + 1))
            count = len(paths)
            names = [(path.relative_to(self.path).as_posix(), Source(path)) for path in paths if path.is_file()]
        elif self._zipped:
            names = [(name, Source(self.path, name)) for name in self._members()]
            count = len(names)
        elif self.path.is_file():
            names, count = [(self.path.name, Source(self.path))], 1
        else:
            raise missing_file(Source(self.path))
        if count > MAX_FILES:
            msg = f"{self.path} holds more than {MAX_FILES} files"
            raise UnreadableFile(msg, hint="give the folder of the data set")
        return _without_common_folder(names)

    def _members(self) -> list[str]:
        try:
            with zipfile.ZipFile(self.path) as packed:
                return [info.filename for info in packed.infolist() if not info.is_dir()]
        except (zipfile.BadZipFile, OSError) as exc:
            raise UnreadableFile(f"{self.path} is not a whole ZIP: {exc}", hint="download it again") from exc


def _without_common_folder(names: list[tuple[str, Source]]) -> list[tuple[str, Source]]:
    """A data set's ZIP often holds one folder; its name says nothing."""
    names = [(name, source) for name, source in names if not name.startswith("__MACOSX/")]
    folders = {PurePosixPath(name).parts[0] for name, _ in names}
    if len(folders) == 1 and all("/" in name for name, _ in names):
        return [(name.partition("/")[2], source) for name, source in names]
    return names


def first_line(source: Source) -> bytes:
    """A source's first readable line, empty if none of the first ten is."""
    try:
        with open_lines(source) as lines:
            line = next((line for line in islice(lines, 10) if not isinstance(line, RowProblem)), None)
    except UnreadableFile:
        return b""
    return line[1].rstrip(b"\r\n") if line is not None else b""


def columns(source: Source, encodings: tuple[str, ...] = ("utf-8",)) -> tuple[str, ...]:
    """The column names of a CSV file; whatever stands in the first line if it is none."""
    raw = first_line(source)
    encoding = next((encoding for encoding in encodings if decodes(raw, encoding)), encodings[0])
    return columns_of(raw.decode(encoding, errors="replace"))


def columns_of(line: str) -> tuple[str, ...]:
    """The cells of one line of CSV; none if it is no CSV."""
    try:
        return tuple(name.strip() for name in next(csv.reader([line.strip()]), []))
    except csv.Error:
        return ()


def decodes(raw: bytes, encoding: str) -> bool:
    """Whether the bytes are text in this encoding."""
    try:
        raw.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def json_fields(source: Source) -> frozenset[str]:
    """The names in the first JSON object of a file, empty if its first line is none."""
    try:
        return frozenset(parse_json(first_line(source)) or ())
    except (UnicodeDecodeError, RefusedRow):
        return frozenset()
