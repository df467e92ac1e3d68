"""Candidates to rerank. Reads prepared data, produces for each of many users one truth among 19 count-matched others.

Everything about a user's choice follows from the user and the seed, so that any subset of users is asked the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from eval.data.history_ablation import Shown, ablation
from eval.data.leakage import guard, guard_training, guarded_cases
from eval.data.negatives import Choice, Draw, count_matched, retrieved
from eval.data.out_of_fold import Others
from eval.data.protocols import COLD_TARGET, FOLDS, Case, Split, cases, fold, histories, training_popularity
from eval.data.slices import slices_of
from eval.data.sources import Dataset
from retrieval.ranking import Retriever
from retrieval.settings import RetrieverSettings
from retrieval.types import Candidate, History, Query, Ranking

CHANCE_OF_20: Final = float(np.mean([1 / np.log2(place + 1) if place <= 10 else 0 for place in range(1, 21)]))
"""nDCG@10 of one relevant item among 20 in random order."""

SETTINGS: Final = RetrieverSettings()
Kind = Literal["count-matched", "retrieved"]


@dataclass(frozen=True)
class Task:
    """A choice, ready to be reranked.

    Attributes:
        query: what the recommender sees; its history is the case's, or what an ablation shows instead.
        truth: position of the truth in `ranking`.
        ranking: the candidates with the retriever's scores, in its order.
        counts: for each candidate the training users who touched it.
        slices: `eval.data.slices`.
    """

    choice: Choice
    query: Query
    ranking: Ranking
    truth: int
    counts: NDArray[np.int64]
    slices: dict[str, str] = field(default_factory=dict)

    @property
    def unseen(self) -> NDArray[np.bool_]:
        """For each candidate whether no training user touched it."""
        return np.asarray(self.counts == 0)

    @property
    def retrieval(self) -> NDArray[np.float64]:
        """The retriever's scores."""
        return np.array([c.score for c in self.ranking.candidates])


def tasks(
    data: Dataset,
    users: int,
    seed: int = 0,
    leave_out: Collection[int] = (),
    kind: Kind = "count-matched",
    split: Split = COLD_TARGET,
    shown: Shown = "own",
) -> list[Task]:
    """One task a user, for the first `users` users by hash of those who have a case and are in no fold left out.

    Args:
        kind: where the other 19 candidates come from: of the truth's training count, or from the retriever's first 100.
        shown: the history that is shown (`eval.data.history_ablation`); the candidates are those of the user's own.

    Raises:
        DataError: a case leaks.
        UsageError: there is no other user whose history could be shown.
    """
    draw: Draw = count_matched if kind == "count-matched" else retrieved(lambda case: others.retriever(case, SETTINGS))
    people = in_hash_order(histories(data.store), seed)
    training = [split.learnable(person) for person in people]
    guard_training(training, split)
    others = Others(data, None if split.moment is None else training)
    popularity = training_popularity(training, FOLDS)
    ablate = ablation(shown, (case for person in people for case in cases(person, data.domains, split)), seed)
    ids = {domain: list(data.index.snapshot(domain).positions) for domain in data.domains}
    made: list[Task] = []
    for person in people:
        mine = fold(person.user or "", FOLDS)
        met = person.user in data.met
        found = list(guarded_cases(person, data.domains, split)) if mine not in leave_out and not met else []
        if not found:
            continue
        rng = np.random.default_rng(_hash(person.user or "", seed))
        case = found[int(rng.integers(len(found)))]
        known = frozenset(e.item.id for e in person.entries if e.item.domain == case.target)
        counts = popularity[mine][case.target]
        choice = draw(case, known, counts, ids[case.target], rng)
        asked = ablate(case)
        guard(asked)
        made.append(_task(data, others.retriever(asked, SETTINGS), choice, asked, counts))
        if len(made) == users:
            break
    return made


def in_hash_order(people: Iterable[History], seed: int) -> list[History]:
    """The people in an order that has nothing to do with them; the first n are a random sample."""
    return sorted(people, key=lambda person: _hash(person.user or "", seed))


def _task(data: Dataset, retriever: Retriever, choice: Choice, asked: Case, counts: Mapping[str, int]) -> Task:
    query = Query(history=asked.history, target=asked.target)
    rows = data.index.snapshot(asked.target).rows(choice.candidates)
    if query.history.entries:
        scores = retriever.scores(query)[1][rows].astype(np.float64)
    else:  # what is known of candidates without knowing the person
        scores = np.array([counts.get(i, 0) for i in choice.candidates], dtype=np.float64)
    items = data.store.items(asked.target, choice.candidates)
    order = np.argsort(-scores, kind="stable")
    ids: Sequence[str] = [choice.candidates[i] for i in order]
    candidates = tuple(Candidate(item=items[i], score=float(s)) for i, s in zip(ids, scores[order], strict=True))
    return Task(
        choice=choice,
        query=query,
        ranking=Ranking(candidates=candidates, source="retrieval"),
        truth=ids.index(choice.truth),
        counts=np.array([counts.get(i, 0) for i in ids], dtype=np.int64),
        slices=slices_of(choice.case, [items[choice.truth]], counts.get(choice.truth, 0)),
    )


def _hash(user: str, seed: int) -> int:
    return int.from_bytes(hashlib.sha256(f"choice {seed} {user}".encode()).digest()[:8])
