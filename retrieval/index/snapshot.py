"""The snapshot: a domain's vectors and filterable facts as memory-mapped files, derived from store and Chroma.

Reads items and their vectors, produces a folder that opens in milliseconds and never changes; a new build writes a new
folder and then moves the pointer `CURRENT` to it, so readers see the old one or the new one, never a mixture.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from retrieval.encoder import Vectors
from retrieval.errors import IndexMissing
from retrieval.files import write_atomic
from retrieval.index.bm25 import Words, open_words, write_words
from retrieval.index.memmap import new_array
from retrieval.index.metadata import open_facts, write_facts
from retrieval.index.quantization import Codes, open_codes, write_codes
from retrieval.types import Frozen, Item

if TYPE_CHECKING:
    import pyarrow as pa

Positions = NDArray[np.int64]
"""Row numbers of a snapshot."""

Scores = NDArray[np.float32]
"""A number for each row of a snapshot, shape (items,)."""

POINTER: Final = "CURRENT"
MANIFEST: Final = "manifest.json"
VECTORS: Final = "vectors.npy"
MEAN: Final = "mean.npy"
FACTS: Final = "facts.arrow"
WORDS: Final = "words"
CODES: Final = "codes.faiss"
ADDED: Final = "added"
"""What a snapshot's folder holds; in `ADDED` lie facts and words of what was added after the last run."""
FORMAT: Final = 2
"""1 had no words."""
_BLOCK: Final = 16_384
"""Vectors in memory at a time."""


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
    added: int = 0
    """How many of the items, the last ones, came after the last run of the index (`retrieval.index.incremental`)."""
    coded: bool = False
    """Whether there are codes: too many items for all of them to be scored."""


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
        facts: one row an item, the columns of `retrieval.index.metadata`.
        folder: where it lies.
        codes: short ones of the vectors, but of those added; None in a catalogue that is scored whole.
    """

    manifest: Manifest
    vectors: Vectors
    mean: Vectors
    facts: pa.Table
    folder: Path
    codes: Codes | None = None

    @cached_property
    def words(self) -> Words:
        """BM25 over the items' texts; opened at its first use.

        Raises:
            IndexMissing: it cannot be read.
        """
        made = self.manifest
        try:
            words = open_words(self.folder / WORDS, made.items - made.added)
            if not made.added:
                return words
            return replace(words, added=open_words(self.folder / ADDED / WORDS, made.added))
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
    def available(self) -> NDArray[np.bool_]:
        """For each row whether the item can be had; not to be written to."""
        import pyarrow.compute as pc

        return np.array(pc.fill_null(self.facts["available"], False), dtype=np.bool_)

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
    """Write a snapshot, a block of rows at a time, and make it the current one.

    Args:
        folder: the domain's index folder.
        items: in the order of `vectors`, which are raw unit vectors of shape (items, dims).
        text: what an item's words are found by.
    """
    with new_snapshot(folder) as target:
        mean = _mean(vectors)
        rows = new_array(target / VECTORS, np.dtype(np.float32), vectors.shape)
        for part in _parts(vectors):
            rows[part] = centred(vectors[part], mean)
        rows.flush()
        np.save(target / MEAN, mean)
        if manifest.coded:
            write_codes(target / CODES, rows)
        write_words(target / WORDS, write_facts(target / FACTS, items, text))
        (target / MANIFEST).write_text(manifest.model_dump_json(indent=2), encoding="utf-8")


def _mean(vectors: Vectors) -> Vectors:
    total = np.zeros(vectors.shape[1], dtype=np.float64)
    for part in _parts(vectors):
        total += vectors[part].sum(axis=0, dtype=np.float64)
    return np.asarray(total / max(len(vectors), 1), dtype=np.float32)


def _parts(vectors: Vectors) -> Iterator[slice]:
    return (slice(start, start + _BLOCK) for start in range(0, len(vectors), _BLOCK))


@contextmanager
def new_snapshot(folder: Path, before: str = "") -> Iterator[Path]:
    """A folder to write a snapshot into, which becomes the domain's current one at the end.

    Args:
        before: name of a snapshot that stays until the next one comes: who has just opened it opens parts of it yet.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = f"snapshot-{uuid4().hex[:12]}"
    target = folder / name
    target.mkdir()
    try:
        yield target
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise
    write_atomic(folder / POINTER, name)
    for old in folder.glob("snapshot-*"):
        if old.name not in {name, before}:
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
    manifest = Manifest.model_validate_json((current / MANIFEST).read_bytes())
    vectors = np.load(current / VECTORS, mmap_mode="r")
    mean = np.load(current / MEAN)
    facts = open_facts(current / FACTS)
    if manifest.added:
        import pyarrow as pa

        vectors = with_added(vectors, current / VECTORS, manifest.items)
        facts = pa.concat_tables([facts, open_facts(current / ADDED / FACTS)])
    if vectors.shape != (manifest.items, manifest.dims) or len(facts) != manifest.items:
        msg = f"{manifest.items} items, {len(facts)} facts and vectors of shape {vectors.shape}"
        raise ValueError(msg)
    codes = open_codes(current / CODES, manifest.items - manifest.added) if manifest.coded else None
    return Snapshot(manifest, vectors, mean, facts, current, codes)


def with_added(vectors: np.memmap, path: Path, rows: int) -> Vectors:
    """The same file with the rows that were added to its end, `rows` together.

    Raises:
        ValueError: it does not hold so many.
    """
    # The file's head goes on saying how many rows it was made with: readers of older snapshots see those alone.
    shape = (rows, vectors.shape[1])
    return np.memmap(path, vectors.dtype, "r", offset=vectors.offset, shape=shape)


def current_name(folder: Path) -> str | None:
    """Name of the current snapshot, None if there is none: readers compare it to know when to reload."""
    try:
        return (folder / POINTER).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
