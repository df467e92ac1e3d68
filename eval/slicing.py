"""Slices. Reads a case and training counts, produces the parts that its result is looked at in."""

from __future__ import annotations

from typing import Final

from eval.protocol import Case

RARE: Final = 2
"""At most so many training users make an item rare."""


def slices_of(case: Case, touched: int) -> dict[str, str]:
    """By slicing the part that the case is in.

    Args:
        touched: training users of the truth, or of the first of several.
    """
    liked = len(case.history.liked)
    languages = sorted({e.item.language for e in case.history.liked if e.item.language})
    found = {
        "direction": f"{case.source} to {case.target}",
        "history": "3 to 5 liked" if liked <= 5 else "6 to 10 liked" if liked <= 10 else "over 10 liked",
        "truth": "unseen" if touched == 0 else "rare" if touched <= RARE else "popular",
    }
    return found | ({"language": " and ".join(languages)} if languages else {})
