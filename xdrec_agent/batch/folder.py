"""The folder of a batch, on a disk or in S3. Reads and writes its job, its plan, its parts and the record of each.

    _job.json           the arguments
    _plan.parquet       which user is in which part
    part-HASH.parquet   what came out, a row for each user
    _done/part-HASH.json  the manifest: one record for each finished part

A file gets its name when it is whole, and a part made twice is the same file: no user is lost or doubled, however
often workers die. Readers of Parquet folders pass over names that begin with `_` or a dot.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from retrieval.errors import BackendError, DataError, UsageError
from retrieval.types import Frozen
from xdrec_agent.batch.plan import Job, Partition

if TYPE_CHECKING:
    import pyarrow as pa

_JOB: Final = "_job.json"
_PLAN: Final = "_plan.parquet"
_DONE: Final = "_done"


class Done(Frozen):
    """The record of a finished part: how many rows it has, and how many of them are degraded."""

    name: str
    users: int
    degraded: int


class ResultFolder:
    """A batch's folder.

    Args:
        url: a folder, or a URL that pyarrow.fs opens (`s3://bucket/folder`).

    Raises:
        UsageError: the URL is none that can be opened.
        BackendError: from every method, if something cannot be read or written.
    """

    def __init__(self, url: str) -> None:
        from pyarrow import ArrowException, fs

        self.url = url
        try:
            if "://" in url:
                base, root = fs.FileSystem.from_uri(url)
            else:
                base, root = fs.LocalFileSystem(), str(Path(url).absolute())
        except (ArrowException, OSError) as exc:
            raise UsageError(f"{url}: {exc}", hint="a folder, or s3://BUCKET/FOLDER") from exc
        self._fs = fs.SubTreeFileSystem(root, base)

    def begin(self, job: Job, parts: Sequence[Partition]) -> None:
        """Write plan and job, in this order: who sees a job finds its plan.

        Raises:
            UsageError: there is something else in the folder.
        """
        import pyarrow as pa

        if any(path.endswith(".parquet") and path != _PLAN for path in self._files("")):
            raise UsageError(f"{self.url} holds Parquet files of something else", hint="name another --output")
        names = [part.name for part in parts for _ in part.users]
        users = [user for part in parts for user in part.users]
        self._write(_PLAN, pa.table({"part": pa.array(names), "user": pa.array(users, pa.string())}))
        self._write(_JOB, job.model_dump_json(indent=2).encode())

    def job(self) -> Job | None:
        """The job that was begun here; None: none.

        Raises:
            DataError: its file is of another version.
        """
        try:
            content = self._read(_JOB)
            return Job.model_validate_json(content) if content is not None else None
        except ValidationError as exc:
            msg = f"{self.url}/{_JOB} is not of this version of xdrec"
            raise DataError(msg, hint="name another --output") from exc

    def plan(self) -> list[Partition]:
        """The parts that were planned, in order."""
        parts: dict[str, list[str]] = {}
        for row in self._read_table(_PLAN).to_pylist():
            parts.setdefault(row["part"], []).append(row["user"])
        return [Partition(name, tuple(users)) for name, users in parts.items()]

    def done(self) -> dict[str, Done]:
        """The records of the finished parts, by name."""
        contents = [self._read(path) for path in self._files(_DONE) if path.endswith(".json")]
        records = [Done.model_validate_json(content) for content in contents if content is not None]
        return {record.name: record for record in records}

    def write_part(self, name: str, table: pa.Table) -> None:
        """Write a part, in place of an older one, and its record."""
        import pyarrow.compute as pc

        self._write(f"{name}.parquet", table)
        degraded = pc.sum(table["degraded"], min_count=0).as_py()
        record = Done(name=name, users=table.num_rows, degraded=degraded)
        self._write(f"{_DONE}/{name}.json", record.model_dump_json().encode())

    def read_part(self, name: str) -> pa.Table:
        """A finished part."""
        return self._read_table(f"{name}.parquet")

    def degraded(self, name: str) -> list[str]:
        """The users of a finished part whose rows are degraded."""
        table = self._read_table(f"{name}.parquet", ["user", "degraded"])
        return list(table.filter(table["degraded"])["user"].to_pylist())

    def forget(self, user: str) -> int:
        """Delete a user from plan and parts; how many rows of results went. A later run does not bring them back."""
        import pyarrow.compute as pc

        plan, done = self._read_table(_PLAN), self.done()
        mine = pc.equal(plan["user"], user)
        deleted = 0
        for name in set(plan.filter(mine)["part"].to_pylist()) & done.keys():
            table = self.read_part(name)
            left = table.filter(pc.not_equal(table["user"], user))
            deleted += table.num_rows - left.num_rows
            self.write_part(name, left)
        if pc.any(mine).as_py():
            self._write(_PLAN, plan.filter(pc.invert(mine)))
        return deleted

    def sweep(self) -> None:
        """Delete what killed writers left half written."""
        with self._translated():
            for path in (*self._files(""), *self._files(_DONE)):
                if path.rpartition("/")[2].startswith("."):
                    self._fs.delete_file(path)

    def _files(self, folder: str) -> list[str]:
        """The files in a folder, by path."""
        from pyarrow import fs

        with self._translated():
            infos = self._fs.get_file_info(fs.FileSelector(folder, allow_not_found=True))
        return [info.path for info in infos if info.type == fs.FileType.File]

    def _read(self, path: str) -> bytes | None:
        from pyarrow import fs

        with self._translated():
            if self._fs.get_file_info(path).type == fs.FileType.NotFound:
                return None
            with self._fs.open_input_stream(path) as file:
                return bytes(file.read())

    def _read_table(self, path: str, columns: list[str] | None = None) -> pa.Table:
        from pyarrow import parquet

        with self._translated():
            return parquet.read_table(path, columns=columns, filesystem=self._fs)

    def _write(self, path: str, content: bytes | pa.Table) -> None:
        """Write a file under a name of its own, which gets `path` when it is whole."""
        from pyarrow import parquet

        folder, slash, name = path.rpartition("/")
        partial = f"{folder}{slash}.{name}.{secrets.token_hex(4)}"
        with self._translated():
            self._fs.create_dir(_DONE, recursive=True)
            with self._fs.open_output_stream(partial) as file:
                if isinstance(content, bytes):
                    file.write(content)
                else:
                    parquet.write_table(content, file, compression="zstd")
            self._fs.move(partial, path)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        from pyarrow import ArrowException

        try:
            yield
        except (OSError, ArrowException) as exc:
            hint = "check the folder, its permissions and the space left; the same command goes on"
            raise BackendError(f"{self.url}: {exc}", hint=hint) from exc
