"""Is a verdict of these runs what it promises? Reads run folders, produces A/A simulations by metric and their page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from pydantic import FiniteFloat
from scipy.stats import binomtest

from eval.data import Say
from eval.report.page import NOTHING, Cell, Page, Plot, Sheet, plain
from eval.report.plots import Effect, State, forest
from eval.runs import CaseResult, RunFolder, matched, shared_metrics
from eval.stats import COVERAGE, ENOUGH, LEAST_ALARMS, MOST_ALARMS, MOST_SEQUENTIAL, Validity, simulate_aa
from eval.stats.aa_simulation import Values
from eval.systems import Progress
from retrieval.types import Frozen

_READING: Final = (
    "Each comparison draws users with replacement and gives each of them two of their real scores, in random order, as "
    "A and B: the true difference is 0 and the users are as they are. False alarms: p of .05 or less. Coverage: "
    "intervals that hold 0. Peeking: the confidence sequence left out 0 at one of the looks after every batch. Real "
    "coverage: intervals that hold the true mean where users are drawn from the real differences of the first two runs."
)


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
    found = matched(folders)
    asked = shared_metrics(found, metrics)
    rows = []
    for metric in asked if metrics else asked[:1]:
        progress = Progress(metric, comparisons, say, unit="comparisons")
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


def replicates(found: Sequence[Sequence[CaseResult]], metric: str) -> Values:
    """Users x runs: each user's mean of the metric over their cases."""
    columns = []
    for results in found:
        scores: dict[str, list[float]] = {}
        for result in results:
            if metric in result.metrics:
                scores.setdefault(result.user, []).append(result.metrics[metric])
        columns.append([np.mean(scores[user]) for user in sorted(scores)])
    return np.array(columns, dtype=np.float64).T


def page_of(result: ValidityResult) -> Page:
    """The report."""
    words = [f"--metric '{plain(one.metric)}'" for one in result.metrics]
    return Page(
        title="Validity",
        verdict=plain(result.verdict),
        state="better" if result.holds else "worse",
        facts={
            "runs": ", ".join(map(plain, result.runs)),
            "comparisons": f"{result.metrics[0].found.comparisons:,}",
            "users between two looks": str(result.batch),
        },
        notes=tuple(
            f"{plain(one.metric)}: {one.found.differing:.0f} users differ, fewer than {ENOUGH}: too few to hold "
            "coverage and the least number of alarms to their bounds."
            for one in result.metrics
            if not one.found.enough
        ),
        plots=(_plot(result),),
        sheets=(_table(result),),
        reading=_READING,
        command=" ".join(["xdrec-eval validity RUN-FOLDER…", *words, f"--seed {result.seed}"]),
        source="with the run folders in this order",
        json=result.model_dump_json(indent=2),
    )


def _table(result: ValidityResult) -> Sheet:
    columns = (
        "metric",
        "users",
        "differing",
        f"false alarms ({LEAST_ALARMS:.1%} to {MOST_ALARMS:.1%})",
        f"coverage ({COVERAGE[0]:.1%} to {COVERAGE[1]:.1%})",
        f"peeking (≤ {MOST_SEQUENTIAL:.0%})",
        "real coverage",
        "bounds",
    )
    return Sheet("Comparisons without a difference", columns, tuple(_row(one) for one in result.metrics))


def _row(one: MetricValidity) -> tuple[Cell, ...]:
    found, name = one.found, plain(one.metric)
    held = "missed" if found.missed else "held" if found.enough else "held; few differ"
    return (
        Cell(name, name),
        Cell(f"{found.users:,}", float(found.users)),
        Cell(f"{found.differing:,.0f}", found.differing),
        _rate(found.false_alarms),
        _rate(found.coverage),
        _rate(found.sequential),
        _rate(found.real_coverage),
        Cell(held, held),
    )


def _rate(rate: FiniteFloat | None) -> Cell:
    return Cell(NOTHING) if rate is None else Cell(f"{rate:.1%}", rate)


def _plot(result: ValidityResult) -> Plot:
    effects = []
    for one in result.metrics:
        found, state = one.found, _state(one.found)
        rates = {
            "false alarms over 5%": (found.false_alarms, 0.05),
            "intervals that miss 0, over 5%": (None if found.coverage is None else 1 - found.coverage, 0.05),
            "false alarms with peeking, over 5%": (found.sequential, 0.05),
        }
        for label, (rate, level) in rates.items():
            if rate is not None:
                low, high = _ends(rate, found.comparisons)
                group = plain(one.metric) if len(result.metrics) > 1 else ""
                text = f"{rate:.1%} [{low:.1%}, {high:.1%}]"
                effects.append(
                    Effect(label, text, rate - level, low - level, high - level, state, not found.enough, group)
                )
    said = (
        "How far each rate lies from its level, with the interval that so many comparisons leave. Right of zero a "
        "verdict is too daring, left of it too careful; the sequential one is careful, as it may be looked at often."
    )
    told = plain(result.verdict)
    return Plot("Rates", said, forest(effects, f"Rates and their levels. {told}", ("too careful", "too daring")))


def _ends(rate: float, comparisons: int) -> tuple[float, float]:
    """95% interval of a share of simulated comparisons (Clopper and Pearson 1934)."""
    found = binomtest(round(rate * comparisons), comparisons).proportion_ci(0.95)
    return float(found.low), float(found.high)


def _state(found: Validity) -> State:
    return "worse" if found.missed else "better" if found.enough else "open"
