"""Tables, connections and error translation of the store. Reads a SQLAlchemy URL, produces transactions."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar, TypeVarTuple

import sqlalchemy as sa
from pydantic import ValidationError
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DisconnectionError, SQLAlchemyError

from retrieval.errors import StoreError

BUSY_TIMEOUT_MS = 30_000
"""How long SQLite waits for another writer before it gives up, unless the URL says so (`?timeout=SECONDS`)."""
_CONNECT_S = 5
"""How long Postgres may take to accept a connection, unless the URL says so (`?connect_timeout=SECONDS`)."""
_T = TypeVar("_T")
_Columns = TypeVarTuple("_Columns")
_G = TypeVar("_G", bound=Hashable)
_FileIdentity = tuple[int, int]
"""Device and inode."""
_CHUNK = 200  # keys in one statement: with four columns each, below the 999 variables of older SQLite
_SCHEMA_VERSION = 1
_WRITER_LOCK = 0x78647265  # the key of Postgres' advisory lock: one writer at a time, as in SQLite

RELATIONS = "relations"
"""Key of the counter in `meta` that grows with every change of relations."""
INTERACTIONS = "interactions"
"""Key of the counter in `meta` that grows with every change of interactions."""

metadata = sa.MetaData()
# Byte order in both databases: pages are cut at "id > last", which must mean the same everywhere.
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Type of a column of text."""
INTEGER = sa.BigInteger()
"""Type of a column of 64-bit integers."""
ROW_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""Type of a key that counts up; SQLite counts up in INTEGER columns only."""

item_table = sa.Table(
    "items",
    metadata,
    sa.Column("domain", TEXT, primary_key=True),
    sa.Column("id", TEXT, primary_key=True),
    sa.Column("payload", TEXT, nullable=False),
    sa.Column("content_hash", TEXT, nullable=False),
    sa.Column("run", TEXT, nullable=False),
)
title_table = sa.Table(
    "item_titles",
    metadata,
    sa.Column("domain", TEXT, primary_key=True),
    sa.Column("item_id", TEXT, primary_key=True),
    sa.Column("key", TEXT, primary_key=True),
    sa.ForeignKeyConstraint(["domain", "item_id"], [item_table.c.domain, item_table.c.id], ondelete="CASCADE"),
    sa.Index("item_titles_by_key", "domain", "key"),
)
interaction_table = sa.Table(
    "interactions",
    metadata,
    sa.Column("user_id", TEXT, primary_key=True),
    sa.Column("domain", TEXT, primary_key=True),
    sa.Column("item_id", TEXT, primary_key=True),
    sa.Column("kind", TEXT, primary_key=True),
    sa.Column("value", sa.Double, nullable=False),
    sa.Column("timestamp", INTEGER),
    sa.Column("run", TEXT, nullable=False),
    sa.ForeignKeyConstraint(["domain", "item_id"], [item_table.c.domain, item_table.c.id], ondelete="CASCADE"),
    sa.Index("interactions_by_item", "domain", "item_id"),
)
meta_table = sa.Table(
    "meta",
    metadata,
    sa.Column("key", TEXT, primary_key=True),
    sa.Column("value", INTEGER, nullable=False),
)


def _sqlite(url: sa.URL) -> sa.Engine:
    engine = sa.create_engine(url)
    waits = url.query.get("timeout")
    busy_timeout_ms = round(1000 * float(waits)) if isinstance(waits, str) else BUSY_TIMEOUT_MS

    @sa.event.listens_for(engine, "connect")
    def _connected(connection: sqlite3.Connection, _record: object) -> None:
        # The driver opens transactions only before the first write, so that a read and the write that
        # depends on it could be torn apart; SQLAlchemy's "begin" event below opens them instead.
        connection.isolation_level = None
        for setting in (f"busy_timeout = {busy_timeout_ms}", "journal_mode = WAL", "synchronous = NORMAL"):
            connection.execute(f"PRAGMA {setting}")
        connection.execute("PRAGMA foreign_keys = ON")

    @sa.event.listens_for(engine, "begin")
    def _begun(connection: sa.Connection) -> None:
        writing = connection.get_execution_options().get("writing", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    if url.database and url.database != ":memory:" and not url.database.startswith("file:"):
        _reconnect_when_moved(engine, Path(url.database))
    return engine


def _reconnect_when_moved(engine: sa.Engine, file: Path) -> None:
    """Have every connection of the engine be to the file that is at the path now.

    SQLite goes on in a file that was moved away, and makes an empty one where there is none: a service would answer
    from data that nobody has any more. So each connection is compared with the file before it is used.

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
        self.file: _FileIdentity | None = None
        self._log: _FileIdentity | None = None

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

    def moved(self, file: _FileIdentity | None) -> bool:
        """Whether the file at the path is not this one any more."""
        if _identity(self._path) != file:
            return True
        self._log = _identity(self._log_path) or self._log
        return False


