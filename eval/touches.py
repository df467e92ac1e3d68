"""Training counts by row. Reads people and prepared data, produces how many training users touched each row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from eval.datasets import Dataset
from eval.protocol import FOLDS, Case, fold, training_popularity
from retrieval.types import History


class Touches:
    """For the users of each fold the counts among all others, in the order of the target's snapshot."""

    def __init__(self, data: Dataset, people: Iterable[History]) -> None:
        positions = {domain: data.index.snapshot(domain).positions for domain in data.domains}
        self._by_fold = [
            {
                domain: np.array([counts.get(domain, Counter())[i] for i in rows], dtype=np.int64)
                for domain, rows in positions.items()
            }
            for counts in training_popularity(people, FOLDS)
        ]

    def of(self, case: Case) -> NDArray[np.int64]:
        """Training users of each row of the case's target."""
        return self._by_fold[fold(case.user, FOLDS)][case.target]
