"""Is B better than A? Reads runs over the same cases, produces paired verdicts and what they cost.

Every arm is compared with the first. p-values are adjusted for all arms and metrics together (Holm).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eval.paired import MIN_USERS, ArmScores, PairedDifference, compare, holm, verdict
from eval.run_folder import CaseResult, Manifest, RunFolder, Summary, summarise
from retrieval.errors import UsageError
from retrieval.types import Frozen


class Arm(Frozen):
    """One side of a comparison: what it is and what it came to."""

    manifest: Manifest
    summary: Summary


class Comparison(Frozen):
    """An arm against the first, in one metric and slice ("all": every case). `adjusted` is the p-value after Holm."""

    arm: str
    metric: str
    slice: str
    difference: PairedDifference
    adjusted: float | None = None
    verdict: str


class ABResult(Frozen):
    """All arms, the first being what the others are compared with, and all comparisons, the decisive one first."""

    arms: tuple[Arm, ...]
    comparisons: tuple[Comparison, ...]

    @property
    def verdict(self) -> str:
        """The decisive comparison in a sentence, with what the arm costs beside the first."""
        decisive = self.comparisons[0]
        first = self.arms[0].summary
        other = next(a.summary for a in self.arms if a.manifest.name == decisive.arm)
        if first.tokens and other.tokens:
            return f"{decisive.verdict}, {other.tokens / first.tokens:.2g}x the tokens"
        return decisive.verdict


def compare_runs(
    folders: Sequence[RunFolder], metrics: Sequence[str], rng: np.random.Generator, effect: float | None = None
) -> ABResult:
    """Compare finished runs; the first metric is the decisive one.

    Slices (of at least ten users) are described by the
    same numbers in the decisive metric, and take no part in the adjustment.

    Args:
        metrics: names; empty: all that the runs share.
        effect: the difference that would matter, for "you would need N users".

    Raises:
        UsageError: fewer than two runs, runs of other data or another protocol, two of one name, an unknown metric,
            other cases, or fewer than 10 users.
        DataError: a run cannot be read, or a score is no number.
    """
    if len(folders) < 2:
        raise UsageError("a comparison needs two runs", hint="xdrec-eval ab runs/a runs/b")
    _same(folders)
    found = [folder.results() for folder in folders]
    _same_cases(folders, found)
    shared = _shared(found)
    unknown = [m for m in metrics if m not in shared]
    if unknown:
        raise UsageError(f"no metric {', '.join(unknown)} in all runs", hint=f"they share: {', '.join(shared)}")
    if not shared:
        raise UsageError("the runs share no metric", hint="make them by the same --task, or see docs/runs.md")
    asked = list(metrics) or shared
    tested = [_compared(folders[0], folder, pair, m, rng) for folder, pair in _pairs(folders, found) for m in asked]
    adjusted = holm([c.difference.p_value for c in tested]) if len(tested) > 1 else [None] * len(tested)
    comparisons = [
        c.model_copy(
            update={
                "adjusted": p,
                "verdict": verdict(
                    c.difference, c.metric, arms=(folders[0].manifest.name, c.arm), adjusted=p, effect=effect
                ),
            }
        )
        for c, p in zip(tested, adjusted, strict=True)
    ]
    sliced = [
        _compared(folders[0], folder, part, asked[0], rng, label)
        for folder, pair in _pairs(folders, found)
        for label, part in _slices(pair, asked[0])
    ]
    arms = [Arm(manifest=f.manifest, summary=summarise(results)) for f, results in zip(folders, found, strict=True)]
    return ABResult(arms=tuple(arms), comparisons=(*comparisons, *sliced))


Pair = Sequence[tuple[CaseResult, CaseResult]]
"""The same cases in two runs."""


def _pairs(folders: Sequence[RunFolder], found: Sequence[Sequence[CaseResult]]) -> list[tuple[RunFolder, Pair]]:
    return [(f, list(zip(found[0], results, strict=True))) for f, results in zip(folders[1:], found[1:], strict=True)]


def _compared(
    first: RunFolder, other: RunFolder, pair: Pair, metric: str, rng: np.random.Generator, part: str = "all"
) -> Comparison:
    pair = [(a, b) for a, b in pair if metric in a.metrics]
    users = [a.user for a, _ in pair]
    before = ArmScores(np.array([a.metrics[metric] for a, _ in pair]), users)
    after = ArmScores(np.array([b.metrics[metric] for _, b in pair]), users)
    difference = compare(before, after, rng)
    said = verdict(difference, metric, arms=(first.manifest.name, other.manifest.name))
    return Comparison(arm=other.manifest.name, metric=metric, slice=part, difference=difference, verdict=said)


def _slices(pair: Pair, metric: str) -> list[tuple[str, Pair]]:
    """The parts with enough users who have the metric, named "SLICING: PART"."""
    parts: dict[str, list[tuple[CaseResult, CaseResult]]] = {}
    for a, b in (pair_ for pair_ in pair if metric in pair_[0].metrics):
        for name, part in a.slices.items():
            parts.setdefault(f"{name}: {part}", []).append((a, b))
    return [(label, parts[label]) for label in sorted(parts) if len({a.user for a, _ in parts[label]}) >= MIN_USERS]


def _shared(found: Sequence[Sequence[CaseResult]]) -> list[str]:
    """The metrics that all runs have in the same cases."""
    names = dict.fromkeys(name for result in found[0] for name in result.metrics)
    have = {name: [{r.key for r in results if name in r.metrics} for results in found] for name in names}
    return [name for name, keys in have.items() if all(k == keys[0] for k in keys)]


def _same(folders: Sequence[RunFolder]) -> None:
    first = folders[0].manifest
    for folder in folders[1:]:
        if folder.manifest.comparable != first.comparable:
            hint = "run both arms with the same --data, --users, --seed and --candidates"
            raise UsageError(f"{folder.path} is of other data or another protocol than {folders[0].path}", hint=hint)
    names = [folder.manifest.name for folder in folders]
    if len(set(names)) < len(names):
        raise UsageError(f"two runs are called {max(names, key=names.count)}", hint="give runs names by --name")


def _same_cases(folders: Sequence[RunFolder], found: Sequence[Sequence[CaseResult]]) -> None:
    for folder, results in zip(folders, found, strict=True):
        if not results:
            raise UsageError(f"{folder.path} has no finished case", hint="xdrec-eval run goes on with it")
        other = {r.key for r in results} ^ {r.key for r in found[0]}
        if other:
            said = f"{folder.path} and {folders[0].path} differ in {len(other)} cases, first {' '.join(min(other))}"
            raise UsageError(said, hint="let both runs finish, with the same --users and --seed")
