"""How well retrieval finds what people like next. Reads a prepared dataset, produces figures.

Six directions (three domains) of the cold-target protocol are pooled. Beside our retriever stand chance, popularity
among training users, the items no training user touched first, and the plain mean-embedding query: the mean of the raw
unit vectors of the liked history, by cosine with the candidates' raw vectors.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from eval.bench_report import Figure
from eval.datasets import Dataset, Say
from eval.intervals import Estimate, Values, mean, ratio_of_means
from eval.metrics import Places, ndcg, places, recall
from eval.protocol import Case, Popularity, cases, fold, histories, training_popularity
from retrieval.encoder import Vectors
from retrieval.index import Index
from retrieval.retriever import Retriever
from retrieval.settings import RetrieverSettings
from retrieval.types import Query

FOLDS: Final = 5
OURS: Final = "retriever"
MEAN: Final = "mean-embedding"
METRICS: Final[Mapping[str, Callable[[Places], float]]] = {
    "recall@10": lambda at: recall(at, 10),
    "recall@50": lambda at: recall(at, 50),
    "recall@100": lambda at: recall(at, 100),
    "recall@500": lambda at: recall(at, 500),
    "ndcg@10": lambda at: ndcg(at, 10),
}
_DECISIVE: Final = "recall@50"
_TOLD_EVERY: Final = 500

Scores = NDArray[Any]


@dataclass
class Results:
    """Metrics of one arm in one slice: by metric one value a case, and whose case it was."""

    users: list[str] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in METRICS})

    def add(self, user: str, at: Places) -> None:
        """Take in one case."""
        self.users.append(user)
        for name, metric in METRICS.items():
            self.values[name].append(metric(at))

    def of(self, metric: str) -> Values:
        """The metric's values."""
        return np.asarray(self.values[metric])


Table = dict[tuple[str, str], Results]
"""(arm, slice) → results."""


def measure_quality(data: Dataset, rng: np.random.Generator, say: Say) -> list[Figure]:
    """Every metric of every arm in every slice, and ours over the plain mean-embedding query."""
    say("reading histories")
    people = list(histories(data.store))
    popularity = training_popularity(people, FOLDS)
    asked = [case for person in people for case in cases(person, data.domains)]
    table = _score(asked, _Arms(data, popularity), say)
    say("drawing intervals")
    figures = [
        _figure(f"{metric}, {part}, {arm}", mean(results.of(metric), results.users, rng))
        for metric in METRICS
        for (arm, part), results in sorted(table.items(), key=lambda entry: entry[0][1])
    ]
    return [*_ratios(table, rng), *figures]


def _score(asked: Sequence[Case], arms: _Arms, say: Say) -> Table:
    table: Table = defaultdict(Results)
    for at, case in enumerate(asked):
        if at % _TOLD_EVERY == 0:
            say(f"scoring case {at:,} of {len(asked):,}")
        truth, counts = arms.truth(case), arms.counts(case)
        slices = {"all": np.ones(len(counts), dtype=bool), "seen": counts > 0, "unseen": counts == 0}
        for arm, scores in arms.scores(case):
            for part, kept in slices.items():
                relevant = np.flatnonzero(kept[truth])
                if len(relevant):
                    # Row numbers become positions among the slice's candidates.
                    position = np.cumsum(kept) - 1
                    table[arm, part].add(case.user, places(scores[kept], position[truth[relevant]]))
    return table


class _Arms:
    """The scorers that are compared; each gives every row of the target's snapshot a score."""

    def __init__(self, data: Dataset, popularity: Sequence[Popularity]) -> None:
        self._retriever = Retriever(data.store, data.index, RetrieverSettings())
        self._index = data.index
        self._raw = {domain: _raw_vectors(data.index, domain) for domain in data.domains}
        self._counts = [{d: self._aligned(d, counts[d]) for d in data.domains} for counts in popularity]

    def _aligned(self, domain: str, counts: Mapping[str, int]) -> NDArray[np.int64]:
        return np.array([counts.get(i, 0) for i in self._index.snapshot(domain).positions], dtype=np.int64)

    def counts(self, case: Case) -> NDArray[np.int64]:
        """How many training users touched each row."""
        return self._counts[fold(case.user, FOLDS)][case.target]

    def truth(self, case: Case) -> NDArray[np.int64]:
        """Rows of the case's truth."""
        return self._index.snapshot(case.target).rows(case.truth)

    def scores(self, case: Case) -> Iterator[tuple[str, Scores]]:
        """Arm by arm, one score a row."""
        counts = self.counts(case)
        yield OURS, self._retriever.scores(Query(history=case.history, target=case.target))[1]
        yield MEAN, self._mean_embedding(case)
        yield "popularity", counts
        yield "unseen first", counts == 0
        yield "random", np.zeros(len(counts), dtype=np.int8)

    def _mean_embedding(self, case: Case) -> Scores:
        rows = self._index.snapshot(case.source).rows(e.item.id for e in case.history.liked)
        return np.asarray(self._raw[case.target] @ self._raw[case.source][rows].mean(axis=0))


def _raw_vectors(index: Index, domain: str) -> Vectors:
    """The unit vectors as the encoder gave them, in the order of the snapshot."""
    ids, vectors = index.vectors.all(domain)
    raw = np.empty_like(vectors)
    raw[index.snapshot(domain).rows(ids)] = vectors
    return raw


def _figure(name: str, estimate: Estimate, **target: Any) -> Figure:
    note = f"95% {estimate}, {estimate.cases:,} cases; n: users"
    return Figure(name=name, value=estimate.value, n=estimate.people, note=note, **target)


def _ratios(table: Table, rng: np.random.Generator) -> Iterator[Figure]:
    for part in ("all", "seen", "unseen"):
        ours, plain = table[OURS, part], table[MEAN, part]
        ratio = ratio_of_means(ours.of(_DECISIVE), plain.of(_DECISIVE), ours.users, rng)
        name = f"{_DECISIVE}, {part}, {OURS} / {MEAN}"
        yield _figure(name, ratio, unit="ratio", target="lower end > 1", met=ratio.low > 1)
