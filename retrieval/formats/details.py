"""What completes items. Reads (id, texts) pairs from one file, produces them again when another file's rows ask.

Kept in a temporary SQLite file: two million books' genres would not fit the memory that an import may take.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
from contextlib import ExitStack, closing
from pathlib import Path

from retrieval.errors import StoreError

_CACHE_KIB = 32 * 1024


class Details:
    """Texts by id. Of several puts under one id all are kept, in order.

    Raises:
        StoreError: the temporary folder is full or cannot be written.
    """

    def __init__(self, stack: ExitStack) -> None:
        try:
            self._db = scratch_database(stack, "CREATE TABLE details (id TEXT NOT NULL, texts TEXT NOT NULL)")
        except (sqlite3.Error, OSError) as exc:
            raise _failed(exc) from exc
        self._indexed = False

    def put(self, id_: str, *texts: str) -> None:
        """Keep texts under an id."""
        try:
            self._db.execute("INSERT INTO details VALUES (?, ?)", (id_, json.dumps(texts)))
        except sqlite3.Error as exc:
            raise _failed(exc) from exc

    def get(self, id_: str) -> tuple[str, ...]:
        """All texts under an id, without repetitions; none if it is unknown."""
        try:
            if not self._indexed:
                # Only now: one sort at the end is much cheaper than an index that grows in random order.
                self._db.execute("CREATE INDEX by_id ON details (id)")
                self._indexed = True
            rows = self._db.execute("SELECT texts FROM details WHERE id = ? ORDER BY rowid", (id_,)).fetchall()
        except sqlite3.Error as exc:
            raise _failed(exc) from exc
        return tuple(dict.fromkeys(text for (texts,) in rows for text in json.loads(texts)))


def scratch_database(stack: ExitStack, table: str) -> sqlite3.Connection:
    """A temporary SQLite database with one table, gone when the stack closes; `table` is the statement that makes it.

    Raises:
        sqlite3.Error, OSError: the temporary folder is full or cannot be written.
    """
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="xdrec-ingest-")))
    database = stack.enter_context(closing(sqlite3.connect(folder / "scratch.sqlite", isolation_level=None)))
    # Nothing has to survive a crash; the cache bounds the memory.
    for statement in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{_CACHE_KIB}"):
        database.execute(f"PRAGMA {statement}")
    database.execute(table)
    database.execute("BEGIN")
    return database


def _failed(exc: Exception) -> StoreError:
    return StoreError(f"details cannot be kept: {exc}", hint="make room in the folder for temporary files (TMPDIR)")
