"""Snapshots: a domain's vectors, metadata and BM25 as memory-mapped files, derived from store and Chroma.

Reads items and their vectors, produces a folder that opens in milliseconds and never changes; a new build writes a new
folder and then moves the pointer `CURRENT` to it, so readers see the old one or the new one, never a mixture.
"""

from __future__ import annotations

import json
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
from retrieval.index.arrow_columns import column_codes, column_values
from retrieval.index.bm25 import BM25Index, open_bm25, write_bm25
from retrieval.index.metadata import open_metadata, write_metadata
from retrieval.index.quantization import QuantizedVectors, open_quantized, write_quantized
from retrieval.types import Frozen, Item

if TYPE_CHECKING:
    import pyarrow as pa

Positions = NDArray[np.int64]
"""Row numbers of a snapshot."""

ItemScores = NDArray[np.float32]
"""A number for each row of a snapshot, or for some rows; shape (rows,)."""

POINTER: Final = "CURRENT"
MANIFEST: Final = "manifest.json"
VECTORS: Final = "vectors.npy"
MEAN: Final = "mean.npy"
METADATA: Final = "metadata.arrow"
BM25: Final = "bm25"
QUANTIZED: Final = "quantized.faiss"
INCREMENTAL: Final = "incremental"
"""Metadata and BM25 of items that were added after the last run."""
FORMAT: Final = 3
"""Of the folder. 1 had no BM25, 2 other file names."""
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
    format: int = FORMAT
    """`FORMAT` of the version that wrote the folder."""
    added: int = 0
    """How many of the items, the last ones, came after the last run of the index (`retrieval.index.incremental`)."""
    quantized: bool = False
    """Whether there are codes: too many items for all of them to be scored."""


def centred(vectors: Vectors, mean: Vectors) -> Vectors:
    """Subtract the domain's mean and scale to unit length.

    What all texts of one domain share (that they are books, say) says nothing about preferences, yet dominates the
    cosine between domains; without it, items of two domains can be compared.
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
        metadata: one row an item, the columns of `retrieval.index.metadata`.
        folder: where it lies.
        quantized: codes of the vectors, without incremental ones; None in a catalogue that is scored whole.
    """

    manifest: Manifest
    vectors: Vectors
    mean: Vectors
    metadata: pa.Table
    folder: Path
    quantized: QuantizedVectors | None = None

    @cached_property
    def bm25(self) -> BM25Index:
        """BM25 over the items' texts; opened at its first use.

        Raises:
            IndexMissing: it cannot be read.
        """
        domain, added = self.manifest.domain, self.manifest.added
        try:
            base = open_bm25(self.folder / BM25, self.manifest.items - added)
            return replace(base, incremental=open_bm25(self.folder / INCREMENTAL / BM25, added)) if added else base
        except (OSError, ValueError, KeyError) as exc:
            hint = f"xdrec index {domain} --rebuild"
            raise IndexMissing(f"the BM25 index of {domain!r} cannot be read: {exc}", hint=hint) from exc

    @cached_property
    def positions(self) -> Mapping[str, int]:
        """Item id → row."""
        return {item_id: row for row, item_id in enumerate(self.metadata["id"].to_pylist())}

    def rows(self, ids: Iterable[str]) -> Positions:
        """Rows of those ids that are in the snapshot."""
        return np.fromiter((self.positions[i] for i in ids if i in self.positions), dtype=np.int64)

    def ids(self, rows: Positions) -> list[str]:
        """Item ids of rows."""
        return [self._ids[row] for row in rows.tolist()]

    @cached_property
    def _ids(self) -> tuple[str, ...]:
        return tuple(self.positions)

    @cached_property
    def available(self) -> NDArray[np.bool_]:
        """For each row whether the item can be recommended; read-only."""
        return column_values(self.metadata["available"], bool)

    @cached_property
    def works(self) -> NDArray[np.int64]:
        """For each row a number that all editions of one work share."""
        return column_codes(self.metadata["work"])[0].astype(np.int64)

    @cached_property
    def series(self) -> Mapping[int, Positions]:
        """Row → rows of the whole series in reading order, for rows that belong to one and have a volume."""
        volumes = column_values(self.metadata["volume"], np.float64, missing=np.nan)
        members: dict[str, list[int]] = {}
        for row, name in enumerate(self.metadata["series"].to_pylist()):
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
        text: the text of an item that BM25 indexes.
    """
    blocks = [slice(start, start + _BLOCK) for start in range(0, len(vectors), _BLOCK)]
    with new_snapshot(folder) as target:
        total = np.zeros(vectors.shape[1], dtype=np.float64)
        for block in blocks:
            total += vectors[block].sum(axis=0, dtype=np.float64)
        mean = np.asarray(total / max(len(vectors), 1), dtype=np.float32)
        # Filled on disk, block by block: all vectors together may be more than memory holds.
        rows = np.lib.format.open_memmap(target / VECTORS, mode="w+", dtype=np.float32, shape=vectors.shape)  # type: ignore[no-untyped-call] # of numpy
        for block in blocks:
            rows[block] = centred(vectors[block], mean)
        rows.flush()
        np.save(target / MEAN, mean)
        if manifest.quantized:
            write_quantized(target / QUANTIZED, rows)
        write_bm25(target / BM25, write_metadata(target / METADATA, items, text))
        (target / MANIFEST).write_text(manifest.model_dump_json(indent=2), encoding="utf-8")


@contextmanager
def new_snapshot(folder: Path, keep: str = "") -> Iterator[Path]:
    """A folder to write a snapshot into, which becomes the domain's current one at the end.

    Args:
        keep: name of an older snapshot that stays: readers that have just opened it still open its parts.
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
        if old.name not in {name, keep}:
            shutil.rmtree(old, ignore_errors=True)  # readers that have it mapped keep it until they close it


def open_snapshot(folder: Path, domain: str) -> Snapshot:
    """Open a domain's current snapshot.

    Raises:
        IndexMissing: there is none, it cannot be read, or an earlier version wrote it.
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


def _read(folder: Path) -> Snapshot:
    made_from = json.loads((folder / MANIFEST).read_bytes())
    if made_from.get("format") != FORMAT:
        raise ValueError("another version wrote it")
    manifest = Manifest.model_validate(made_from)
    vectors = np.load(folder / VECTORS, mmap_mode="r")
    mean = np.load(folder / MEAN)
    metadata = open_metadata(folder / METADATA)
    if manifest.added:
        import pyarrow as pa

        # The file's header goes on giving the rows of the last run: readers of older snapshots see those alone.
        shape = (manifest.items, vectors.shape[1])
        vectors = np.memmap(folder / VECTORS, vectors.dtype, "r", offset=vectors.offset, shape=shape)
        metadata = pa.concat_tables([metadata, open_metadata(folder / INCREMENTAL / METADATA)])
    if vectors.shape != (manifest.items, manifest.dims) or len(metadata) != manifest.items:
        msg = f"{manifest.items} items, {len(metadata)} rows of metadata and vectors of shape {vectors.shape}"
        raise ValueError(msg)
    quantized = open_quantized(folder / QUANTIZED, manifest.items - manifest.added) if manifest.quantized else None
    return Snapshot(manifest, vectors, mean, metadata, folder, quantized)


def current_name(folder: Path) -> str | None:
    """Name of the current snapshot, None if there is none: readers compare it to know when to reload."""
    try:
        return (folder / POINTER).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
