"""Is a verdict of these runs what it promises? Reads run folders, produces A/A simulations by metric."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eval.data import Say
from eval.runs import CaseResult, RunFolder, align_runs, shared_metrics
from eval.stats import Validity, simulate_aa
from eval.stats.bootstrap import Floats
from eval.systems import ProgressLines
from retrieval.types import Frozen


class MetricValidity(Frozen):
    """The simulation of a metric."""

    metric: str
    found: Validity


class ValidityResult(Frozen):
    """The simulations of all metrics; `holds`: no bound is missed."""

    version: int = 1
    runs: tuple[str, ...]
    batch: int
    seed: int
    metrics: tuple[MetricValidity, ...]
    holds: bool

    @property
    def verdict(self) -> str:
        """In a sentence: every bound that is missed, or that all hold."""
        missed = [f"{one.metric}: {said}" for one in self.metrics for said in one.found.missed]
        if missed:
            return f"a bound is missed: {'; '.join(missed)}"
        comparisons = self.metrics[0].found.comparisons
        return (
            f"verdicts hold what they promise: in {comparisons:,} comparisons without a difference no bound is missed"
        )


def simulate_runs(
    folders: Sequence[RunFolder],
    metrics: Sequence[str],
    seed: int,
    say: Say,
    *,
    comparisons: int,
    users: int | None = None,
    batch: int = 25,
) -> ValidityResult:
    """Simulate A/A comparisons on the per-user scores of runs, which are each user's replicates.

    Args:
        metrics: names, in [0, 1]; empty: the first that the runs share.
        users: in each comparison; None: as many as the runs have.
        batch: users between two looks.

    Raises:
        UsageError: one run, runs that do not fit each other, an unknown metric, or fewer than 10 users.
        DataError: a run cannot be read, or a score is NaN or outside [0, 1].
    """
    found = align_runs(folders)
    asked = shared_metrics(found, metrics)
    rows = []
    for metric in asked if metrics else asked[:1]:
        progress = ProgressLines(metric, comparisons, say, unit="comparisons")
        scores = replicates(found, metric)
        simulated = simulate_aa(
            scores,
            np.random.default_rng(seed),
            comparisons=comparisons,
            users=users,
            batch=batch,
            done=progress.one_more,
        )
        rows.append(MetricValidity(metric=metric, found=simulated))
    return ValidityResult(
        runs=tuple(folder.manifest.name for folder in folders),
        batch=batch,
        seed=seed,
        metrics=tuple(rows),
        holds=not any(row.found.missed for row in rows),
    )


def replicates(found: Sequence[Sequence[CaseResult]], metric: str) -> Floats:
    """Users x runs: each user's mean of the metric over their cases."""
    columns = []
    for results in found:
        scores: dict[str, list[float]] = {}
        for result in results:
            if metric in result.metrics:
                scores.setdefault(result.user, []).append(result.metrics[metric])
        columns.append([np.mean(scores[user]) for user in sorted(scores)])
    return np.array(columns, dtype=np.float64).T
