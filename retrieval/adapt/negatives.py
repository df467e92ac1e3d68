"""Negatives. Reads vectors or counts of items, produces hard negatives, and items that are as popular as another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from retrieval.adapt.preferences import Rows

Counts = NDArray[np.int64]
"""For each item of a catalogue how many users touched it."""

SKIPPED_NEAREST: Final = 10
"""Nearest items that are no hard negatives."""
KEPT_NEAREST: Final = 50
"""Items after them that hard negatives are drawn from."""
_CHUNK: Final = 256
"""Examples computed together."""


def nearest_counts(counts: Counts, count: int, rng: np.random.Generator) -> Iterator[int]:
    """Places of all items, those whose count is nearest to `count` first, equally near ones in random order."""
    # A fraction below one puts equal distances in random order and leaves the others as they are.
    return iter(np.argsort(np.abs(counts - count) + rng.random(len(counts))).tolist())


def hard_negatives(
    vectors: NDArray[np.float32],
    catalogues: Sequence[Rows],
    histories: Sequence[Rows],
    targets: Sequence[int],
    liked: Sequence[Rows],
) -> list[Rows]:
    """For each example up to `KEPT_NEAREST` rows of its target domain, nearest first, none of them liked.

    The very nearest are left out: some of them are items that the user would like (false negatives).

    Args:
        vectors: of all items, centered by domain, unit length, shape (items, dims).
        catalogues: all rows of each domain.
        histories: of each example the rows of its history.
        targets: of each example the number of its target domain.
        liked: of each example all rows that the user liked.
    """
    negatives: list[Rows] = [np.empty(0, dtype=np.int64)] * len(histories)
    for domain, rows in enumerate(catalogues):
        examples = np.flatnonzero(np.asarray(targets) == domain)
        for chunk in (examples[start : start + _CHUNK] for start in range(0, len(examples), _CHUNK)):
            profiles = np.stack([vectors[histories[example]].mean(axis=0) for example in chunk])
            for example, cosines in zip(chunk, profiles @ vectors[rows].T, strict=True):
                negatives[example] = _nearest(rows, cosines, liked[example])
    return negatives


def _nearest(rows: Rows, cosines: NDArray[np.float32], liked: Rows) -> Rows:
    most = min(len(rows), SKIPPED_NEAREST + KEPT_NEAREST + len(liked))
    best = np.argpartition(-cosines, most - 1)[:most]
    nearest = rows[best[np.argsort(-cosines[best], kind="stable")]]
    return nearest[~np.isin(nearest, liked)][SKIPPED_NEAREST : SKIPPED_NEAREST + KEPT_NEAREST]
