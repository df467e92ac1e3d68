"""Is B better than A? Reads runs over the same cases, produces paired verdicts and what they cost.

Every arm is compared with the first. p-values are adjusted for all arms and metrics together (Holm).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eval.runs.align import align_runs, shared_metrics
from eval.runs.folder import CaseResult, Manifest, RunFolder, Summary, summarise
from eval.stats import MIN_USERS, ArmScores, PairedDifference, compare_paired, holm, verdict
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
        first = self.arms[0]
        other = next(a for a in self.arms if a.manifest.name == decisive.arm)
        return ", ".join([decisive.verdict, *cost_notes(first, other)])


def cost_notes(first: Arm, other: Arm) -> list[str]:
    """What a verdict adds: what `other` costs beside `first`, and the share of each that was degraded."""
    said = []
    if first.summary.tokens and other.summary.tokens:
        said.append(f"{other.manifest.name} at {other.summary.tokens / first.summary.tokens:.2g}x the tokens")
    said += [f"{a.summary.degraded:.1%} of {a.manifest.name} degraded" for a in (first, other) if a.summary.degraded]
    return said


def compare_runs(
    folders: Sequence[RunFolder], metrics: Sequence[str], rng: np.random.Generator, effect: float | None = None
) -> ABResult:
    """Compare finished runs; the first metric is the decisive one.

    Slices (of at least ten users) are described by the same numbers in the decisive metric, and take no part in the
    adjustment.

    Args:
        metrics: names; empty: all that the runs share.
        effect: the difference that would matter, for "you would need N users".

    Raises:
        UsageError: the runs do not fit each other (`eval.runs.align`), an unknown metric, or fewer than 10 users.
        DataError: a run cannot be read, or a score is no number.
    """
    found = align_runs(folders)
    asked = shared_metrics(found, metrics)
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
    arms = [
        Arm(manifest=f.manifest, summary=summarise(results, f.manifest.catalogue))
        for f, results in zip(folders, found, strict=True)
    ]
    return ABResult(arms=tuple(arms), comparisons=(*comparisons, *sliced))


PairedCases = Sequence[tuple[CaseResult, CaseResult]]
"""The same cases in two runs."""


def _pairs(folders: Sequence[RunFolder], found: Sequence[Sequence[CaseResult]]) -> list[tuple[RunFolder, PairedCases]]:
    return [(f, list(zip(found[0], results, strict=True))) for f, results in zip(folders[1:], found[1:], strict=True)]


def _compared(
    first: RunFolder, other: RunFolder, pair: PairedCases, metric: str, rng: np.random.Generator, part: str = "all"
) -> Comparison:
    pair = [(a, b) for a, b in pair if metric in a.metrics]
    users = [a.user for a, _ in pair]
    before = ArmScores(np.array([a.metrics[metric] for a, _ in pair]), users)
    after = ArmScores(np.array([b.metrics[metric] for _, b in pair]), users)
    difference = compare_paired(before, after, rng)
    said = verdict(difference, metric, arms=(first.manifest.name, other.manifest.name))
    return Comparison(arm=other.manifest.name, metric=metric, slice=part, difference=difference, verdict=said)


def _slices(pair: PairedCases, metric: str) -> list[tuple[str, PairedCases]]:
    """The parts with enough users who have the metric, named "SLICING: PART"."""
    parts: dict[str, list[tuple[CaseResult, CaseResult]]] = {}
    for a, b in (pair_ for pair_ in pair if metric in pair_[0].metrics):
        for name, part in a.slices.items():
            parts.setdefault(f"{name}: {part}", []).append((a, b))
    return [(label, parts[label]) for label in sorted(parts) if len({a.user for a, _ in parts[label]}) >= MIN_USERS]
