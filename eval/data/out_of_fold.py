"""Retrievers that never met whom they are asked about. Reads prepared data, produces one for each fold of users.

What the crowd says of a case comes from the users of all other folds, and never from the case's own user, which is
looked at for every case (`eval.data.leakage`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from eval.data.leakage import guard_strangers
from eval.data.protocols import FOLDS, Case, fold
from eval.data.sources import Dataset
from retrieval.index import Behaviour, Index
from retrieval.ranking import Crowd, FusionFit, Retriever
from retrieval.settings import RetrieverSettings
from retrieval.types import History


class Others:
    """For the users of each fold what everybody else did.

    Args:
        people: everybody's histories, as far as they may be learnt from (`Split.learnable`); None: all that the index
            knows.
        index_of: the index that a case is answered from, with rows as `data.index` has them; None: `data.index`.
    """

    def __init__(
        self,
        data: Dataset,
        people: Iterable[History] | None = None,
        index_of: Callable[[Case], Index] | None = None,
    ) -> None:
        self._data = data
        self._people = people
        self._index_of = index_of

    @cached_property
    def _crowds(self) -> list[Crowd]:
        everybody = self._data.index.behaviour() if self._people is None else _behaviour(self._people)
        own: list[list[str]] = [[] for _ in range(FOLDS)]
        for user in everybody.people:
            own[fold(user, FOLDS)].append(user)
        return [Crowd(everybody.without(mine)) for mine in own]

    def touched(self, case: Case) -> NDArray[np.int64]:
        """How many of them touched each row of the case's target. Raises DataError if one is the case's user."""
        return self._crowd(case).likes(self._index(case).snapshot(case.target)).touched

    def retriever(self, case: Case, settings: RetrieverSettings, fusion: FusionFit | None = None) -> Retriever:
        """The retriever for a case's user, with the data's weights if none are given. Raises DataError if the crowd
        holds them."""
        return Retriever(self._data.store, self._index(case), settings, self._crowd(case), fusion or self._data.fusion)

    def _index(self, case: Case) -> Index:
        return self._data.index if self._index_of is None else self._index_of(case)

    def _crowd(self, case: Case) -> Crowd:
        crowd = self._crowds[fold(case.user, FOLDS)]
        guard_strangers(case, crowd.behaviour.people)
        return crowd


def _behaviour(people: Iterable[History]) -> Behaviour:
    return Behaviour.of(
        (p.user or "", e.item.domain, e.item.id, e.preference, e.timestamp) for p in people for e in p.entries
    )
