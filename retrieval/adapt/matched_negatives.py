"""Negatives as popular as the truth. Reads counts, produces items in order of how near their count is."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
"""For each item of a catalogue how many users touched it."""


def nearest_counts(counts: Counts, wanted: int, rng: np.random.Generator) -> Iterator[int]:
    """Places of all items, those whose count is nearest to `wanted` first, equally near ones in random order."""
    away = np.abs(counts - wanted)
    # A fraction below one puts equal distances in random order and leaves the others as they are.
    return iter(np.argsort(away + rng.random(len(counts))).tolist())
