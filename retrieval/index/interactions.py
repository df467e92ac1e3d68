"""Interactions of all users. Reads the store's interactions, produces a columnar file and sparse matrices by domain.

The file lies beside the indexes, opens in milliseconds, and every index run writes it anew. It is personal data: a
deleted user leaves it at once (`delete_user`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from retrieval.errors import IndexMissing
from retrieval.files import atomic_file
from retrieval.index.arrow_columns import column_codes, column_values
from retrieval.types import LIKED, Preference

if TYPE_CHECKING:
    import pyarrow as pa
    from scipy import sparse

INTERACTIONS_FILE: Final = "interactions.arrow"
_GENERATION: Final = b"generation"
_PARTIAL: Final = f".partial-{INTERACTIONS_FILE}"
_LOCK: Final = "interactions.lock"
_BATCH_ROWS: Final = 50_000
_YEAR: Final = 365.25 * 86_400
_DECAY: Final = 2 * _YEAR
"""An interaction so far away in time counts 1/e; chosen on validation users (docs/explanation/experiments.md)."""
_MONTH: Final = _YEAR / 12
_NO_TIME: Final = int(np.iinfo(np.int64).min)
"""Month number of an interaction without a time; no time gives it."""


@dataclass(frozen=True)
class DomainInteractions:
    """Interactions in one domain. User numbers are the same in all domains, item rows are those of the snapshot.

    Attributes:
        liked: 1 where a user liked an item; shape (users, items).
        months: months with interactions, ascending, counted from 1970; `_NO_TIME` stands for no time.
        monthly_counts: how many users interacted with each item in each month; shape (items, months).
    """

    liked: sparse.csr_array
    months: NDArray[np.int64]
    monthly_counts: sparse.csr_array

    @cached_property
    def user_counts(self) -> NDArray[np.int64]:
        """How many users interacted with each item; shape (items,)."""
        return np.asarray(self.monthly_counts.sum(axis=1), dtype=np.int64)

    def popularity(self, at: int | None) -> NDArray[np.float32]:
        """Logarithm of each item's number of users, scaled to 1 for the most popular item; shape (items,), read-only.

        Args:
            at: Unix seconds. An interaction at a time distance d counts exp(-d / 2 years), to the month.
                None: all count alike.
        """
        return self._popularity_by_month(None if at is None else int(at // _MONTH))

    @cached_property
    def _popularity_by_month(self) -> Callable[[int | None], NDArray[np.float32]]:
        # Queries use few different months; one takes tens of milliseconds on a million items.
        return lru_cache(maxsize=16)(self._compute_popularity)

    def _compute_popularity(self, month: int | None) -> NDArray[np.float32]:
        out: NDArray[np.float32] = self.monthly_counts @ self._month_weights(month)
        out += np.float32(1)
        np.log(out, out=out)
        out /= np.float32(out.max(initial=0) or 1)
        out.flags.writeable = False
        return out

    def _month_weights(self, month: int | None) -> NDArray[np.float32]:
        """What an interaction in each month counts; one without a time counts as much as the others on average."""
        weights, timed = np.ones(len(self.months), dtype=np.float32), self.months != _NO_TIME
        if month is None or not timed.any():
            return weights
        known = self.months[timed]
        # Nothing is known before the first and after the last month, so these stand for all such times.
        distance = np.abs(known - np.clip(month, known[0], known[-1])) * _MONTH
        weights[timed] = np.exp(-distance / _DECAY)
        weights[~timed] = np.average(weights[timed], weights=self.monthly_counts.sum(axis=0)[timed])
        return weights

    @cached_property
    def item_normalized(self) -> sparse.csr_array:
        """`liked` with columns of unit length: products of two columns are cosines over users."""
        from scipy import sparse

        lengths = np.sqrt(self.liked.sum(axis=0))
        return sparse.csr_array(self.liked @ sparse.diags_array(1 / np.maximum(lengths, 1)), dtype=np.float32)

    @cached_property
    def item_normalized_columns(self) -> sparse.csc_array:
        """`item_normalized` stored by column: taking a few columns of it is cheap."""
        return self.item_normalized.tocsc()

    @cached_property
    def user_normalized(self) -> sparse.csr_array:
        """`liked` with rows of unit length: of many likes each says less."""
        from scipy import sparse

        lengths = np.sqrt(self.liked.sum(axis=1))
        return sparse.csr_array(sparse.diags_array(1 / np.maximum(lengths, 1)) @ self.liked, dtype=np.float32)


class InteractionTable:
    """Preferences of many users.

    Args:
        table: the columns of `Preference`, all rows of a user together.
    """

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    @classmethod
    def of(cls, preferences: Iterable[Preference]) -> Self:
        """From preferences in memory, all of one user together."""
        import pyarrow as pa

        return cls(pa.Table.from_batches(_batches(preferences), _schema()))

    @classmethod
    def open(cls, folder: Path) -> Self:
        """What `write_interactions` wrote into the folder; empty if it never ran.

        Raises:
            IndexMissing: the file cannot be read, or an earlier version wrote it.
        """
        import pyarrow as pa

        path = folder / INTERACTIONS_FILE
        if not path.exists():
            return cls.of(())
        try:
            table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        except (OSError, pa.ArrowInvalid) as exc:
            raise IndexMissing(f"{path} cannot be read: {exc}", hint="xdrec index") from exc
        if table.schema.names != _schema().names:
            raise IndexMissing(f"{path} was written by an earlier version", hint="xdrec index")
        return cls(table)

    def without(self, users: Collection[str]) -> Self:
        """All but these users: an evaluation's users must not be in the data that they are evaluated with."""
        import pyarrow as pa
        import pyarrow.compute as pc

        excluded = pc.is_in(self._table["user"], value_set=pa.array(sorted(users), pa.string()))
        return type(self)(self._table.filter(pc.invert(excluded)))

    def only(self, user: str) -> Self:
        """This user alone."""
        import pyarrow.compute as pc

        return type(self)(self._table.filter(pc.equal(self._table["user"], user)))

    @property
    def generation(self) -> int | None:
        """The store's generation of interactions that this was written from; None: not written from a store."""
        metadata = self._table.schema.metadata or {}
        return int(metadata[_GENERATION]) if _GENERATION in metadata else None

    @cached_property
    def users(self) -> Mapping[str, int]:
        """User → number."""
        return {user: number for number, user in enumerate(self._table["user"].unique().to_pylist())}

    def __len__(self) -> int:
        """How many preferences there are."""
        return len(self._table)

    def __iter__(self) -> Iterator[Preference]:
        for batch in self._table.to_batches():
            yield from zip(*(batch.column(name).to_pylist() for name in _schema().names), strict=True)

    def in_domain(self, domain: str, positions: Mapping[str, int]) -> DomainInteractions:
        """The interactions in a domain whose items have these rows; items without a row are left out."""
        domains, names = column_codes(self._table["domain"])
        items, ids = column_codes(self._table["item"])
        row_of_item = np.array([positions.get(id_, -1) for id_ in ids], dtype=np.int64)
        in_domain = np.flatnonzero(domains == (names.index(domain) if domain in names else -1))
        known = in_domain[row_of_item[items[in_domain]] >= 0]
        rows = row_of_item[items[known]]
        users = column_codes(self._table["user"])[0][known].astype(np.int64)  # numbered as in `users`
        liked = column_values(self._table["preference"], np.float32)[known] >= LIKED
        times = column_values(self._table["time"], np.int64, missing=_NO_TIME)[known]
        month = np.where(times == _NO_TIME, _NO_TIME, times // _MONTH).astype(np.int64)
        months, column = np.unique(month, return_inverse=True)
        return DomainInteractions(
            liked=_count_pairs(users[liked], rows[liked], (len(self.users), len(positions))),
            months=months,
            monthly_counts=_count_pairs(rows, column, (len(positions), len(months))),
        )


def _count_pairs(rows: NDArray[np.int64], columns: NDArray[np.int64], shape: tuple[int, int]) -> sparse.csr_array:
    """How often each pair occurs."""
    from scipy import sparse

    return sparse.csr_array((np.ones(len(rows), dtype=np.float32), (rows, columns)), shape=shape)


def write_interactions(folder: Path, preferences: Iterable[Preference], generation: int | None = None) -> None:
    """Replace the file by these preferences (all of one user together); a reader sees the old or the new file.

    Does nothing where the file comes from this `generation` of interactions already (None: the generation is unknown).
    The preferences are read under the lock: a user who is deleted meanwhile is removed after this, never brought back.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / _LOCK):
        if generation is None or _written_generation(folder) != generation:
            _replace(folder, preferences, generation)


def _written_generation(folder: Path) -> int | None:
    try:
        return InteractionTable.open(folder).generation
    except IndexMissing:  # an unreadable file is replaced
        return None


def interactions_version(folder: Path) -> tuple[int, int] | None:
    """Changes as soon as the file is replaced; None without a file."""
    try:
        stat = (folder / INTERACTIONS_FILE).stat()
    except FileNotFoundError:
        return None
    return stat.st_ino, stat.st_mtime_ns


def user_preferences(folder: Path, user: str) -> list[Preference]:
    """What the file holds about a user."""
    return list(InteractionTable.open(folder).only(user))


def delete_user(folder: Path, user: str) -> int:
    """Remove a user from the file; returns the number of removed preferences."""
    if not folder.is_dir():
        return 0
    with FileLock(folder / _LOCK):
        (folder / _PARTIAL).unlink(missing_ok=True)  # of a run that was killed
        table = InteractionTable.open(folder)
        others = table.without([user])
        if len(others) < len(table):
            _replace(folder, others, table.generation)
    return len(table) - len(others)


def _replace(folder: Path, preferences: Iterable[Preference], generation: int | None) -> None:
    import pyarrow as pa

    schema = _schema() if generation is None else _schema().with_metadata({_GENERATION: str(generation)})
    with (
        atomic_file(folder / INTERACTIONS_FILE) as partial,
        pa.OSFile(str(partial), "wb") as sink,
        pa.ipc.new_file(sink, schema) as writer,
    ):
        for batch in _batches(preferences):
            writer.write_batch(batch)


def _schema() -> pa.Schema:
    import pyarrow as pa

    text = pa.string()
    return pa.schema({"user": text, "domain": text, "item": text, "preference": pa.float32(), "time": pa.int64()})


def _batches(preferences: Iterable[Preference]) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    rows, schema = iter(preferences), _schema()
    while page := list(islice(rows, _BATCH_ROWS)):
        columns = zip(zip(*page, strict=True), schema, strict=True)
        yield pa.record_batch([pa.array(values, type=field.type) for values, field in columns], schema=schema)
