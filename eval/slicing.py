"""Slices. Reads a case and training counts, produces the parts that its result is looked at in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from eval.protocol import Case

RARE: Final = 2
"""At most so many training users make an item rare."""


def slices_of(case: Case, truth: str, counts: Mapping[str, int]) -> dict[str, str]:
    """By slicing the part that the case is in.

    Args:
        truth: the item that counts, or the first of several.
        counts: training users by target item; missing is 0.
    """
    liked, touched = len(case.history.liked), counts.get(truth, 0)
    languages = sorted({e.item.language for e in case.history.liked if e.item.language})
    found = {
        "direction": f"{case.source} to {case.target}",
        "history": "3 to 5 liked" if liked <= 5 else "6 to 10 liked" if liked <= 10 else "over 10 liked",
        "truth": "unseen" if touched == 0 else "rare" if touched <= RARE else "popular",
    }
    return found | ({"language": " and ".join(languages)} if languages else {})
