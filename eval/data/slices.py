"""Slices. Reads a case, its truth and training counts, produces the parts that its result is looked at in.

They come from the user's own history, whatever an ablation shows instead, so that arms are sliced alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from eval.data.languages import language_of
from eval.data.protocols import Case
from retrieval.types import Item

RARE: Final = 2
"""At most so many training users make an item rare."""


def slices_of(case: Case, truth: Sequence[Item], touched: int) -> dict[str, str]:
    """By slicing the part that the case is in.

    "truth" is "unseen" where the whole truth is cold (no training user touched any of it), "rare" where none of it was
    touched by more than `RARE`, else "popular".

    Args:
        truth: the items looked for.
        touched: training users of the one of them that most touched.
    """
    liked = len(case.history.liked)
    return {
        "direction": f"{case.source} to {case.target}",
        "history": "3 to 5 liked" if liked <= 5 else "6 to 10 liked" if liked <= 10 else "over 10 liked",
        "truth": "unseen" if touched == 0 else "rare" if touched <= RARE else "popular",
        "language": language_of([entry.item for entry in case.history.liked]),
        "truth language": language_of(truth),
    }
