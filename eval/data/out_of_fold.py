"""Retrievers that never met whom they are asked about. Reads prepared data, produces one for each fold of users.

The collaborative signals of a case come from the users of all other folds, never from the case's own user, which is
looked at for every case (`eval.data.leakage`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from eval.data.leakage import guard_training_users
from eval.data.protocols import FOLDS, Case
from eval.data.sources import Dataset
from retrieval.folds import fold
from retrieval.index import Index, InteractionTable
from retrieval.ranking import CollaborativeSignals, FusionFit, Retriever
from retrieval.settings import RetrieverSettings
from retrieval.types import History


class OutOfFold:
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
    def _signals_by_fold(self) -> list[CollaborativeSignals]:
        everybody = self._data.index.interactions() if self._people is None else _interactions(self._people)
        own: list[list[str]] = [[] for _ in range(FOLDS)]
        for user in everybody.users:
            own[fold(user, FOLDS)].append(user)
        return [CollaborativeSignals(everybody.without(mine)) for mine in own]

    def touched(self, case: Case) -> NDArray[np.int64]:
        """How many of them touched each row of the case's target. Raises DataError if one is the case's user."""
        return self._signals(case).in_domain(self._index(case).snapshot(case.target)).user_counts

    def retriever(self, case: Case, settings: RetrieverSettings, fusion: FusionFit | None = None) -> Retriever:
        """The retriever for a case's user, with the data's weights if none are given.

        Raises:
            DataError: the interactions hold the user's own.
        """
        return Retriever(
            self._data.store, self._index(case), settings, self._signals(case), fusion or self._data.fusion
        )

    def _index(self, case: Case) -> Index:
        return self._data.index if self._index_of is None else self._index_of(case)

    def _signals(self, case: Case) -> CollaborativeSignals:
        signals = self._signals_by_fold[fold(case.user, FOLDS)]
        guard_training_users(case, signals.interactions.users)
        return signals


def _interactions(people: Iterable[History]) -> InteractionTable:
    return InteractionTable.of(
        (p.user or "", e.item.domain, e.item.id, e.preference, e.timestamp) for p in people for e in p.entries
    )
