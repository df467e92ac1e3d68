"""Given candidates to rerank. Reads a case and training counts, produces one truth among count-matched others.

The others were touched by as many training users as the truth (or as near as the catalogue allows), so that neither
popularity nor novelty gives the truth away and chance is chance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from eval.data.protocols import Case
from retrieval.adapt import nearest_counts
from retrieval.ranking import Retriever
from retrieval.types import Query

POOL: Final = 100
"""Places of the retriever's ranking that `retrieved` draws from."""


@dataclass(frozen=True)
class Choice:
    """A case to rerank: candidate ids in random order, one of them the truth."""

    case: Case
    truth: str
    candidates: tuple[str, ...]


def count_matched(
    case: Case,
    known: frozenset[str],
    counts: Mapping[str, int],
    ids: Sequence[str],
    rng: np.random.Generator,
    n: int = 19,
) -> Choice:
    """Draw one truth item and `n` others of the nearest training count.

    Args:
        known: every target item that the user ever touched; never drawn as a negative.
        counts: training users by target item id; missing is 0.
        ids: the whole target catalogue.
    """
    truth = str(rng.choice(case.truth))
    wanted = counts.get(truth, 0)
    order = nearest_counts(np.array([counts.get(i, 0) for i in ids], dtype=np.int64), wanted, rng)
    drawn = (ids[i] for i in order if ids[i] != truth and ids[i] not in known)
    others = [next(drawn) for _ in range(n)]
    return Choice(case, truth, tuple(rng.permutation([truth, *others]).tolist()))


Draw = Callable[[Case, frozenset[str], Mapping[str, int], Sequence[str], np.random.Generator], Choice]


def retrieved(retriever: Callable[[Case], Retriever]) -> Draw:
    """Draws the others from the first `POOL` of the case's retriever: what a reranker meets in use.

    The retriever's own order is at a disadvantage by construction, since the truth is usually below its first `POOL`:
    this compares rerankers with each other only.
    """

    def draw(
        case: Case, known: frozenset[str], counts: Mapping[str, int], ids: Sequence[str], rng: np.random.Generator
    ) -> Choice:
        truth = str(rng.choice(case.truth))
        pool = retriever(case).rank(Query(history=case.history, target=case.target, k=POOL)).ids
        open_to = [i for i in pool if i != truth and i not in known]
        others = rng.choice(open_to, size=min(19, len(open_to)), replace=False).tolist()
        return Choice(case, truth, tuple(rng.permutation([truth, *others]).tolist()))

    return draw
