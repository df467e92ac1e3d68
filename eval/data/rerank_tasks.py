"""Reranking tasks. Reads prepared data, produces for each of many users one truth among 19 other candidates.

Count-matched candidates were touched by as many training users as the truth (or as near as the catalogue allows), so
that neither popularity nor novelty gives the truth away and chance is chance. Everything about a user's task follows
from the user and the seed, so that any subset of users gets the same tasks.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from eval.data.history_ablation import ShownHistory
from eval.data.leakage import guard
from eval.data.plan import CasePlan
from eval.data.protocols import FOLDS, Case
from eval.data.slices import slices_of
from retrieval.adapt import nearest_counts
from retrieval.folds import fold, stable_hash
from retrieval.ranking import Retriever
from retrieval.settings import RetrieverSettings
from retrieval.types import Candidate, Query, Ranking

CHANCE_NDCG: Final = float(np.mean([1 / np.log2(place + 1) if place <= 10 else 0 for place in range(1, 21)]))
"""nDCG@10 of one relevant item among 20 in random order."""
POOL: Final = 100
"""Places of the retriever's ranking that "retrieved" candidates are drawn from."""
_SETTINGS: Final = RetrieverSettings()

CandidateKind = Literal["count-matched", "retrieved"]


@dataclass(frozen=True)
class RerankTask:
    """Candidates to rerank, one of which is the truth.

    Attributes:
        case: whose task it is, with the user's own history.
        query: what the recommender sees; its history is the case's, or what an ablation shows instead.
        ranking: the candidates with the retriever's scores, in its order.
        truth: position of the truth in `ranking`.
        counts: for each candidate the training users who touched it.
        slices: `eval.data.slices`.
    """

    case: Case
    query: Query
    ranking: Ranking
    truth: int
    counts: NDArray[np.int64]
    slices: dict[str, str] = field(default_factory=dict)

    @property
    def truth_id(self) -> str:
        """Item id of the truth."""
        return self.ranking.ids[self.truth]

    @property
    def unseen(self) -> NDArray[np.bool_]:
        """For each candidate whether no training user touched it."""
        return np.asarray(self.counts == 0)

    @property
    def retrieval(self) -> NDArray[np.float64]:
        """The retriever's scores."""
        return np.array([c.score for c in self.ranking.candidates])


def rerank_tasks(
    plan: CasePlan,
    users: int,
    kind: CandidateKind = "count-matched",
    shown: ShownHistory = "own",
    leave_out: Collection[int] = (),
) -> list[RerankTask]:
    """One task a user, for the first `users` users of the plan who are in no fold left out.

    Args:
        kind: where the other 19 candidates come from: of the truth's training count, or from the retriever's first 100.
        shown: the history that is shown (`eval.data.history_ablation`); the candidates are those of the user's own.

    Raises:
        DataError: a case leaks.
        UsageError: there is no other user whose history could be shown.
    """
    ablate = plan.ablation(shown)
    made: list[RerankTask] = []
    for person, own in plan.by_user():
        user = person.user or ""
        if fold(user, FOLDS) in leave_out:
            continue
        rng = np.random.default_rng(stable_hash(f"choice {plan.seed} {user}"))
        case = own[int(rng.integers(len(own)))]
        known = frozenset(e.item.id for e in person.entries if e.item.domain == case.target)
        touched = plan.others.touched(case)
        if kind == "count-matched":
            drawn = count_matched(case, known, plan.data.index.snapshot(case.target).positions, touched, rng)
        else:
            drawn = retrieved(case, known, plan.others.retriever(case, _SETTINGS), rng)
        made.append(_task(plan, case, ablate(case), touched, *drawn))
        if len(made) == users:
            break
    return made


def count_matched(
    case: Case,
    known: frozenset[str],
    positions: Mapping[str, int],
    touched: NDArray[np.int64],
    rng: np.random.Generator,
) -> tuple[str, list[str]]:
    """Draw one truth item and 19 others of the nearest training count; the truth's id, and all ids in random order.

    Args:
        known: every target item that the user ever touched; never drawn as a negative.
        positions: by item id the row in `touched`, in order; the whole target catalogue.
        touched: training users of each row.
    """
    truth, ids = str(rng.choice(case.truth)), list(positions)
    order = nearest_counts(touched, int(touched[positions[truth]]), rng)
    negatives = (ids[row] for row in order if ids[row] != truth and ids[row] not in known)
    return truth, rng.permutation([truth, *(next(negatives) for _ in range(19))]).tolist()


def retrieved(
    case: Case, known: frozenset[str], retriever: Retriever, rng: np.random.Generator
) -> tuple[str, list[str]]:
    """Draw the others from the retriever's first `POOL`: what a reranker meets in use. Else as `count_matched`.

    The retriever's own order is at a disadvantage by construction, since the truth is usually below its first `POOL`:
    this compares rerankers with each other only.
    """
    truth = str(rng.choice(case.truth))
    pool = retriever.rank(Query(history=case.history, target=case.target, k=POOL)).ids
    negatives = [i for i in pool if i != truth and i not in known]
    drawn = rng.choice(negatives, size=min(19, len(negatives)), replace=False).tolist()
    return truth, rng.permutation([truth, *drawn]).tolist()


def _task(
    plan: CasePlan, case: Case, asked: Case, touched: NDArray[np.int64], truth: str, drawn: list[str]
) -> RerankTask:
    guard(asked)
    data, query = plan.data, Query(history=asked.history, target=asked.target)
    rows = data.index.snapshot(asked.target).rows(drawn)
    if query.history.entries:
        scores = plan.others.retriever(asked, _SETTINGS).scores(query)[1][rows].astype(np.float64)
    else:  # without a history, popularity is all there is to order by
        scores = touched[rows].astype(np.float64)
    items = data.store.items(asked.target, drawn)
    order = np.argsort(-scores, kind="stable")
    candidates = tuple(Candidate(item=items[drawn[i]], score=float(scores[i])) for i in order)
    first = drawn.index(truth)
    return RerankTask(
        case=case,
        query=query,
        ranking=Ranking(candidates=candidates, source="retrieval"),
        truth=int(np.flatnonzero(order == first)[0]),
        counts=touched[rows][order],
        slices=slices_of(case, [items[truth]], int(touched[rows[first]])),
    )
