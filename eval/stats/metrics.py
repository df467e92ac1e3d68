"""Ranking metrics as expectations over random tie-breaking. Reads scores, produces Recall@k, nDCG@k, hit rate, MRR,
coverage.

Where candidates share a score their order is chance, and what is reported is the mean over all orders: a scorer that
knows nothing (all scores equal) has exactly chance, without drawing anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import comb
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class TiedRanks:
    """Where the relevant items of one ranking stand.

    Attributes:
        above: for each relevant item the number of candidates that score higher.
        level: for each the number of candidates with the same score, itself included; at least 1.
    """

    above: NDArray[np.int64]
    level: NDArray[np.int64]


def tied_ranks(scores: NDArray[Any], relevant: NDArray[np.int64]) -> TiedRanks:
    """Places of the candidates `relevant` (positions in `scores`, at least one)."""
    own = scores[relevant][:, None]
    return TiedRanks(np.count_nonzero(scores > own, axis=1), np.count_nonzero(scores == own, axis=1))


def recall(at: TiedRanks, k: int) -> float:
    """Expected share of the relevant items among the first k, in [0, 1]."""
    return float(np.clip((k - at.above) / at.level, 0, 1).mean())


def hit(at: TiedRanks, k: int) -> float:
    """Chance that any relevant item is among the first k, in [0, 1]; 0 or 1 where nothing is tied."""
    above, tied, relevant = _first(at)
    drawn = min(max(k - above, 0), tied)  # of the tie in random order, without replacement
    return 1 - comb(tied - relevant, drawn) / comb(tied, drawn)


def reciprocal_rank(at: TiedRanks) -> float:
    """Expected reciprocal rank of the first relevant item, in (0, 1]."""
    above, tied, relevant = _first(at)
    # Of a tie in random order: chance that none of its first j, j = 0 …, is relevant.
    j = np.arange(tied - relevant)
    none_yet = np.concatenate([[1.0], np.cumprod((tied - relevant - j) / (tied - j)), [0.0]])
    return float((-np.diff(none_yet) / np.arange(above + 1, above + len(none_yet))).sum())


def _first(at: TiedRanks) -> tuple[int, int, int]:
    """Of the best relevant item: the candidates above it, those tied with it, and how many of these are relevant."""
    best = at.above == at.above.min()
    return int(at.above.min()), int(at.level[best][0]), int(best.sum())


def ndcg(at: TiedRanks, k: int) -> float:
    """Expected nDCG@k with binary relevance, in [0, 1] (Järvelin and Kekäläinen 2002, discount 1 / log2(1 + rank))."""
    gained = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(2, k + 2)))])
    first, behind = np.minimum(at.above, k), np.minimum(at.above + at.level, k)
    expected = (gained[behind] - gained[first]) / at.level
    return float(expected.sum() / gained[min(len(at.above), k)])


def coverage(lists: Iterable[tuple[str, Sequence[str]]], sizes: Mapping[str, int], k: int = 10) -> float | None:
    """Share of the catalogues asked about that stands in anybody's first k, in [0, 1].

    Catalogue coverage (Ge, Delgado-Battenfeld and Jannach 2010), the catalogues of several targets taken together. It
    belongs to a run, not to a user: it grows with the number of lists, so it is compared between runs over the same
    cases only, and has no interval, since resampled users repeat and so cover less than as many different ones do.

    Args:
        lists: target domain and item ids, best first, of each case.
        sizes: items in each domain's catalogue.

    Returns:
        None if there are no lists, or the size of a target's catalogue is not known.
    """
    shown: dict[str, set[str]] = {}
    for domain, ids in lists:
        shown.setdefault(domain, set()).update(ids[:k])
    if not shown or not shown.keys() <= sizes.keys():
        return None
    return sum(map(len, shown.values())) / sum(sizes[domain] for domain in shown)


METRICS: Final[Mapping[str, Callable[[TiedRanks], float]]] = {
    "recall@10": lambda at: recall(at, 10),
    "recall@50": lambda at: recall(at, 50),
    "recall@100": lambda at: recall(at, 100),
    "recall@500": lambda at: recall(at, 500),
    "ndcg@10": lambda at: ndcg(at, 10),
    "hit@10": lambda at: hit(at, 10),
    "mrr": reciprocal_rank,
}
"""What rankings of a whole catalogue are measured by."""


def tied_ranks_within(scores: NDArray[Any], relevant: NDArray[np.int64], kept: NDArray[np.bool_]) -> TiedRanks | None:
    """Places among the kept candidates alone; None if no relevant one is kept."""
    left = relevant[kept[relevant]]
    # Row numbers become positions among those kept.
    return tied_ranks(scores[kept], (np.cumsum(kept) - 1)[left]) if len(left) else None


def by_kind(touched: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    """Which candidates belong to the whole catalogue ("all"), to its *seen* and to its *unseen* items.

    Args:
        touched: training users of each candidate.
    """
    return {"all": np.ones(len(touched), dtype=bool), "seen": touched > 0, "unseen": touched == 0}


def reference_scores(touched: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    """Scores of candidates by rules that know nobody's taste, by name: what a system must be better than.

    "chance" ties all; "unseen first" puts those that no training user touched above the others, a shortcut where every
    item of a catalogue was liked by somebody.

    Args:
        touched: training users of each candidate.
    """
    return {"chance": np.zeros(len(touched), dtype=bool), "unseen first": touched == 0}
