"""How well it begins. Reads prepared data, produces figures of the situations in which little is known.

Users of the fold that no encoder learns from are asked, with the weights that other people's picks give; what the crowd
says comes from the users of the other folds. Each situation stands beside popularity and chance, and beside the same
people's whole histories where they have one (`benchmarks.retrieval.cold_start_queries`).
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.figures import Figure, estimate_figure, figure
from benchmarks.retrieval.cold_start_queries import (
    Elsewhere,
    Question,
    TwoSources,
    kinds_in_words,
    one_title,
    titles_in_words,
    two_sources,
    whole,
)
from benchmarks.retrieval.new_items import copied, renew
from benchmarks.retrieval.popularity import sample_cases
from benchmarks.retrieval.quality import Results
from eval.data import Case, CatalogueScores, Dataset, OutOfFold, Say, histories
from eval.fitting import UserWeights, cross_fit_weights
from eval.stats import Estimate, by_kind, mean, tied_ranks_within
from retrieval.settings import RetrieverSettings

OURS: Final = "retriever"
METRICS: Final = ("recall@100", "ndcg@10")

Arms = Mapping[str, Callable[[Question], CatalogueScores]]


@dataclass(frozen=True)
class Situation:
    """One kind of cold start: its questions, who answers them, and among which items (`eval.stats.metrics.by_kind`)."""

    name: str
    questions: Sequence[Question]
    data: Dataset
    others: OutOfFold | Elsewhere
    weights: UserWeights
    kind: str = "all"


def measure_cold_start(data: Dataset, users: int, rng: np.random.Generator, say: Say) -> list[Figure]:
    """Every situation with every arm."""
    cases, people, others = sample_cases(data, users, test=True), list(histories(data.store)), OutOfFold(data)
    known = Situation("", [], data, others, cross_fit_weights(data, people, others, rng, say))
    figures: list[Figure] = []
    for name, poorer in _POORER.items():
        figures += _figures(replace(known, name=name, questions=[poorer(case) for case in cases]), rng, say)
    figures += _two_sources(list(two_sources(cases)), known, rng, say)
    nobody = replace(known, name="new domain", others=Elsewhere(data, people))
    figures += _figures(replace(nobody, questions=[whole(case) for case in cases]), rng, say)
    with tempfile.TemporaryDirectory() as home, copied(data, Path(home)) as copy:
        figures += _new_items(cases, replace(known, data=copy), rng, say)
    return figures


_POORER: Final[Mapping[str, Callable[[Case], Question]]] = {
    "a known user": whole,
    "one liked title": one_title,
    "words: kinds": kinds_in_words,
    "words: titles, kinds": titles_in_words,
}


def _arms(situation: Situation) -> Arms:
    data, others = situation.data, situation.others

    def ranked(settings: RetrieverSettings) -> Callable[[Question], CatalogueScores]:
        return lambda q: others.retriever(q.case, settings, situation.weights(q.case.user)).scores(q.query)[1]

    return {
        OURS: ranked(RetrieverSettings()),
        "text alone": ranked(RetrieverSettings(signals=("text",))),
        "popularity": lambda q: others.touched(q.case).astype(np.float32),
        "random": lambda q: np.zeros(len(data.index.snapshot(q.case.target).vectors), dtype=np.float32),
    }


def _figures(situation: Situation, rng: np.random.Generator, say: Say) -> Iterator[Figure]:
    say(f"{situation.name}: {len(situation.questions):,} questions")
    for arm, results in _answered(situation, _arms(situation)).items():
        for metric in METRICS:
            estimate = mean(results.of(metric), results.users, rng)
            yield _figure(f"{situation.name}, {metric}, {arm}", estimate)


def _answered(situation: Situation, arms: Arms) -> dict[str, Results]:
    found: dict[str, Results] = defaultdict(Results)
    for question in situation.questions:
        case = question.case
        truth = situation.data.index.snapshot(case.target).rows(case.truth)
        among = by_kind(situation.others.touched(case))[situation.kind]
        for arm, answer in arms.items():
            at = tied_ranks_within(answer(question), truth, among)
            if at is not None:
                found[arm].add(case.user, at)
    return found


def _two_sources(
    people: Sequence[TwoSources], known: Situation, rng: np.random.Generator, say: Say
) -> Iterator[Figure]:
    """Both domains, each alone, and what the second one adds: paired differences."""
    name = "two source domains"
    together = replace(known, name=name, questions=[person.both for person in people])
    yield from _figures(together, rng, say)
    singles = [replace(known, questions=[person.singles[at] for person in people]) for at in range(2)]
    ours = {OURS: _arms(known)[OURS]}
    one, other = (_answered(single, ours)[OURS] for single in singles)
    both = _answered(together, ours)[OURS]
    longer = np.array([person.longer for person in people], dtype=bool)
    for metric in METRICS:
        alone = {
            "one of them": (one.of(metric) + other.of(metric)) / 2,
            "the longer one": np.where(longer, other.of(metric), one.of(metric)),
        }
        for which, values in alone.items():
            yield _figure(f"{name}, {metric}, {which}", mean(values, both.users, rng))
            difference = mean(both.of(metric) - values, both.users, rng)
            yield _figure(f"{name}, {metric}, both - {which}", difference)


def _new_items(cases: Sequence[Case], known: Situation, rng: np.random.Generator, say: Say) -> Iterator[Figure]:
    """The first truth of each case that nobody else touched, as an item that came after the index was made."""
    copy, others = known.data, known.others
    asked: list[Question] = []
    ids: dict[str, set[str]] = {}
    for case in cases:
        snapshot, touched = copy.index.snapshot(case.target), others.touched(case)
        untouched = [item for item in case.truth if touched[snapshot.positions[item]] == 0]
        if untouched:
            ids.setdefault(case.target, set()).add(untouched[0])
            asked.append(whole(replace(case, truth=(untouched[0],))))
    home = renew(copy, ids, say)
    seconds = sum(home.seconds.values())
    added = sum(map(len, home.new.values()))
    renewed = replace(known, questions=asked, data=home.data, others=OutOfFold(home.data))
    for kind, name in (("all", "new item"), ("unseen", "new item, among unseen")):
        yield from _figures(replace(renewed, name=name, kind=kind), rng, say)
    yield figure("new items together, Index.add", seconds, "s", added, "n: items")


def _figure(name: str, estimate: Estimate) -> Figure:
    return estimate_figure(name, estimate, cases="questions")
