"""What popularity's weight costs and brings. Reads prepared data, produces figures for each share of its fitted weight,
and a chart of them.

The sources' other weights are those of the users' other folds, whatever popularity's share. The choice is made on
validation users; users of the fold that is kept for testing are asked with the shipped weights.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import Figure, estimate_figure, figure
from eval.data import FOLDS, TEST_FOLD, Case, Dataset, OutOfFold, Say, fold, plan_cases
from eval.fitting import choice_sets, cross_fit
from eval.report import Chart, Scale, picture
from eval.stats import by_kind, coverage, mean, ndcg, ratio_of_means, recall, tied_ranks_within
from retrieval.ranking import FusionFit, fusion_fit
from retrieval.settings import RetrieverSettings
from retrieval.types import Query

SHARES: Final = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
ALONE: Final = "popularity alone"
SEEN: Final = "recall@100, seen"
LIFT: Final = "popularity lift@10"
_LIST: Final = 10
_TOLD_EVERY: Final = 200


@dataclass
class _Arm:
    """What one arm came to: by metric values with whose they are, and the lists that it showed."""

    values: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    users: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    lists: list[tuple[str, list[str]]] = field(default_factory=list)

    def add(self, metric: str, user: str, value: float) -> None:
        self.values[metric].append(value)
        self.users[metric].append(user)


def measure_popularity(data: Dataset, users: int, rng: np.random.Generator, say: Say) -> list[Figure]:
    """Every share on so many validation users (cross-fitted) and on as many of the test fold (as shipped)."""
    others = OutOfFold(data)
    validation, test = sample_cases(data, users, test=False), sample_cases(data, users, test=True)
    weights = cross_fit(choice_sets(data, validation, others, rng, say))
    shipped = fusion_fit(data.index.encoder.name)
    figures: list[Figure] = []
    for name, asked, fit_of in (
        ("validation", validation, lambda case: weights(case.user)),
        ("test", test, lambda case: shipped),
    ):
        arms = _asked(data, asked, others, fit_of, name, say)
        for arm in arms:
            figures += _figures(name, arm, arms, data, rng)
    return figures


def sample_cases(data: Dataset, users: int, *, test: bool) -> list[Case]:
    """All cases of the first users by hash who have any, of the test fold or of the others."""
    by_user = plan_cases(data).by_user()
    mine = (own for person, own in by_user if (fold(person.user or "", FOLDS) == TEST_FOLD) == test)
    return [case for own in islice(mine, users) for case in own]


def _asked(
    data: Dataset,
    cases: Sequence[Case],
    others: OutOfFold,
    fit_of: Callable[[Case], FusionFit],
    name: str,
    say: Say,
) -> dict[str, _Arm]:
    arms: dict[str, _Arm] = defaultdict(_Arm)
    for at, case in enumerate(cases):
        if at % _TOLD_EVERY == 0:
            say(f"{name}: case {at:,} of {len(cases):,}")
        weights = fit_of(case).weights_for(len(case.history.liked), None, 1.0)
        asked = others.retriever(case, RetrieverSettings())
        said = asked.signal_scores(Query(history=case.history, target=case.target), weights)
        popular = said.pop("popularity")
        rest = np.sum(list(said.values()), axis=0)
        touched = others.touched(case)
        for share in SHARES:
            _score(arms[f"{share:g}"], data, case, rest + np.float32(share) * popular, touched)
        _score(arms[ALONE], data, case, touched.astype(np.float32), touched)
    return arms


def _score(arm: _Arm, data: Dataset, case: Case, scores: NDArray[np.float32], touched: NDArray[np.int64]) -> None:
    snapshot = data.index.snapshot(case.target)
    truth = snapshot.rows(case.truth)
    for kind, among in by_kind(touched).items():
        at = tied_ranks_within(scores, truth, among)
        if at is not None:
            suffix = "" if kind == "all" else f", {kind}"
            arm.add(f"recall@100{suffix}", case.user, recall(at, 100))
            if kind != "unseen":
                arm.add(f"ndcg@10{suffix}", case.user, ndcg(at, 10))
    best = np.argsort(-scores, kind="stable")[:_LIST]
    arm.add(LIFT, case.user, float(touched[best].mean() / max(touched.mean(), 1e-9)))
    arm.lists.append((case.target, snapshot.ids(best)))


def _figures(name: str, which: str, arms: dict[str, _Arm], data: Dataset, rng: np.random.Generator) -> Iterator[Figure]:
    arm, alone = arms[which], arms[ALONE]
    for metric, values in arm.values.items():
        estimate = mean(np.asarray(values), arm.users[metric], rng)
        yield estimate_figure(f"{name}, {which}, {metric}", estimate)
    if which != ALONE:
        above, below = np.asarray(arm.values[SEEN]), np.asarray(alone.values[SEEN])
        ratio = ratio_of_means(above, below, arm.users[SEEN], rng)
        yield estimate_figure(f"{name}, {which}, {SEEN} / popularity's", ratio, "ratio")
    sizes = {domain: len(data.index.snapshot(domain).vectors) for domain in data.domains}
    share = coverage(arm.lists, sizes, _LIST)
    yield figure(f"{name}, {which}, coverage@10", share or 0.0, "", len(arm.lists), "n: lists")


def write_chart(path: Path, figures: Iterable[Figure]) -> None:
    """Recall on seen items (up) against popularity lift (right) of the validation users: a point for each share."""
    value = {one.name.removeprefix("validation, "): one.value for one in figures}
    arms = [*(f"{share:g}" for share in SHARES), ALONE]
    points = [(value[f"{arm}, {LIFT}"], value[f"{arm}, {SEEN}"]) for arm in arms]
    lifts, recalls = zip(*points, strict=True)
    axes = (
        "mean popularity of the first ten, times the catalogue's",
        "Recall@100 among seen items, by popularity's share",
    )
    chart = Chart(Scale(0, max(lifts) * 1.1), Scale(0, max(recalls) * 1.1), axes, height=360)
    default = f"{RetrieverSettings().popularity:g}"
    with chart.group("series0"):
        chart.line(points[:-1])
    for arm, (lift, recall_) in zip(arms, points, strict=True):
        with chart.group("series1" if arm == default else "series3" if arm == ALONE else "series0"):
            chart.point(lift, recall_, radius=5)
            chart.label(f"{arm} (default)" if arm == default else arm, lift, chart.y(recall_), "below")
    path.write_text(picture(chart.svg("Recall at 100 against popularity lift")) + "\n", encoding="utf-8")
