"""Hard negatives. Reads vectors of all items, produces for each example the items that look like what a person liked.

They are mined once, by the encoder before training. The very nearest are left out: an item that nobody asked the person
about may well be one that they would like (false negatives, Xiong et al. 2021 mine again and again and keep them).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from retrieval.adapt.taste import Rows

LEFT_OUT: Final = 10
"""Nearest items that are no negatives."""
KEPT: Final = 50
"""Items after them that negatives are drawn from."""
_PART: Final = 256
"""Examples looked at together."""


def hard_negatives(
    vectors: NDArray[np.float32], histories: Sequence[Rows], targets: Sequence[Rows], liked: Sequence[Rows]
) -> list[Rows]:
    """For each example up to `KEPT` rows of its target domain, nearest first, of which the person liked none.

    Args:
        vectors: of all items, each domain's mean taken off, unit length, shape (items, dims).
        histories: rows that speak for the person, of each example.
        targets: all rows of the domain that is looked in, of each example.
        liked: all rows that the person liked, of each example.
    """
    found: list[Rows] = []
    for start in range(0, len(histories), _PART):
        part = range(start, min(start + _PART, len(histories)))
        asked = np.stack([vectors[histories[at]].mean(axis=0) for at in part])
        close = {
            id(rows): (rows, asked @ vectors[rows].T) for rows in {id(targets[at]): targets[at] for at in part}.values()
        }
        for place, at in enumerate(part):
            rows, cosines = close[id(targets[at])]
            most = min(len(rows), LEFT_OUT + KEPT + len(liked[at]))
            best = np.argpartition(-cosines[place], most - 1)[:most]
            near = rows[best[np.argsort(-cosines[place][best], kind="stable")]]
            found.append(near[~np.isin(near, liked[at])][LEFT_OUT : LEFT_OUT + KEPT])
    return found
