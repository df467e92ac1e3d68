"""What a baseline is. Reads nothing, produces the types that all baselines share.

A baseline is made once from a dataset and fitted on the whole histories of training users. Its scorer then looks at a
case's history, source and target, never at its truth, and gives every row of the target's snapshot a score. What it is
fitted on never holds the case's own user: see `eval.systems.baselines.cross_fitted`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from eval.data.protocols import Case
from retrieval.types import History

Scores = NDArray[np.float32]
"""One finite score for each row of the target's snapshot, shape (items,). Higher is better, equal scores are ties."""

Scorer = Callable[[Case], Scores]


class Baseline(Protocol):
    """A recommender that others must beat."""

    def fit(self, training: Sequence[History], rng: np.random.Generator) -> Scorer:
        """Learn from the whole histories of `training`; the same histories and seed give the same scores.

        Raises:
            SetupError: a package is not installed.
        """
        ...
