"""The snapshot: a domain's vectors and filterable facts as memory-mapped files, derived from store and Chroma.

Reads items and their vectors, produces a folder that opens in milliseconds and never changes; a new build writes a new
folder and then moves the pointer `CURRENT` to it, so readers see the old one or the new one, never a mixture.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from retrieval.encoder import Vectors
from retrieval.errors import IndexMissing
from retrieval.types import Frozen, Item
from retrieval.words import Words, open_words, write_words

if TYPE_CHECKING:
    import pyarrow as pa

Positions = NDArray[np.int64]
"""Row numbers of a snapshot."""

Scores = NDArray[np.float32]
"""A number for each row of a snapshot, shape (items,)."""

POINTER: Final = "CURRENT"
FORMAT: Final = 2
"""1 had no words."""


class Manifest(Frozen):
    """What a snapshot was made from."""

    domain: str
    encoder: str
    encoder_fingerprint: str
    template_fingerprint: str
    items: int
    dims: int
    generation: int
    """The store's generation of the domain at the time."""
    format: int = 1
    """Of the folder: `FORMAT` when this version wrote it."""


def centred(vectors: Vectors, mean: Vectors) -> Vectors:
    """Subtract the domain's mean and scale to unit length.

    What all texts of one domain share (that they are books, say) says nothing about taste, yet dominates the cosine
    between domains; without it, items of two domains can be compared.
    """
    moved = vectors - mean
    norms = np.linalg.norm(moved, axis=1, keepdims=True)
    return np.asarray(moved / np.maximum(norms, 1e-12), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """One domain, ready to be searched. A snapshot equals itself alone.

    Attributes:
        vectors: centred unit vectors, shape (items, dims), memory-mapped.
        mean: mean of the raw vectors, shape (dims,).
        facts: one row an item, the columns of `_facts`.
        folder: where it lies.
    """

    manifest: Manifest
    vectors: Vectors
    mean: Vectors
    facts: pa.Table
    folder: Path

    @cached_property
    def words(self) -> Words:
        """BM25 over the items' texts; opened at its first use.

        Raises:
            IndexMissing: it cannot be read.
        """
        try:
            return open_words(self.folder / "words", self.manifest.items)
        except (OSError, ValueError, KeyError) as exc:
            # A run writes an older format anew by itself, but takes one of its own for whole.
            rebuild = " --rebuild" if self.manifest.format == FORMAT else ""
            hint = f"xdrec index {self.manifest.domain}{rebuild}"
            raise IndexMissing(f"the words of {self.manifest.domain!r} cannot be read: {exc}", hint=hint) from exc

    @cached_property
    def positions(self) -> Mapping[str, int]:
        """Item id → row."""
        return {item_id: row for row, item_id in enumerate(self.facts["id"].to_pylist())}

    def rows(self, ids: Iterable[str]) -> Positions:
        """Rows of those ids that are in the snapshot."""
        found = (self.positions[i] for i in ids if i in self.positions)
        return np.fromiter(found, dtype=np.int64)

    def ids(self, rows: Positions) -> list[str]:
        """Item ids of rows."""
        return [str(i) for i in self.facts["id"].take(rows).to_pylist()]

    @cached_property
    def works(self) -> NDArray[np.int64]:
        """For each row a number that all editions of one work share."""
        codes = self.facts["work"].combine_chunks().dictionary_encode().indices
        return np.asarray(codes.to_numpy(zero_copy_only=False), dtype=np.int64)

    @cached_property
    def series(self) -> Mapping[int, Positions]:
        """Row → rows of the whole series in reading order, for rows that belong to one and have a volume."""
        volumes = self.facts["volume"].to_numpy()
        members: dict[str, list[int]] = {}
        for row, name in enumerate(self.facts["series"].to_pylist()):
            if name and not np.isnan(volumes[row]):
                members.setdefault(name, []).append(row)
        ordered = (np.array(sorted(rows, key=lambda r: volumes[r]), dtype=np.int64) for rows in members.values())
        return {int(row): rows for rows in ordered for row in rows}


def write_snapshot(
    folder: Path, manifest: Manifest, items: Iterator[Item], vectors: Vectors, text: Callable[[Item], str]
) -> None:
    """Write a snapshot and make it the current one.

    Args:
        folder: the domain's index folder.
        items: in the order of `vectors`, which are raw unit vectors of shape (items, dims).
        text: what an item's words are found by.
    """
    import pyarrow as pa

    folder.mkdir(parents=True, exist_ok=True)
    name = f"snapshot-{uuid4().hex[:12]}"
    target = folder / name
    target.mkdir()
    try:
        mean = vectors.mean(axis=0) if len(vectors) else np.zeros(manifest.dims, dtype=np.float32)
        np.save(target / "vectors.npy", centred(vectors, mean))
        np.save(target / "mean.npy", mean)
        texts: list[str] = []
        table = _facts(_noting(items, text, texts))
        write_words(target / "words", texts)
        with (
            pa.OSFile(str(target / "facts.arrow"), "wb") as sink,
            pa.ipc.new_file(sink, table.schema) as writer,
        ):
            writer.write_table(table)
        (target / "manifest.json").write_text(manifest.model_dump_json(indent=2), encoding="utf-8")
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise
    pointer = folder / f".{name}"
    pointer.write_text(name, encoding="utf-8")
    os.replace(pointer, folder / POINTER)
    for old in folder.glob("snapshot-*"):
        if old.name != name:
            shutil.rmtree(old, ignore_errors=True)  # whoever has it mapped keeps it until they close it


def open_snapshot(folder: Path, domain: str) -> Snapshot:
    """Open a domain's current snapshot.

    Raises:
        IndexMissing: there is none, or it cannot be read.
    """
    name = current_name(folder)
    if name is None:
        raise IndexMissing(f"domain {domain!r} has no index", hint=f"xdrec index {domain}")
    try:
        return _read(folder / name)
    except (OSError, EOFError, ValueError) as exc:
        if name != current_name(folder):  # a build replaced and deleted it meanwhile
            return open_snapshot(folder, domain)
        hint = f"xdrec index {domain}"
        raise IndexMissing(f"the index of {domain!r} cannot be read: {exc}", hint=hint) from exc


def _read(current: Path) -> Snapshot:
    import pyarrow as pa

    manifest = Manifest.model_validate_json((current / "manifest.json").read_bytes())
    vectors = np.load(current / "vectors.npy", mmap_mode="r")
    mean = np.load(current / "mean.npy")
    facts = pa.ipc.open_file(pa.memory_map(str(current / "facts.arrow"))).read_all()
    if vectors.shape != (manifest.items, manifest.dims) or len(facts) != manifest.items:
        msg = f"{manifest.items} items, {len(facts)} facts and vectors of shape {vectors.shape}"
        raise ValueError(msg)
    return Snapshot(manifest, vectors, mean, facts, current)


def current_name(folder: Path) -> str | None:
    """Name of the current snapshot, None if there is none: readers compare it to know when to reload."""
    try:
        return (folder / POINTER).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def _noting(items: Iterator[Item], text: Callable[[Item], str], texts: list[str]) -> Iterator[Item]:
    for item in items:
        texts.append(text(item))
        yield item


def _facts(items: Iterator[Item]) -> pa.Table:
    """What filters and rules ask of an item, texts folded to lower case."""
    import pyarrow as pa

    texts = pa.list_(pa.string())
    schema = pa.schema(
        {
            "id": pa.string(),
            "work": pa.string(),
            "series": pa.string(),
            "volume": pa.float64(),
            "year": pa.int64(),
            "language": pa.string(),
            "categories": texts,
            "creators": texts,
            "attributes": texts,
            "available": pa.bool_(),
        }
    )
    rows = [
        {
            "id": item.id,
            "work": item.edition_of or item.id,
            "series": item.series,
            "volume": item.volume,
            "year": item.year,
            "language": item.language.casefold() if item.language else None,
            "categories": [c.casefold() for c in item.categories],
            "creators": [c.casefold() for c in item.creators],
            "attributes": [attribute_key(k, v) for k, v in _tags(item)],
            "available": item.available,
        }
        for item in items
    ]
    return pa.Table.from_pylist(rows, schema=schema)


def _tags(item: Item) -> Iterator[tuple[str, object]]:
    for name, value in item.attributes.items():
        if isinstance(value, tuple):
            yield from ((name, v) for v in value)
        else:
            yield name, value


def attribute_key(name: str, value: object) -> str:
    """How an attribute's value is written in the facts and compared by filters."""
    return f"{name}={value}".casefold()
