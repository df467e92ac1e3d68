"""The file of a SQLite store while it is open. Reads its identity, produces errors and fresh connections.

SQLite goes on in a file that was moved away, and makes an empty one where there is none: a service would answer from
data that nobody has any more. So each connection is compared with the file before it is used.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DisconnectionError

_Identity = tuple[int, int]


def guard(engine: sa.Engine, file: Path) -> None:
    """Have every connection of the engine be to the file that is at the path now.

    What is raised on connecting is an OSError: the file is gone, or another one is there beside the write-ahead log of
    the old one, which SQLite would write into it.
    """
    watch = _FileWatch(file)

    @sa.event.listens_for(engine, "do_connect")
    def _connecting(_dialect: object, _record: object, args: list[Any], kwargs: dict[str, Any]) -> sqlite3.Connection:
        return watch.connect(lambda: sqlite3.connect(*args, **kwargs))

    @sa.event.listens_for(engine, "connect")
    def _connected(_connection: sqlite3.Connection, record: sa.pool.ConnectionPoolEntry) -> None:
        record.info["file"] = watch.file

    @sa.event.listens_for(engine, "checkout")
    def _checked_out(
        _connection: sqlite3.Connection, record: sa.pool.ConnectionPoolEntry, _fairy: sa.pool.PoolProxiedConnection
    ) -> None:
        if watch.moved(record.info["file"]):
            raise DisconnectionError  # the pool drops it and connects anew


class _FileWatch:
    """The file and its log as they were when a connection was made or used last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log_path = path.with_name(f"{path.name}-wal")
        self.file: _Identity | None = None
        self._log: _Identity | None = None

    def connect(self, connect: Callable[[], sqlite3.Connection]) -> sqlite3.Connection:
        now = _identity(self._path)
        if self.file is not None and now is None:
            raise FileNotFoundError(f"{self._path} is gone")
        if self.file is not None and now != self.file and self._log and _identity(self._log_path) == self._log:
            raise OSError(
                f"{self._path} was replaced while it was open, and {self._log_path.name} of the old one is left"
            )
        connection = connect()
        self.file = _identity(self._path)
        return connection

    def moved(self, file: _Identity | None) -> bool:
        """Whether the file at the path is not this one any more."""
        if _identity(self._path) != file:
            return True
        self._log = _identity(self._log_path) or self._log
        return False


def _identity(path: Path) -> _Identity | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
