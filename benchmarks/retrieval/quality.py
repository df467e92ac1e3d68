"""How well retrieval finds what people like next. Reads a prepared dataset, produces figures.

Six directions (three domains) of the cold-target protocol are pooled. The retriever is cross-fitted: for the users of
each fold its crowd and the weights of its sources come from the users of the others. Beside it stand the text alone,
chance, popularity among training users, the items no training user touched first, and the plain mean-embedding query:
the mean of the raw unit vectors of the liked history, by cosine with the candidates' raw vectors.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from benchmarks.figures import Figure, estimate_figure
from eval.data import FOLDS, Case, CatalogueScores, Dataset, OutOfFold, Say, Scorer, cases, histories
from eval.fitting import choice_sets, cross_fit
from eval.stats import METRICS, TiedRanks, by_kind, mean, ratio_of_means, tied_ranks_within
from eval.stats.bootstrap import Floats
from eval.systems import BASELINES, cross_fitted
from retrieval.ranking import Retriever
from retrieval.settings import RetrieverSettings
from retrieval.types import History, Query

OURS: Final = "retriever"
TEXT: Final = "text alone"
MEAN: Final = "mean-embedding"
ARMS: Final = (MEAN, "popularity", "unseen-first", "random")
"""The baselines beside our retriever that need nothing but the data (`eval.systems.baselines`)."""
DECISIVE: Final = "recall@100"
_TARGETS: Final[Mapping[tuple[str, str], Mapping[str, float]]] = {
    (TEXT, "retriever"): {"seen": 1.3, "unseen": 1.3},
    ("popularity", "retriever"): {"seen": 1.2},
    (MEAN, TEXT): {},
}
"""(Lower arm, upper arm) → slice → least ratio."""
_TOLD_EVERY: Final = 500


@dataclass
class Results:
    """Metrics of one arm in one slice: by metric one value a case, and whose case it was."""

    users: list[str] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in METRICS})

    def add(self, user: str, at: TiedRanks) -> None:
        """Take in one case."""
        self.users.append(user)
        for name, metric in METRICS.items():
            self.values[name].append(metric(at))

    def of(self, metric: str) -> Floats:
        """The metric's values."""
        return np.asarray(self.values[metric])


Table = dict[tuple[str, str], Results]
"""(arm, slice) → results."""


def measure_quality(data: Dataset, rng: np.random.Generator, say: Say) -> list[Figure]:
    """Every metric of every arm in every slice, and ours over the plain mean-embedding query."""
    say("reading histories")
    people = list(histories(data.store))
    asked, others = cases_of_others(data, people), OutOfFold(data)
    scorers = {
        OURS: all_sources(data, asked, others, rng, say),
        TEXT: text_alone(data),
        **{arm: cross_fitted(BASELINES[arm](data), people, FOLDS, rng) for arm in ARMS},
    }
    table = score_arms(data, asked, others, scorers, say)
    say("drawing intervals")
    figures = [
        estimate_figure(f"{metric}, {part}, {arm}", mean(results.of(metric), results.users, rng))
        for metric in METRICS
        for (arm, part), results in sorted(table.items(), key=lambda entry: entry[0][1])
    ]
    return [*_ratios(table, rng), *figures]


def cases_of_others(data: Dataset, people: Iterable[History]) -> list[Case]:
    """All cases of the people whom the encoder has not learnt from."""
    return [case for person in data.without_training_users(people) for case in cases(person, data.domains)]


def all_sources(data: Dataset, asked: Sequence[Case], others: OutOfFold, rng: np.random.Generator, say: Say) -> Scorer:
    """The retriever with the weights that other people's picks give."""
    weights = cross_fit(choice_sets(data, asked, others, rng, say))

    def score(case: Case) -> CatalogueScores:
        retriever = others.retriever(case, RetrieverSettings(), weights(case.user))
        return retriever.scores(Query(history=case.history, target=case.target))[1]

    return score


def text_alone(data: Dataset) -> Scorer:
    """The retriever that goes by the text and nothing else."""
    retriever = Retriever(data.store, data.index, RetrieverSettings(signals=("text",)))
    return lambda case: retriever.scores(Query(history=case.history, target=case.target))[1]


def score_arms(
    data: Dataset, asked: Sequence[Case], others: OutOfFold, scorers: Mapping[str, Scorer], say: Say
) -> Table:
    """Every metric of every case by every arm."""
    table: Table = defaultdict(Results)
    for at, case in enumerate(asked):
        if at % _TOLD_EVERY == 0:
            say(f"scoring case {at:,} of {len(asked):,}")
        truth, kinds = data.index.snapshot(case.target).rows(case.truth), by_kind(others.touched(case))
        for arm, scorer in scorers.items():
            scores = scorer(case)
            for part, kept in kinds.items():
                found = tied_ranks_within(scores, truth, kept)
                if found:
                    table[arm, part].add(case.user, found)
    return table


def ratio_figures(
    name: str, above: Results, below: Results, rng: np.random.Generator, least: float | None = None
) -> Iterator[Figure]:
    """How many times the decisive metric of `below` the other arm has; none where the former finds nothing."""
    if below.of(DECISIVE).any():
        ratio = ratio_of_means(above.of(DECISIVE), below.of(DECISIVE), above.users, rng)
        yield estimate_figure(f"{DECISIVE}, {name}", ratio, "ratio", least=least)


def _ratios(table: Table, rng: np.random.Generator) -> Iterator[Figure]:
    for (lower, upper), least in _TARGETS.items():
        for part in ("all", "seen", "unseen"):
            name = f"{part}, {upper} / {lower}"
            yield from ratio_figures(name, table[upper, part], table[lower, part], rng, least.get(part))
