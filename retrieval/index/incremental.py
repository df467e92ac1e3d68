"""Incremental indexing: new items join a snapshot, which is not rewritten. Reads new items, produces the next snapshot.

Large files are shared with the snapshot before by hard links. Vectors of new items are appended behind the rows that
the file's header gives, where readers of older snapshots do not look; metadata and BM25 of all items that were added
since the last run of the index lie in files of their own. So the cost is that of the new items, not of the catalogue.
They are centred by the domain's mean, and their tokens weighed by the frequencies, that the last run found.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from retrieval.encoder import Vectors
from retrieval.index.bm25 import open_bm25, write_incremental_bm25
from retrieval.index.metadata import write_metadata
from retrieval.index.snapshot import (
    BM25,
    INCREMENTAL,
    MANIFEST,
    MEAN,
    METADATA,
    QUANTIZED,
    VECTORS,
    Snapshot,
    centred,
    new_snapshot,
)
from retrieval.types import Item


def append_to_snapshot(
    folder: Path, snapshot: Snapshot, items: Iterator[Item], vectors: Vectors, text: Callable[[Item], str]
) -> None:
    """Make a snapshot of the same items and new ones, and make it the current one. Callers hold the writer's lock.

    Args:
        folder: the domain's index folder.
        snapshot: the current one.
        items: all that were added since the last run of the index, in the order of the rows; the new ones come last.
        vectors: raw unit vectors of the new ones, shape (new items, dims).
        text: the text of an item that BM25 indexes.
    """
    old = snapshot.manifest
    with new_snapshot(folder, keep=snapshot.folder.name) as target:  # keeping it is free: its files are shared
        _link_shared(snapshot.folder, target)
        _append(target / VECTORS, old.items, centred(vectors, snapshot.mean))
        (target / INCREMENTAL).mkdir()
        texts = list(write_metadata(target / INCREMENTAL / METADATA, items, text))
        write_incremental_bm25(target / INCREMENTAL / BM25, texts, open_bm25(target / BM25, old.items - old.added))
        counts = {"items": old.items + len(vectors), "added": old.added + len(vectors)}
        (target / MANIFEST).write_text(old.model_copy(update=counts).model_dump_json(indent=2), encoding="utf-8")


def _link_shared(old: Path, new: Path) -> None:
    (new / BM25).mkdir()
    names = [VECTORS, MEAN, METADATA, *([QUANTIZED] if (old / QUANTIZED).exists() else [])]
    for path in (*(old / name for name in names), *(old / BM25).iterdir()):
        link = new / path.relative_to(old)
        try:
            os.link(path, link)
        except OSError:  # a file system without hard links
            shutil.copy2(path, link)


def _append(path: Path, rows: int, vectors: Vectors) -> None:
    """Write vectors behind the first `rows` of a file, over what a killed run may have left there."""
    stored = np.load(path, mmap_mode="r")
    with path.open("r+b") as file:
        file.seek(stored.offset + rows * stored.dtype.itemsize * stored.shape[1])
        file.write(np.ascontiguousarray(vectors, dtype=stored.dtype).tobytes())
