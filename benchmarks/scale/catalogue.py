"""A catalogue of any size. Reads real items and their vectors, produces CSV files of made-up ones, and their encoder.

Every item is like a real one: its title, creators and categories, a year, and a description of other titles, so that
words are as common as they are in a catalogue. Its vector is that of the real item, moved by a part of the difference
of two others: random vectors would have no neighbours, and a difference of real ones keeps to the directions that texts
have. What item n is depends on the seed and n alone, so a catalogue can grow.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np

from eval.data import Dataset
from retrieval.encoder import Vectors
from retrieval.types import Frozen

SOURCE: Final = "films"
TARGET: Final = "books"
BLOCK: Final = 1_000
"""Items made at a time; sizes are multiples of it."""
FIRST_YEAR: Final = 1920
YEARS: Final = 100
_SEED: Final = 0
_SPREAD: Final = 0.45
"""How far a vector moves, in differences of two others. A nearest neighbour's cosine, .61 among 40 thousand real books,
grows by .037 with each doubling; so far apart, that of a million made-up ones is what that comes to, .78."""
_TITLES: Final = (4, 20)
"""Fewest titles in a description, and more than most."""
_PART: Final = ", part "
_ITEMS: Final = ("id", "title", "creators", "categories", "year", "description")
_INTERACTIONS: Final = ("user", "item", "rating")
_ITEMS_A_PERSON: Final = 20
"""Items for each person."""
_LIKED: Final = {SOURCE: 5, TARGET: 15}


class Real(Frozen):
    """A real item."""

    title: str
    creators: tuple[str, ...]
    categories: tuple[str, ...]


@dataclass(frozen=True)
class Pool:
    """Real items of the two domains and their raw vectors, in a folder."""

    folder: Path

    @classmethod
    def of(cls, dataset: Dataset, folder: Path) -> Pool:
        """Write the pool of a prepared dataset, where that was not done before."""
        folder.mkdir(parents=True, exist_ok=True)
        for domain in (SOURCE, TARGET):
            items = folder / f"{domain}.jsonl"
            if items.exists():
                continue
            ids, vectors = dataset.index.vectors.all(domain)
            found = dataset.store.items(domain, ids)
            rows = [Real(title=i.title, creators=i.creators, categories=i.categories) for i in found.values()]
            np.save(folder / f"{domain}.npy", vectors)
            items.write_text("".join(f"{row.model_dump_json()}\n" for row in rows), encoding="utf-8")
        return cls(folder)

    def items(self, domain: str) -> list[Real]:
        """The real items of a domain."""
        lines = (self.folder / f"{domain}.jsonl").read_text(encoding="utf-8").split("\n")
        return [Real.model_validate_json(line) for line in lines if line]

    def vectors(self, domain: str) -> Vectors:
        """Their vectors, in the same order."""
        vectors: Vectors = np.load(self.folder / f"{domain}.npy", mmap_mode="r")
        return vectors


class PoolEncoder:
    """Stands for an encoder that has seen every made-up text: its vector follows from the text."""

    name = "pool"

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the pool's vectors."""
        digest = hashlib.sha256(str(_SPREAD).encode())
        for domain in (SOURCE, TARGET):
            digest.update(np.ascontiguousarray(self._pool.vectors(domain)).data)
        return digest.hexdigest()

    @cached_property
    def _vectors(self) -> Vectors:
        return np.concatenate([self._pool.vectors(SOURCE), self._pool.vectors(TARGET)])

    @cached_property
    def _places(self) -> dict[str, int]:
        titles = [real.title for domain in (SOURCE, TARGET) for real in self._pool.items(domain)]
        return {title: place for place, title in enumerate(titles)}

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, shape (len(texts), dims)."""
        real = self._vectors
        marks = [hashlib.blake2b(text.encode(), digest_size=16).digest() for text in texts]
        one, other = np.frombuffer(b"".join(marks), dtype=np.uint64).reshape(-1, 2).T % len(real)
        like = [self._places.get(text.partition(_PART)[0], int(place)) for text, place in zip(texts, one, strict=True)]
        moved = real[like] + np.float32(_SPREAD) * (real[one] - real[other])
        return np.asarray(moved / np.linalg.norm(moved, axis=1, keepdims=True), dtype=np.float32)


def write_items(path: Path, pool: Pool, domain: str, start: int, stop: int) -> None:
    """Items start to stop - 1 of a domain; both are multiples of `BLOCK`."""
    real = pool.items(domain)
    _write(path, _ITEMS, (row for at in range(start, stop, BLOCK) for row in _items(real, domain, at)))


def _items(real: Sequence[Real], domain: str, start: int) -> Iterator[tuple[object, ...]]:
    rng = np.random.default_rng((_SEED, len(domain), start))
    like = rng.integers(len(real), size=BLOCK).tolist()
    years = (FIRST_YEAR + rng.integers(YEARS, size=BLOCK)).tolist()
    told = rng.integers(len(real), size=(BLOCK, _TITLES[1])).tolist()
    counts = rng.integers(*_TITLES, size=BLOCK).tolist()
    for n in range(BLOCK):
        one = real[like[n]]
        description = ". ".join(real[place].title for place in told[n][: counts[n]])
        title = f"{one.title}{_PART}{1 + (start + n) // len(real)}"
        yield item_id(start + n), title, "|".join(one.creators), "|".join(one.categories), years[n], description


def item_id(n: int) -> str:
    """The id of item n."""
    return f"i{n:07}"


def write_interactions(path: Path, domain: str, start: int, stop: int, items: int) -> int:
    """What the people like who come with the target's items start to stop - 1: of `items` items few are liked by many.

    Returns:
        How many rows there are.
    """
    people = range(start // _ITEMS_A_PERSON, stop // _ITEMS_A_PERSON)
    rng = np.random.default_rng((_SEED, 1 + len(domain), start))
    liked = (items * rng.random((len(people), _LIKED[domain])) ** 3).astype(np.int64).tolist()
    rows = [(f"u{user}", item_id(n), 5) for user, some in zip(people, liked, strict=True) for n in sorted(set(some))]
    _write(path, _INTERACTIONS, iter(rows))
    return len(rows)


def _write(path: Path, columns: Sequence[str], rows: Iterator[tuple[object, ...]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
