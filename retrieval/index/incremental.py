"""Additions: new items join a snapshot without it being written anew. Reads new items, produces the next snapshot.

What is large is shared with the snapshot before by hard links. Vectors of new items are written behind the rows that
its file says it has, where readers of older snapshots do not look; facts and words of all that was added since the last
run of the index lie in files of their own. So an addition costs what the added items cost, not what the catalogue does.
They are centred by the domain's mean, and their words weighed by the rarity, that the last run found.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import numpy as np

from retrieval.encoder import Vectors
from retrieval.index.bm25 import open_words, write_added_words
from retrieval.index.metadata import write_facts
from retrieval.index.snapshot import (
    ADDED,
    CODES,
    FACTS,
    MANIFEST,
    MEAN,
    VECTORS,
    WORDS,
    Snapshot,
    centred,
    new_snapshot,
)
from retrieval.types import Item

_SHARED: Final = (VECTORS, MEAN, FACTS)


def add_to_snapshot(
    folder: Path, snapshot: Snapshot, items: Iterator[Item], vectors: Vectors, text: Callable[[Item], str]
) -> None:
    """Make a snapshot of the same items and new ones, and make it the current one. Callers hold the writer's lock.

    Args:
        folder: the domain's index folder.
        snapshot: the current one.
        items: all that was added since the last run of the index, in the order of the rows; the new ones come last.
        vectors: raw unit vectors of the new ones, shape (new items, dims).
        text: what an item's words are found by.
    """
    made = snapshot.manifest
    added = made.added + len(vectors)
    with new_snapshot(folder, snapshot.folder.name) as target:  # kept, it costs nothing: its files are shared
        _share(snapshot.folder, target)
        _append(target / VECTORS, made.items, centred(vectors, snapshot.mean))
        (target / ADDED).mkdir()
        texts = list(write_facts(target / ADDED / FACTS, items, text))
        write_added_words(target / ADDED / WORDS, texts, open_words(target / WORDS, made.items - made.added))
        manifest = made.model_copy(update={"items": made.items + len(vectors), "added": added})
        (target / MANIFEST).write_text(manifest.model_dump_json(indent=2), encoding="utf-8")


def _share(old: Path, new: Path) -> None:
    (new / WORDS).mkdir()
    codes = [old / CODES] if (old / CODES).exists() else []
    for path in (*(old / name for name in _SHARED), *codes, *(old / WORDS).iterdir()):
        link = new / path.relative_to(old)
        try:
            os.link(path, link)
        except OSError:  # a file system without hard links
            shutil.copy2(path, link)


def _append(path: Path, rows: int, vectors: Vectors) -> None:
    """Write vectors behind the first `rows` of a file, over what a run that was killed may have left there."""
    known = np.load(path, mmap_mode="r")
    with path.open("r+b") as file:
        file.seek(known.offset + rows * known.dtype.itemsize * known.shape[1])
        file.write(np.ascontiguousarray(vectors, dtype=known.dtype).tobytes())
