"""Behaviour: what people did, beside what texts say. Reads a store's interactions, produces counts, likes and profiles.

A columnar copy of the interactions lies beside the indexes, opens in milliseconds and is written anew by every index
run. It is personal data: a person who is deleted leaves it at once (`forget`).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from scipy import sparse

from retrieval.errors import IndexMissing
from retrieval.types import LIKED

if TYPE_CHECKING:
    import pyarrow as pa

Preference = tuple[str, str, str, float]
"""User, domain, item id, preference in [-1, 1]."""

FILE: Final = "behaviour.arrow"
_GENERATION: Final = b"generation"
_PARTIAL: Final = f".{FILE}.partial"
_LOCK: Final = "behaviour.lock"
_ROWS: Final = 50_000


@dataclass(frozen=True)
class Likes:
    """What people did in one domain. People are numbered alike in all domains, items as in the snapshot asked about.

    Attributes:
        touched: how many people touched each item; shape (items,).
        liked: 1 where a person liked an item; shape (people, items).
    """

    touched: NDArray[np.int64]
    liked: sparse.csr_array

    @cached_property
    def popularity(self) -> NDArray[np.float32]:
        """Logarithm of the people who touched each item, 1 for the most popular one; shape (items,)."""
        touched = np.log1p(self.touched.astype(np.float32))
        return np.asarray(touched / (float(touched.max(initial=0)) or 1.0), dtype=np.float32)

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
        table: columns user, domain, item (strings) and preference (float), all rows of a person together.
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
            IndexMissing: the file cannot be read.
        """
        import pyarrow as pa

        path = folder / FILE
        if not path.exists():
            return cls.of(())
        try:
            return cls(pa.ipc.open_file(pa.memory_map(str(path))).read_all())
        except (OSError, pa.ArrowInvalid) as exc:
            raise IndexMissing(f"{path} cannot be read: {exc}", hint="xdrec index") from exc

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
        shape = (len(self.people), len(positions))
        ones = np.ones(int(liked.sum()), dtype=np.float32)
        return Likes(
            touched=np.bincount(rows[known], minlength=len(positions)),
            liked=sparse.csr_array((ones, (people[liked], rows[liked])), shape=shape),
        )


def write_behaviour(folder: Path, preferences: Iterable[Preference], generation: int | None = None) -> None:
    """Write everybody's preferences (all of one person together) in place of what is there; a reader sees either.

    Nothing is done where what is there comes from this `generation` of interactions already (None: it is not known).
    They are read under the lock: whoever is deleted meanwhile is forgotten after this, never brought back by it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / _LOCK):
        if generation is None or Behaviour.open(folder).generation != generation:
            _replace(folder, preferences, generation)


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
    partial = folder / _PARTIAL
    try:
        with pa.OSFile(str(partial), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            for batch in _batches(preferences):
                writer.write_batch(batch)
        os.replace(partial, folder / FILE)
    finally:
        partial.unlink(missing_ok=True)


def _schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema({"user": pa.string(), "domain": pa.string(), "item": pa.string(), "preference": pa.float32()})


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
