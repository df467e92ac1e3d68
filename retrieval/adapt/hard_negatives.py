"""Hard negatives. Reads vectors of all items, produces for each example the items that look like what a person liked.

They are mined once, by the encoder before training. The very nearest are left out: an item that nobody asked the person
about may well be one that they would like (false negatives, Xiong et al. 2021 mine again and again and keep them).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from retrieval.adapt.preferences import Rows

LEFT_OUT: Final = 10
"""Nearest items that are no negatives."""
KEPT: Final = 50
"""Items after them that negatives are drawn from."""
_PART: Final = 256
"""Examples looked at together."""


def hard_negatives(
    vectors: NDArray[np.float32],
    catalogues: Sequence[Rows],
    histories: Sequence[Rows],
    targets: Sequence[int],
    liked: Sequence[Rows],
) -> list[Rows]:
    """For each example up to `KEPT` rows of its target domain, nearest first, of which the person liked none.

    Args:
        vectors: of all items, each domain's mean taken off, unit length, shape (items, dims).
        catalogues: all rows of each domain.
        histories: rows that speak for the person, of each example.
        targets: number of the domain that is looked in, of each example.
        liked: all rows that the person liked, of each example.
    """
    found: list[Rows] = [np.empty(0, dtype=np.int64)] * len(histories)
    for number, rows in enumerate(catalogues):
        there = vectors[rows].T
        mine = np.flatnonzero(np.asarray(targets) == number)
        for part in (mine[start : start + _PART] for start in range(0, len(mine), _PART)):
            asked = np.stack([vectors[histories[at]].mean(axis=0) for at in part])
            for at, cosines in zip(part, asked @ there, strict=True):
                found[at] = _nearest(rows, cosines, liked[at])
    return found


def _nearest(rows: Rows, cosines: NDArray[np.float32], liked: Rows) -> Rows:
    most = min(len(rows), LEFT_OUT + KEPT + len(liked))
    best = np.argpartition(-cosines, most - 1)[:most]
    near = rows[best[np.argsort(-cosines[best], kind="stable")]]
    return near[~np.isin(near, liked)][LEFT_OUT : LEFT_OUT + KEPT]
