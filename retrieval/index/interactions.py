"""Behaviour: what people did and when. Reads a store's interactions, produces counts, likes and profiles.

A columnar copy of the interactions lies beside the indexes, opens in milliseconds and is written anew by every index
run. It is personal data: a person who is deleted leaves it at once (`forget`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from scipy import sparse

from retrieval.errors import IndexMissing
from retrieval.files import atomic_file
from retrieval.types import LIKED, Preference

if TYPE_CHECKING:
    import pyarrow as pa

FILE: Final = "behaviour.arrow"
_GENERATION: Final = b"generation"
_PARTIAL: Final = f".partial-{FILE}"
_LOCK: Final = "behaviour.lock"
_ROWS: Final = 50_000
_YEAR: Final = 365.25 * 86_400
_PERIOD: Final = 2 * _YEAR
"""So far away in time a touch counts 1/e; chosen on validation users (docs/experiments.md)."""
_MONTH: Final = _YEAR / 12
_UNKNOWN: Final = int(np.iinfo(np.int64).min)
"""Number of the month of a touch without a time; no time gives it."""


@dataclass(frozen=True)
class Likes:
    """What people did in one domain. People are numbered alike in all domains, items as in the snapshot asked about.

    Attributes:
        liked: 1 where a person liked an item; shape (people, items).
        months: in which somebody touched something, ascending, counted from 1970; `_UNKNOWN` stands for no time.
        monthly: how many people touched each item in each of them; shape (items, months).
    """

    liked: sparse.csr_array
    months: NDArray[np.int64]
    monthly: sparse.csr_array

    @cached_property
    def touched(self) -> NDArray[np.int64]:
        """How many people touched each item; shape (items,)."""
        return np.asarray(self.monthly.sum(axis=1), dtype=np.int64)

    def popularity(self, at: int | None) -> NDArray[np.float32]:
        """Logarithm of the people who touched each item, 1 for the most popular one; shape (items,), not to be changed.

        Args:
            at: Unix seconds. Whoever touched an item a time d before or after counts exp(-d / 2 years), to the month.
                None: all count alike.
        """
        return self._popularity_in(None if at is None else int(at // _MONTH))

    @cached_property
    def _popularity_in(self) -> Callable[[int | None], NDArray[np.float32]]:
        # People ask about few different months; of a million items one takes tens of milliseconds.
        return lru_cache(maxsize=16)(self._counted)

    def _counted(self, month: int | None) -> NDArray[np.float32]:
        out: NDArray[np.float32] = self.monthly @ self._weights(month)
        out += np.float32(1)
        np.log(out, out=out)
        out /= np.float32(out.max(initial=0) or 1)
        out.flags.writeable = False
        return out

    def _weights(self, month: int | None) -> NDArray[np.float32]:
        """What a touch in each month counts; one without a time as much as the others do on average."""
        weights, timed = np.ones(len(self.months), dtype=np.float32), self.months != _UNKNOWN
        if month is None or not timed.any():
            return weights
        known = self.months[timed]
        # Before the first and after the last month nothing is known, so these stand for it.
        away = np.abs(known - np.clip(month, known[0], known[-1])) * _MONTH
        weights[timed] = np.exp(-away / _PERIOD)
        weights[~timed] = np.average(weights[timed], weights=self.monthly.sum(axis=0)[timed])
        return weights

    @cached_property
    def unit(self) -> sparse.csr_array:
        """`liked` with columns of unit length: products of two of them are cosines over people."""
        lengths = np.sqrt(self.liked.sum(axis=0))
        return sparse.csr_array(self.liked @ sparse.diags_array(1 / np.maximum(lengths, 1)), dtype=np.float32)

    @cached_property
    def unit_by_item(self) -> sparse.csc_array:
        """`unit`, stored by item: a few columns of it cost nothing."""
        return self.unit.tocsc()

    @cached_property
    def by_person(self) -> sparse.csr_array:
        """`liked` with each person's row divided by the root of its length: many likes each say less."""
        lengths = np.sqrt(self.liked.sum(axis=1))
        return sparse.csr_array(sparse.diags_array(1 / np.maximum(lengths, 1)) @ self.liked, dtype=np.float32)


