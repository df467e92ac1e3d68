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
from typing import TYPE_CHECKING, Any, Final

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
                self._fs, self._root = fs.FileSystem.from_uri(url)
            else:
                self._fs, self._root = fs.LocalFileSystem(), str(Path(url).absolute())
        except (ArrowException, OSError) as exc:
            raise UsageError(f"{url}: {exc}", hint="a folder, or s3://BUCKET/FOLDER") from exc

    def begin(self, job: Job, parts: Sequence[Partition]) -> None:
        """Write plan and job, in this order: who sees a job finds its plan.

        Raises:
            UsageError: there is something else in the folder.
        """
        import pyarrow as pa

        if any(path.endswith(".parquet") and not path.endswith(_PLAN) for path in self._files("")):
            raise UsageError(f"{self.url} holds Parquet files of something else", hint="name another --output")
        names = [part.name for part in parts for _ in part.users]
        users = [user for part in parts for user in part.users]
        self._write_table(_PLAN, pa.table({"part": pa.array(names), "user": pa.array(users, pa.string())}))
        self._write(_JOB, job.model_dump_json(indent=2).encode())

    def job(self) -> Job | None:
        """The job that was begun here; None: none.

        Raises:
            DataError: its file is of another version.
        """
        found = self._read(_JOB)
        try:
            return None if found is None else Job.model_validate_json(found)
        except ValidationError as exc:
            msg = f"{self.url}/{_JOB} is not of this version of xdrec"
            raise DataError(msg, hint="name another --output") from exc

    def plan(self) -> list[Partition]:
        """The parts that were planned, in order."""
        table = self._read_table(_PLAN)
        parts: dict[str, list[str]] = {}
        for name, user in zip(table["part"].to_pylist(), table["user"].to_pylist(), strict=True):
            parts.setdefault(name, []).append(user)
        return [Partition(name, tuple(users)) for name, users in parts.items()]

    def done(self) -> dict[str, Done]:
        """The records of the finished parts, by name."""
        records = [self._read(path) for path in self._files(_DONE) if path.endswith(".json")]
        found = [Done.model_validate_json(record) for record in records if record is not None]
        return {record.name: record for record in found}

    def write_part(self, name: str, table: pa.Table) -> Done:
        """Write a part, in place of an older one, and its record."""
        import pyarrow.compute as pc

        self._write_table(f"{name}.parquet", table)
        done = Done(name=name, users=table.num_rows, degraded=pc.sum(table["degraded"], min_count=0).as_py())
        self._write(f"{_DONE}/{name}.json", done.model_dump_json().encode())
        return done

    def read_part(self, name: str) -> pa.Table:
        """A finished part."""
        return self._read_table(f"{name}.parquet")

    def degraded(self, name: str) -> list[str]:
        """The users of a finished part whose rows are degraded."""
        table = self._read_table(f"{name}.parquet", ["user", "degraded"])
        return list(table["user"].filter(table["degraded"].combine_chunks()).to_pylist())

    def forget(self, user: str) -> int:
        """Delete a user from plan and parts; how many rows of results went. A later run does not bring them back."""
        import pyarrow.compute as pc

        plan = self._read_table(_PLAN)
        mine = pc.equal(plan["user"], user)
        deleted = 0
        for name in dict.fromkeys(plan.filter(mine)["part"].to_pylist()):
            if name in self.done():
                table = self.read_part(name)
                left = table.filter(pc.not_equal(table["user"], user))
                deleted += table.num_rows - left.num_rows
                self.write_part(name, left)
        if pc.any(mine).as_py():
            self._write_table(_PLAN, plan.filter(pc.invert(mine)))
        return deleted

    def sweep(self) -> None:
        """Delete what killed writers left half written."""
        with self._translated():
            for path in (*self._files(""), *self._files(_DONE)):
                if path.rpartition("/")[2].startswith("."):
                    self._fs.delete_file(f"{self._root}/{path}")

    def _files(self, folder: str) -> list[str]:
        """The files of a folder under the root, by path from the root."""
        from pyarrow import fs

        with self._translated():
            at = f"{self._root}/{folder}" if folder else self._root
            found = self._fs.get_file_info(fs.FileSelector(at, allow_not_found=True))
        names = [info.base_name for info in found if info.type == fs.FileType.File]
        return [f"{folder}/{name}" if folder else name for name in names]

    def _read(self, path: str) -> bytes | None:
        from pyarrow import fs

        with self._translated():
            at = f"{self._root}/{path}"
            if self._fs.get_file_info(at).type == fs.FileType.NotFound:
                return None
            with self._fs.open_input_stream(at) as file:
                return bytes(file.read())

    def _read_table(self, path: str, columns: list[str] | None = None) -> pa.Table:
        from pyarrow import parquet

        with self._translated(), self._fs.open_input_file(f"{self._root}/{path}") as file:
            return parquet.read_table(file, columns=columns)

    def _write(self, path: str, content: bytes) -> None:
        with self._renamed(path) as file:
            file.write(content)

    def _write_table(self, path: str, table: pa.Table) -> None:
        from pyarrow import parquet

        with self._renamed(path) as file:
            parquet.write_table(table, file, compression="zstd")

    @contextmanager
    def _renamed(self, path: str) -> Iterator[Any]:
        """A file under a name of its own, which gets `path` when the block ends well."""
        folder, _, name = path.rpartition("/")
        parent = f"{self._root}/{folder}" if folder else self._root
        partial = f"{parent}/.{name}.{secrets.token_hex(4)}"
        with self._translated():
            self._fs.create_dir(parent, recursive=True)
            with self._fs.open_output_stream(partial) as file:
                yield file
            self._fs.move(partial, f"{parent}/{name}")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        from pyarrow import ArrowException

        try:
            yield
        except (OSError, ArrowException) as exc:
            hint = "check the folder, its permissions and the space left; the same command goes on"
            raise BackendError(f"{self.url}: {exc}", hint=hint) from exc
