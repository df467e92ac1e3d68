"""Reranking tasks. Reads prepared data, produces for each of many users one truth among 19 other candidates.

Count-matched candidates were touched by as many training users as the truth (or as near as the catalogue allows), so
that neither popularity nor novelty gives the truth away and chance is chance. Everything about a user's task follows
from the user and the seed, so that any subset of users gets the same tasks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval.data.history_ablation import ShownHistory, ablation
from eval.data.leakage import guard, guard_training, guarded_cases
from eval.data.out_of_fold import OutOfFold
from eval.data.protocols import COLD_TARGET, FOLDS, Case, Split, cases, fold, histories, training_popularity
from eval.data.slices import slices_of
from eval.data.sources import Dataset
from retrieval.adapt import nearest_counts
from retrieval.ranking import Retriever
from retrieval.settings import RetrieverSettings
from retrieval.types import Candidate, History, Query, Ranking

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
    data: Dataset,
    users: int,
    seed: int = 0,
    leave_out: Collection[int] = (),
    kind: CandidateKind = "count-matched",
    split: Split = COLD_TARGET,
    shown: ShownHistory = "own",
    people: Sequence[History] | None = None,
) -> list[RerankTask]:
    """One task a user, for the first `users` users by hash of those who have a case and are in no fold left out.

    Args:
        kind: where the other 19 candidates come from: of the truth's training count, or from the retriever's first 100.
        shown: the history that is shown (`eval.data.history_ablation`); the candidates are those of the user's own.
        people: everybody's histories where they were read before, as `in_hash_order` sorts them.

    Raises:
        DataError: a case leaks.
        UsageError: there is no other user whose history could be shown.
    """
    people = in_hash_order(histories(data.store), seed) if people is None else people
    training = [split.learnable(person) for person in people]
    guard_training(training, split)
    others = OutOfFold(data, None if split.moment is None else training)
    draw = count_matched if kind == "count-matched" else retrieved(lambda case: others.retriever(case, _SETTINGS))
    popularity = training_popularity(training, FOLDS)
    ablate = ablation(shown, (case for person in people for case in cases(person, data.domains, split)), seed)
    catalogues = {domain: list(data.index.snapshot(domain).positions) for domain in data.domains}
    made: list[RerankTask] = []
    for person in data.without_training_users(people):
        user_fold = fold(person.user or "", FOLDS)
        found = list(guarded_cases(person, data.domains, split)) if user_fold not in leave_out else []
        if not found:
            continue
        rng = np.random.default_rng(_hash(person.user or "", seed))
        case = found[int(rng.integers(len(found)))]
        known = frozenset(e.item.id for e in person.entries if e.item.domain == case.target)
        counts = popularity[user_fold][case.target]
        drawn = draw(case, known, counts, catalogues[case.target], rng)
        asked = ablate(case)
        guard(asked)
        made.append(_task(data, others.retriever(asked, _SETTINGS), case, drawn, asked, counts))
        if len(made) == users:
            break
    return made


class DrawnCandidates(NamedTuple):
    """Candidate ids in random order, one of them the truth."""

    truth: str
    ids: tuple[str, ...]


Draw = Callable[[Case, frozenset[str], Mapping[str, int], Sequence[str], np.random.Generator], DrawnCandidates]


def count_matched(
    case: Case, known: frozenset[str], counts: Mapping[str, int], ids: Sequence[str], rng: np.random.Generator
) -> DrawnCandidates:
    """Draw one truth item and 19 others of the nearest training count.

    Args:
        known: every target item that the user ever touched; never drawn as a negative.
        counts: training users by target item id; missing is 0.
        ids: the whole target catalogue.
    """
    truth = str(rng.choice(case.truth))
    order = nearest_counts(np.array([counts.get(i, 0) for i in ids], dtype=np.int64), counts.get(truth, 0), rng)
    negatives = (ids[i] for i in order if ids[i] != truth and ids[i] not in known)
    return _shuffled(truth, [next(negatives) for _ in range(19)], rng)


def retrieved(retriever: Callable[[Case], Retriever]) -> Draw:
    """Draws the others from the first `POOL` of the case's retriever: what a reranker meets in use.

    The retriever's own order is at a disadvantage by construction, since the truth is usually below its first `POOL`:
    this compares rerankers with each other only.
    """

    def draw(
        case: Case, known: frozenset[str], counts: Mapping[str, int], ids: Sequence[str], rng: np.random.Generator
    ) -> DrawnCandidates:
        truth = str(rng.choice(case.truth))
        pool = retriever(case).rank(Query(history=case.history, target=case.target, k=POOL)).ids
        negatives = [i for i in pool if i != truth and i not in known]
        return _shuffled(truth, rng.choice(negatives, size=min(19, len(negatives)), replace=False).tolist(), rng)

    return draw


def _shuffled(truth: str, negatives: Sequence[str], rng: np.random.Generator) -> DrawnCandidates:
    return DrawnCandidates(truth, tuple(rng.permutation([truth, *negatives]).tolist()))


def in_hash_order(people: Iterable[History], seed: int) -> list[History]:
    """The people in an order that has nothing to do with them; the first n are a random sample."""
    return sorted(people, key=lambda person: _hash(person.user or "", seed))


def _task(
    data: Dataset, retriever: Retriever, case: Case, drawn: DrawnCandidates, asked: Case, counts: Mapping[str, int]
) -> RerankTask:
    query = Query(history=asked.history, target=asked.target)
    if query.history.entries:
        rows = data.index.snapshot(asked.target).rows(drawn.ids)
        scores = retriever.scores(query)[1][rows].astype(np.float64)
    else:  # without a history, popularity is all there is to order by
        scores = np.array([counts.get(i, 0) for i in drawn.ids], dtype=np.float64)
    items = data.store.items(asked.target, drawn.ids)
    order = np.argsort(-scores, kind="stable")
    ids = [drawn.ids[i] for i in order]
    candidates = tuple(Candidate(item=items[i], score=float(s)) for i, s in zip(ids, scores[order], strict=True))
    return RerankTask(
        case=case,
        query=query,
        ranking=Ranking(candidates=candidates, source="retrieval"),
        truth=ids.index(drawn.truth),
        counts=np.array([counts.get(i, 0) for i in ids], dtype=np.int64),
        slices=slices_of(case, [items[drawn.truth]], counts.get(drawn.truth, 0)),
    )


def _hash(user: str, seed: int) -> int:
    return int.from_bytes(hashlib.sha256(f"choice {seed} {user}".encode()).digest()[:8])