def _identity(path: Path) -> _FileIdentity | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _postgres(url: sa.URL) -> sa.Engine:
    """Each connection is tried before it is used: the server may have been started anew since."""
    waits = {} if "connect_timeout" in url.query else {"connect_timeout": _CONNECT_S}
    return sa.create_engine(url, pool_pre_ping=True, connect_args=waits)


class Database:
    """One SQL database, SQLite or Postgres: transactions in which every failure is a `StoreError`."""

    def __init__(self, url: str) -> None:
        self._shown_url = url
        with self.translated():
            parsed = sa.make_url(url)
            self._shown_url = parsed.render_as_string(hide_password=True)
            if parsed.get_backend_name() not in {"sqlite", "postgresql"}:
                msg = f"{self._shown_url}: the store can be SQLite or Postgres"
                raise StoreError(msg, hint="set [store] url to sqlite:///FILE or postgresql+psycopg://…")
            self._engine = _sqlite(parsed) if parsed.get_backend_name() == "sqlite" else _postgres(parsed)
        self._sqlite_file = parsed.database if parsed.get_backend_name() == "sqlite" else None

    def create(self, more: sa.MetaData | None = None) -> None:
        """Make the folder of a SQLite file and the tables that are not there yet: the store's, and `more`.

        What keeps something beside the store (answers, dialogues) brings tables of its own into the same database.

        Raises:
            StoreError: the database cannot be reached or written, or was written by a newer version.
        """
        with self.translated():
            if self._sqlite_file and self._sqlite_file != ":memory:":
                Path(self._sqlite_file).parent.mkdir(parents=True, exist_ok=True)
        with self.writing() as connection:
            metadata.create_all(connection)
            if more is not None:
                more.create_all(connection)
            row = {"key": "schema", "value": _SCHEMA_VERSION}
            connection.execute(self.insert(meta_table).values(row).on_conflict_do_nothing())
            version = connection.scalar(sa.select(meta_table.c.value).where(meta_table.c.key == "schema"))
        if version != _SCHEMA_VERSION:
            msg = f"{self._shown_url} has schema {version}, this version reads {_SCHEMA_VERSION}"
            raise StoreError(msg, hint="use the version of xdrec that wrote it, or ingest into a new store")

    def insert(self, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
        """An INSERT of the database's dialect, which knows ON CONFLICT."""
        return sqlite.insert(table) if self._engine.dialect.name == "sqlite" else postgresql.insert(table)

    def upsert(self, connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows; those whose primary key is there replace what it has."""
        if rows:
            statement = self.insert(table)
            changed = {name: statement.excluded[name] for name in rows[0] if not table.c[name].primary_key}
            statement = statement.on_conflict_do_update(index_elements=table.primary_key, set_=changed)
            connection.execute(statement, rows)

    def increment(self, connection: sa.Connection, key: str) -> None:
        """Increment a counter of `meta`; readers see with the commit that something changed."""
        statement = self.insert(meta_table).values(key=key, value=1)
        one_more = {"value": meta_table.c.value + 1}
        connection.execute(statement.on_conflict_do_update(index_elements=["key"], set_=one_more))

    def fetch(self, query: sa.Select[*_Columns]) -> Sequence[sa.Row[*_Columns]]:
        """All rows of a query, in a transaction of its own."""
        with self.reading() as connection:
            return connection.execute(query).all()

    def execute(self, statement: sa.Insert | sa.Update | sa.Delete) -> int:
        """Write in a transaction of its own; how many rows it changed."""
        with self.writing() as connection:
            return connection.execute(statement).rowcount

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """One transaction that sees one state of the database."""
        with self.translated(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """One transaction that holds the writer's lock and is committed as a whole or not at all."""
        engine = self._engine.execution_options(writing=True)
        with self.translated(), engine.begin() as connection:
            if self._engine.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_WRITER_LOCK)))
            yield connection

    def close(self) -> None:
        """Close all pooled connections."""
        self._engine.dispose()

    @contextmanager
    def translated(self) -> Iterator[None]:
        """The one place where the failures of SQLAlchemy, its drivers and of unreadable rows become ours."""
        try:
            yield
        except (SQLAlchemyError, OSError, OverflowError) as exc:
            reason = str(getattr(exc, "orig", None) or exc).strip()
            raise StoreError(f"store {self._shown_url}: {reason}", hint=_hint(reason)) from exc
        except ImportError as exc:
            msg = f"store {self._shown_url}: {exc}"
            raise StoreError(msg, hint="pip install 'xdrec[postgres]'") from exc
        except ValidationError as exc:
            msg = f"store {self._shown_url}: a stored row is not readable: {exc.errors()[0]['msg']}"
            raise StoreError(msg, hint="ingest the catalogue again") from exc