class Behaviour:
    """Preferences of many people, by person.

    Args:
        table: the columns of `Preference`, all rows of a person together.
    """

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    @classmethod
    def of(cls, preferences: Iterable[Preference]) -> Self:
        """From preferences in memory, all of one person together."""
        import pyarrow as pa

        return cls(pa.Table.from_batches(_batches(preferences), _schema()))

    @classmethod
    def open(cls, folder: Path) -> Self:
        """What `write_behaviour` wrote there; nobody's, if it never ran.

        Raises:
            IndexMissing: the file cannot be read, or an earlier version wrote it.
        """
        import pyarrow as pa

        path = folder / FILE
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
        """Everybody but these: what is measured on people must not come from them."""
        import pyarrow as pa
        import pyarrow.compute as pc

        theirs = pc.is_in(self._table["user"], value_set=pa.array(sorted(users), pa.string()))
        return type(self)(self._table.filter(pc.invert(theirs)))

    def only(self, user: str) -> Self:
        """This person alone."""
        import pyarrow.compute as pc

        return type(self)(self._table.filter(pc.equal(self._table["user"], user)))

    @property
    def generation(self) -> int | None:
        """The store's generation of interactions that this was written from; None: not written from a store."""
        metadata = self._table.schema.metadata or {}
        return int(metadata[_GENERATION]) if _GENERATION in metadata else None

    @cached_property
    def people(self) -> Mapping[str, int]:
        """User → number."""
        return {user: number for number, user in enumerate(self._table["user"].unique().to_pylist())}

    def __len__(self) -> int:
        """How many preferences there are."""
        return len(self._table)

    def __iter__(self) -> Iterator[Preference]:
        for batch in self._table.to_batches():
            yield from zip(*(batch.column(name).to_pylist() for name in _schema().names), strict=True)

    def likes(self, domain: str, positions: Mapping[str, int]) -> Likes:
        """What people did in a domain whose items have these rows; items without a row are left out."""
        import pyarrow.compute as pc

        here = pc.equal(self._table["domain"], domain)
        part = self._table.filter(here)
        users = part["user"].to_pylist()
        rows = np.fromiter((positions.get(i, -1) for i in part["item"].to_pylist()), dtype=np.int64, count=len(part))
        people = np.fromiter((self.people[user] for user in users), dtype=np.int64, count=len(part))
        preference = part["preference"].to_numpy()
        known = rows >= 0
        liked = known & (preference >= LIKED)
        times = pc.fill_null(part["time"].cast("float64"), np.nan).to_numpy()
        month = np.where(np.isnan(times), _UNKNOWN, times // _MONTH).astype(np.int64)
        months, column = np.unique(month[known], return_inverse=True)
        return Likes(
            liked=_counts(people[liked], rows[liked], (len(self.people), len(positions))),
            months=months,
            monthly=_counts(rows[known], column, (len(positions), len(months))),
        )


def _counts(rows: NDArray[np.int64], columns: NDArray[np.int64], shape: tuple[int, int]) -> sparse.csr_array:
    """How often each pair occurs."""
    return sparse.csr_array((np.ones(len(rows), dtype=np.float32), (rows, columns)), shape=shape)


def write_behaviour(folder: Path, preferences: Iterable[Preference], generation: int | None = None) -> None:
    """Write everybody's preferences (all of one person together) in place of what is there; a reader sees either.

    Nothing is done where what is there comes from this `generation` of interactions already (None: it is not known).
    They are read under the lock: whoever is deleted meanwhile is forgotten after this, never brought back by it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / _LOCK):
        if generation is None or _generation(folder) != generation:
            _replace(folder, preferences, generation)


def _generation(folder: Path) -> int | None:
    try:
        return Behaviour.open(folder).generation
    except IndexMissing:  # what cannot be read is replaced
        return None


def behaviour_mark(folder: Path) -> object:
    """Another one as soon as another file is there; None without one."""
    try:
        found = (folder / FILE).stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def preferences_of(folder: Path, user: str) -> list[Preference]:
    """What is kept there about a user."""
    return list(Behaviour.open(folder).only(user))


def forget(folder: Path, user: str) -> int:
    """Remove a user from what is kept there; how many preferences went."""
    if not folder.is_dir():
        return 0
    with FileLock(folder / _LOCK):
        (folder / _PARTIAL).unlink(missing_ok=True)  # of a run that was killed
        everybody = Behaviour.open(folder)
        others = everybody.without([user])
        if len(others) < len(everybody):
            _replace(folder, others, everybody.generation)
    return len(everybody) - len(others)


def _replace(folder: Path, preferences: Iterable[Preference], generation: int | None) -> None:
    import pyarrow as pa

    schema = _schema() if generation is None else _schema().with_metadata({_GENERATION: str(generation)})
    with (
        atomic_file(folder / FILE) as partial,
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
    rows = iter(preferences)
    while page := list(islice(rows, _ROWS)):
        yield _batch(page)


def _batch(page: Sequence[Preference]) -> pa.RecordBatch:
    import pyarrow as pa

    columns = [list(column) for column in zip(*page, strict=True)]
    return pa.RecordBatch.from_arrays(
        [pa.array(column, type=field.type) for column, field in zip(columns, _schema(), strict=True)], schema=_schema()
    )
