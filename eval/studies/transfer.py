"""Where transfer helps and where it hurts. Reads runs of several arms, produces a matrix source x target.

Each arm is compared with the first on the cases that both have, pair by pair and over all pairs. Among them stands
`AUTO`, which takes for each pair the arm that people of the other folds support; the matrix also says which arm all
people together support.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from eval.data import FOLDS, fold
from eval.runs import CaseResult
from eval.stats import MIN_USERS, ArmScores, PairedDifference, compare_paired, ratio_of_means
from retrieval.errors import UsageError
from retrieval.types import Frozen
from xdrec_agent.adapt import Pair

AUTO: Final = "auto"
ALL: Final = "all pairs"

_FOUND: Final = 20
"""Users for whom the first arm finds anything, below which there is no ratio: resampled, they could all be missing."""

Key = tuple[str, str, str]
"""User, source and target: what tells cases apart."""
Results = Mapping[Key, Mapping[str, float]]
"""The metrics of each case under one arm."""


class Ratio(Frozen):
    """An arm's mean over the first one's, with the ends of its 95% interval; users are resampled."""

    value: float
    low: float
    high: float


class Effect(Frozen):
    """What an arm changes for one pair of domains, or for `ALL`.

    Attributes:
        source, target: domains; both `ALL` for all pairs together.
        before, after: means over cases of the first arm and of this one.
        difference: over users, paired; None: fewer than ten users.
        ratio: None where the first arm finds something for fewer than twenty users.
    """

    arm: str
    metric: str
    source: str
    target: str
    users: int
    before: float
    after: float
    difference: PairedDifference | None
    ratio: Ratio | None


class Matrix(Frozen):
    """Effects of all arms but the first.

    Attributes:
        arms: by name, the first being what the others are compared with.
        metrics: the decisive one first.
        chosen: "SOURCE:TARGET" → the arm that all people together support.
    """

    arms: tuple[str, ...]
    metrics: tuple[str, ...]
    effects: tuple[Effect, ...]
    chosen: dict[str, str]

    def effect(self, arm: str, metric: str, pair: Pair) -> Effect | None:
        """The effect of an arm on a pair; None if it was not measured."""
        found = (e for e in self.effects if (e.arm, e.metric, e.source, e.target) == (arm, metric, *pair))
        return next(found, None)

    @property
    def pairs(self) -> list[Pair]:
        """All pairs, `ALL` last."""
        return sorted({(e.source, e.target) for e in self.effects}, key=lambda pair: (pair[0] == ALL, pair))


@dataclass(frozen=True)
class Arms:
    """What is compared.

    Attributes:
        results: by arm; the first is what the others are compared with, and has every case.
        choosable: arms that `AUTO` may take besides the first; the others only explain.
        decisive: metric that it goes by.
    """

    results: Mapping[str, Results]
    choosable: Collection[str]
    decisive: str


def results_of(found: Iterable[CaseResult]) -> Results:
    """The metrics of each case."""
    return {result.key: result.metrics for result in found}


def matrix(arms: Arms, metrics: Sequence[str], rng: np.random.Generator) -> Matrix:
    """Compare all arms with the first, in these metrics.

    Raises:
        UsageError: no arm but the first, or one shares no case with it.
    """
    first, *others = arms.results
    if not others:
        raise UsageError(f"there is no arm beside {first}", hint="a matrix compares at least two")
    base = arms.results[first]
    for arm in others:
        if not base.keys() & arms.results[arm].keys():
            raise UsageError(f"{arm} has no case of {first}", hint="make both of the same --data")
    compared = {arm: arms.results[arm] for arm in others} | {AUTO: chosen_by_others(arms)}
    pairs = sorted({key[1:] for key in base})
    return Matrix(
        arms=(first, *compared),
        metrics=tuple(metrics),
        effects=tuple(
            effect
            for arm, results in compared.items()
            for metric in metrics
            for pair in (*pairs, None)
            for effect in _effect(arm, metric, pair, base, results, rng)
        ),
        chosen={f"{source}:{target}": _best(arms, (source, target), range(FOLDS)) for source, target in pairs},
    )


def chosen_by_others(arms: Arms) -> Results:
    """Each case under the arm that is best for its pair among the people of the other folds."""
    first = next(iter(arms.results))
    best: dict[tuple[Pair, int], str] = {}
    found = {}
    for key, metrics in arms.results[first].items():
        user, *pair = key
        own = (pair[0], pair[1]), fold(user, FOLDS)
        if own not in best:
            best[own] = _best(arms, own[0], [number for number in range(FOLDS) if number != own[1]])
        found[key] = arms.results[best[own]].get(key, metrics)
    return found


def _best(arms: Arms, pair: Pair, folds: Collection[int]) -> str:
    """The arm with the highest mean on a pair, of those who are in these folds; the first, of equal ones."""
    first = next(iter(arms.results))
    keys = [key for key in arms.results[first] if key[1:] == pair and fold(key[0], FOLDS) in folds]
    means = {}
    for arm in (first, *(name for name in arms.results if name in arms.choosable)):
        both = [(arms.results[first][key], arms.results[arm][key]) for key in keys if key in arms.results[arm]]
        gains = [after[arms.decisive] - before[arms.decisive] for before, after in both if arms.decisive in before]
        means[arm] = float(np.mean(gains)) if gains else 0.0
    return max(means, key=lambda arm: means[arm])


def _effect(
    arm: str, metric: str, pair: Pair | None, base: Results, results: Results, rng: np.random.Generator
) -> Iterator[Effect]:
    keys = [
        key
        for key, metrics in base.items()
        if (pair is None or key[1:] == pair) and key in results and metric in metrics and metric in results[key]
    ]
    if not keys:
        return
    users = [key[0] for key in keys]
    before = np.array([base[key][metric] for key in keys])
    after = np.array([results[key][metric] for key in keys])
    enough = len(set(users)) >= MIN_USERS
    found = len({user for user, value in zip(users, before, strict=True) if value})
    ratio = ratio_of_means(after, before, users, rng) if found >= _FOUND else None
    source, target = pair or (ALL, ALL)
    yield Effect(
        arm=arm,
        metric=metric,
        source=source,
        target=target,
        users=len(set(users)),
        before=float(before.mean()),
        after=float(after.mean()),
        difference=compare_paired(ArmScores(before, users), ArmScores(after, users), rng) if enough else None,
        ratio=ratio and Ratio(value=ratio.value, low=ratio.low, high=ratio.high),
    )