class Tables:
    """Tables in the store's database; `open` makes missing ones, the constructor makes nothing.

    Raises:
        StoreError: from every method, if the database fails.
    """

    metadata: ClassVar[sa.MetaData]
    """The tables. What keeps something beside the store brings its own."""

    def __init__(self, url: str | Database) -> None:
        self.database = url if isinstance(url, Database) else Database(url)

    @classmethod
    def open(cls, url: str | Database) -> Self:
        """Connect to a SQLAlchemy URL, or use an open database; make its folder (SQLite) and tables where missing."""
        opened = cls(url)
        opened.database.create(cls.metadata)
        return opened

    def close(self) -> None:
        """Close all connections."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def exists(self) -> bool:
        """Whether the database has the tables."""
        with self.database.reading() as connection:
            return all(map(sa.inspect(connection).has_table, self.metadata.tables))

    def first(self, query: sa.Select[*_Columns]) -> sa.Row[*_Columns] | None:
        """The first row of a query; None if there is none, or the tables are missing."""
        return next(iter(self.database.fetch(query.limit(1))), None) if self.exists() else None

    def counter(self, key: str) -> int:
        """A counter of `meta`, 0 if it was never incremented."""
        return next((row.value for row in self.database.fetch(sa.select(meta_table).where(meta_table.c.key == key))), 0)

    def pages(
        self, query: sa.Select[*_Columns], by: sa.Column[Any], size: int, last: str | int
    ) -> Iterator[sa.Row[*_Columns]]:
        """All rows behind `last` in the order of the column `by`, a transaction a page of `size` rows.

        No transaction stays open while the caller works.
        """
        query = query.order_by(by).limit(size)
        while True:
            page = self.database.fetch(query.where(by > last))
            yield from page
            if len(page) < size:
                return
            last = page[-1]._mapping[by]


def relations_changed(connection: sa.Connection) -> None:
    """Increment the counter of relations, if the store ever had any."""
    changed = sa.update(meta_table).where(meta_table.c.key == RELATIONS).values(value=meta_table.c.value + 1)
    connection.execute(changed)


def chunks(values: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """The values in parts small enough for one statement."""
    for start in range(0, len(values), _CHUNK):
        yield values[start : start + _CHUNK]


def chunks_by_group(keys: Iterable[tuple[_G, str]]) -> Iterator[tuple[_G, Sequence[str]]]:
    """Keys by their first part, each with second parts for one statement: SQLite would scan the table for pairs."""
    groups: dict[_G, dict[str, None]] = {}
    for group, value in keys:
        groups.setdefault(group, {})[value] = None
    for group, values in groups.items():
        for chunk in chunks(list(values)):
            yield group, chunk


def _hint(reason: str) -> str:
    if "was replaced" in reason:
        return "stop what uses the store, delete the old -wal and -shm beside it, then start again"
    if "locked" in reason:
        return "another process is writing; run the command again when it has ended"
    if "no such table" in reason or "does not exist" in reason:
        return "ingest a catalogue first: xdrec ingest"
    return "check [store] url in xdrec.toml, that the database runs and that you may write there: xdrec doctor"
