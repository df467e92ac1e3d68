"""How well retrieval finds what people like next. Reads a prepared dataset, produces figures.

Six directions (three domains) of the cold-target protocol are pooled. Beside our retriever stand chance, popularity
among training users, the items no training user touched first, and the plain mean-embedding query: the mean of the raw
unit vectors of the liked history, by cosine with the candidates' raw vectors.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from eval.baseline_types import Scorer
from eval.baselines import BASELINES, cross_fitted
from eval.bench_report import Figure
from eval.choices import FOLDS
from eval.datasets import Dataset, Say
from eval.intervals import Estimate, Values, mean, ratio_of_means
from eval.metrics import METRICS, Places, by_kind, places_within
from eval.protocol import Case, cases, histories
from eval.touches import Touches
from retrieval.retriever import Retriever
from retrieval.settings import RetrieverSettings
from retrieval.types import Query

OURS: Final = "retriever"
MEAN: Final = "mean-embedding"
ARMS: Final = (MEAN, "popularity", "unseen-first", "random")
"""The baselines beside our retriever that need nothing but the data (`eval.baselines`)."""
_DECISIVE: Final = "recall@50"
_TOLD_EVERY: Final = 500


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
    asked = [case for person in people for case in cases(person, data.domains)]
    retriever = Retriever(data.store, data.index, RetrieverSettings())
    scorers: dict[str, Scorer] = {
        OURS: lambda case: retriever.scores(Query(history=case.history, target=case.target))[1],
        **{arm: cross_fitted(BASELINES[arm](data), people, FOLDS, rng) for arm in ARMS},
    }
    table = _score(data, asked, Touches(data, people), scorers, say)
    say("drawing intervals")
    figures = [
        _figure(f"{metric}, {part}, {arm}", mean(results.of(metric), results.users, rng))
        for metric in METRICS
        for (arm, part), results in sorted(table.items(), key=lambda entry: entry[0][1])
    ]
    return [*_ratios(table, rng), *figures]


def _score(data: Dataset, asked: Sequence[Case], touches: Touches, scorers: Mapping[str, Scorer], say: Say) -> Table:
    table: Table = defaultdict(Results)
    for at, case in enumerate(asked):
        if at % _TOLD_EVERY == 0:
            say(f"scoring case {at:,} of {len(asked):,}")
        truth, kinds = data.index.snapshot(case.target).rows(case.truth), by_kind(touches.of(case))
        for arm, scorer in scorers.items():
            scores = scorer(case)
            for part, kept in kinds.items():
                found = places_within(scores, truth, kept)
                if found:
                    table[arm, part].add(case.user, found)
    return table


def _figure(name: str, estimate: Estimate, **target: Any) -> Figure:
    note = f"95% {estimate}, {estimate.cases:,} cases; n: users"
    return Figure(name=name, value=estimate.value, n=estimate.people, note=note, **target)


def _ratios(table: Table, rng: np.random.Generator) -> Iterator[Figure]:
    for part in ("all", "seen", "unseen"):
        ours, plain = table[OURS, part], table[MEAN, part]
        ratio = ratio_of_means(ours.of(_DECISIVE), plain.of(_DECISIVE), ours.users, rng)
        name = f"{_DECISIVE}, {part}, {OURS} / {MEAN}"
        yield _figure(name, ratio, unit="ratio", target="lower end > 1", met=ratio.low > 1)
