"""The baselines that stand in every table. Reads a dataset and people's histories, produces scorers by name.

The three that do no more than count training users are here as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from eval.data import COLD_TARGET, Baseline, Dataset, Scorer, Split, fold, guarded_fit
from eval.systems.collaborative_baselines import EMCDR, ItemKNN, MatrixFactorisation
from eval.systems.text_baselines import BM25Text, MeanEmbedding
from retrieval.types import History


class Chance:
    """All candidates alike: metrics take ties as expectations, so this is exactly chance without a draw."""

    def __init__(self, data: Dataset) -> None:
        self._index = data.index

    def fit(self, training: Sequence[History], rng: np.random.Generator) -> Scorer:
        """Nothing is learnt."""
        return lambda case: np.zeros(len(self._index.snapshot(case.target).positions), dtype=np.float32)


class Popularity:
    """The number of training users who touched a candidate, liked or not."""

    def __init__(self, data: Dataset) -> None:
        self._positions = {domain: data.index.snapshot(domain).positions for domain in data.domains}

    def fit(self, training: Sequence[History], rng: np.random.Generator) -> Scorer:
        """Count."""
        touched = Counter((e.item.domain, e.item.id) for person in training for e in person.entries)
        counts = {
            domain: np.array([touched[domain, item] for item in positions], dtype=np.float32)
            for domain, positions in self._positions.items()
        }
        return lambda case: counts[case.target]


class UnseenFirst:
    """1 for what no training user touched, else 0: what is gained by it is a leak of the data, not a recommendation."""

    def __init__(self, data: Dataset) -> None:
        self._popularity = Popularity(data)

    def fit(self, training: Sequence[History], rng: np.random.Generator) -> Scorer:
        """Count."""
        popular = self._popularity.fit(training, rng)
        return lambda case: (popular(case) == 0).astype(np.float32)


BASELINES: Final[Mapping[str, Callable[[Dataset], Baseline]]] = {
    "random": Chance,
    "popularity": Popularity,
    "unseen-first": UnseenFirst,
    "mean-embedding": MeanEmbedding,
    "bm25": BM25Text,
    "item-knn": ItemKNN,
    "matrix-factorisation": MatrixFactorisation,
    "emcdr": EMCDR,
}


def cross_fitted(
    baseline: Baseline, people: Sequence[History], folds: int, rng: np.random.Generator, split: Split = COLD_TARGET
) -> Scorer:
    """A scorer that has learnt, for each case, from the people of all folds but that of the case's user.

    Args:
        people: everybody, with the histories that the split allows to learn from.
        folds: at least 2; see `retrieval.folds`.

    Raises:
        DataError: as the guards of `guarded_fit`; the scorer does, too.
    """
    own = [fold(person.user or "", folds) for person in people]
    scorers = [
        guarded_fit(baseline, [p for p, its in zip(people, own, strict=True) if its != left_out], stream, split)
        for left_out, stream in enumerate(rng.spawn(folds))
    ]
    return lambda case: scorers[fold(case.user, folds)](case)
