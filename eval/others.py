"""Retrievers that never met whom they are asked about. Reads prepared data, produces one for each fold of users.

What the crowd says of a case comes from the users of all other folds, and never from the case's own user.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from eval.datasets import Dataset
from eval.protocol import FOLDS, Case, fold
from retrieval.crowd import Crowd
from retrieval.fusion import FusionFit
from retrieval.retriever import Retriever
from retrieval.settings import RetrieverSettings


class Others:
    """For the users of each fold what everybody else did."""

    def __init__(self, data: Dataset) -> None:
        self._data = data

    @cached_property
    def _crowds(self) -> list[Crowd]:
        everybody = self._data.index.behaviour()
        own: list[list[str]] = [[] for _ in range(FOLDS)]
        for user in everybody.people:
            own[fold(user, FOLDS)].append(user)
        return [Crowd(everybody.without(mine)) for mine in own]

    def touched(self, case: Case) -> NDArray[np.int64]:
        """How many of them touched each row of the case's target."""
        return self._crowd(case).likes(self._data.index.snapshot(case.target)).touched

    def retriever(self, case: Case, settings: RetrieverSettings, fusion: FusionFit | None = None) -> Retriever:
        """The retriever for a case's user."""
        return Retriever(self._data.store, self._data.index, settings, self._crowd(case), fusion)

    def _crowd(self, case: Case) -> Crowd:
        return self._crowds[fold(case.user, FOLDS)]
