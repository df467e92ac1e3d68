"""Where transfer helps and where it hurts. Reads runs of several arms, produces matrices source x target.

Each arm is compared with the first on the cases that both have, pair by pair and over all pairs. Among them stands
`AUTO`, which takes for each pair the arm that the users of the other folds support; the matrix also says which arm all
users together support.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from eval.data import FOLDS, fold
from eval.runs import CaseResult, RunFolder
from eval.stats import MIN_USERS, ArmScores, PairedDifference, compare_paired, ratio_of_means
from eval.studies.transfer_runs import CHOOSABLE
from retrieval.errors import UsageError
from retrieval.types import Frozen
from xdrec_agent.adapt import Pair

AUTO: Final = "auto"
ALL: Final = "all pairs"
RETRIEVAL: Final = "text alone"
FUSED: Final = "all sources"
RERANKING: Final = "reranking"
_RETRIEVAL_METRICS: Final = ("recall@100", "seen recall@100", "unseen recall@100")
_FUSED_METRICS: Final = ("seen recall@100", "recall@100")
"""Of unseen items popularity says nothing."""
_RERANKING_METRICS: Final = ("ndcg@10",)
_MIN_HITS: Final = 20
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

    @property
    def state(self) -> Literal["better", "worse", "inconclusive"]:
        """Whether it helps, hurts, or cannot be told from none."""
        d = self.difference
        if d is None or d.low is None or d.high is None:
            return "inconclusive"
        return "better" if d.low > 0 else "worse" if d.high < 0 else "inconclusive"

    @property
    def ratio_text(self) -> str:
        """The ratio with its interval, if there is one."""
        ratio = self.ratio
        return f"{ratio.value:.2f} times [{ratio.low:.2f}, {ratio.high:.2f}]" if ratio else ""


class Matrix(Frozen):
    """Effects of all arms but the first.

    Attributes:
        arms: by name, the first being what the others are compared with.
        metrics: the decisive one first.
        chosen: "SOURCE:TARGET" → the arm that all users together support.
    """

    arms: tuple[str, ...]
    metrics: tuple[str, ...]
    effects: tuple[Effect, ...]
    chosen: dict[str, str]

    def effect(self, arm: str, metric: str, pair: Pair) -> Effect | None:
        """The effect of an arm on a pair; None if it was not measured."""
        matching = (e for e in self.effects if (e.arm, e.metric, e.source, e.target) == (arm, metric, *pair))
        return next(matching, None)

    @property
    def pairs(self) -> list[Pair]:
        """All pairs, `ALL` last."""
        return sorted({(e.source, e.target) for e in self.effects}, key=lambda pair: (pair[0] == ALL, pair))


class TransferResult(Frozen):
    """The matrices by what was measured: `RETRIEVAL`, `FUSED` and perhaps `RERANKING`."""

    version: int = 1
    facts: dict[str, str]
    matrices: dict[str, Matrix]

    @property
    def verdict(self) -> str:
        """Over all pairs, what each arm of the first matrix changes in its decisive metric, and what harms."""
        first = next(iter(self.matrices.values()))
        metric = first.metrics[0]
        changes, harms = [], []
        for arm in first.arms[1:]:
            effects = [effect for pair in first.pairs if (effect := first.effect(arm, metric, pair))]
            changes += [f"{arm} {effect.ratio_text}" for effect in effects if effect.source == ALL and effect.ratio]
            harmed = [effect for effect in effects if effect.source != ALL and effect.state == "worse"]
            if harmed:
                harms.append(f"{arm} ({', '.join(f'{effect.source} to {effect.target}' for effect in harmed)})")
        return f"{metric} beside {first.arms[0]}: {', '.join(changes)}; " + (
            f"negative transfer: {', '.join(harms)}" if harms else "no negative transfer that can be told from noise"
        )


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


def transfer_result(
    retrieved: Sequence[RunFolder],
    fused: Sequence[RunFolder],
    reranked: Sequence[RunFolder],
    rng: np.random.Generator,
) -> TransferResult:
    """The matrices of some runs, each against the first of its kind; no reranker leaves that matrix out.

    Raises:
        UsageError: one run alone, or runs that share no case.
        DataError: a run cannot be read.
    """

    def compared(folders: Sequence[RunFolder], metrics: Sequence[str], choosable: Collection[str] = ()) -> Matrix:
        results = {folder.manifest.name: results_of(folder.results()) for folder in folders}
        return matrix(Arms(results, choosable or tuple(results), metrics[0]), metrics, rng)

    matrices = {
        RETRIEVAL: compared(retrieved, _RETRIEVAL_METRICS, CHOOSABLE),
        FUSED: compared(fused, _FUSED_METRICS),
    }
    if reranked:
        matrices[RERANKING] = compared(reranked, _RERANKING_METRICS)
    first = retrieved[0].manifest
    facts = {name: str(value) for name, value in first.protocol.items()} | {"data": first.data[:12]}
    return TransferResult(facts=facts, matrices=matrices)


def results_of(results: Iterable[CaseResult]) -> Results:
    """The metrics of each case."""
    return {result.key: result.metrics for result in results}


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
    compared = {arm: arms.results[arm] for arm in others} | {AUTO: out_of_fold_choice(arms)}
    pairs = sorted({key[1:] for key in base})
    effects = (
        _effect(arm, metric, pair, base, results, rng)
        for arm, results in compared.items()
        for metric in metrics
        for pair in (*pairs, None)
    )
    return Matrix(
        arms=(first, *compared),
        metrics=tuple(metrics),
        effects=tuple(effect for effect in effects if effect is not None),
        chosen={f"{source}:{target}": _best(arms, (source, target), range(FOLDS)) for source, target in pairs},
    )


def out_of_fold_choice(arms: Arms) -> Results:
    """Each case under the arm that is best for its pair among the users of the other folds."""
    first = next(iter(arms.results))
    best: dict[tuple[Pair, int], str] = {}
    results = {}
    for key, metrics in arms.results[first].items():
        user, source, target = key
        own_fold = fold(user, FOLDS)
        part = (source, target), own_fold
        if part not in best:
            best[part] = _best(arms, part[0], [number for number in range(FOLDS) if number != own_fold])
        results[key] = arms.results[best[part]].get(key, metrics)
    return results


def _best(arms: Arms, pair: Pair, folds: Collection[int]) -> str:
    """The arm with the highest mean on a pair, over users in these folds; the first, of equal ones."""
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
) -> Effect | None:
    """What an arm changes for a pair (None: all pairs); None where the two arms share no case."""
    keys = [
        key
        for key, metrics in base.items()
        if (pair is None or key[1:] == pair) and key in results and metric in metrics and metric in results[key]
    ]
    if not keys:
        return None
    users = [key[0] for key in keys]
    before = np.array([base[key][metric] for key in keys])
    after = np.array([results[key][metric] for key in keys])
    enough = len(set(users)) >= MIN_USERS
    users_with_hits = {user for user, value in zip(users, before, strict=True) if value}
    ratio = ratio_of_means(after, before, users, rng) if len(users_with_hits) >= _MIN_HITS else None
    source, target = pair or (ALL, ALL)
    return Effect(
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
