"""Calibration of scores. Reads scored tasks, produces how often an item with a score is the liked one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.stats import binomtest

from eval.stats.bootstrap import Floats
from xdrec_agent.rerank import Calibration, standardised

BINS: Final = 20
"""Bins of equal size that the scores are put into before they are made monotone."""


@dataclass(frozen=True)
class ScoredTask:
    """The final scores of one task's candidates, and which of them is the truth."""

    scores: Floats
    truth: int


def calibrate(scored: Sequence[ScoredTask]) -> Calibration:
    """Fit on all tasks; the error is measured on each half of them with what the other half gave (at least 4 tasks)."""
    halves = scored[::2], scored[1::2]
    errors = [expected_error(_fit(fitted, 0.0), tested) for fitted, tested in (halves, halves[::-1])]
    return _fit(scored, float(np.mean(errors)))


def expected_error(calibration: Calibration, scored: Sequence[ScoredTask]) -> float:
    """Expected calibration error: mean distance of confidence and share over ten bins (Naeini et al. 2015)."""
    x, y = _pooled(scored)
    confidence = calibration.of(x)
    bins = np.array_split(np.argsort(confidence, kind="stable"), 10)
    return float(sum(abs(confidence[b].mean() - y[b].mean()) * len(b) for b in bins if len(b)) / len(x))


def _fit(scored: Sequence[ScoredTask], error: float) -> Calibration:
    x, y = _pooled(scored)
    order = np.argsort(x, kind="stable")
    bins = np.array_split(order, min(BINS, len(order)))
    sizes = np.array([len(b) for b in bins])
    found = isotonic_regression([y[b].mean() for b in bins], weights=sizes)
    steps = found.blocks
    starts, ends = steps[:-1], steps[1:]
    total = [int(sizes[a:b].sum()) for a, b in zip(starts, ends, strict=True)]
    liked = [int(sum(y[b].sum() for b in bins[a:e])) for a, e in zip(starts, ends, strict=True)]
    intervals = [binomtest(k, n).proportion_ci(method="wilson") for k, n in zip(liked, total, strict=True)]
    return Calibration(
        candidates=len(scored[0].scores),
        scores=tuple(float(x[bins[a]].min()) for a in starts),
        shares=tuple(k / n for k, n in zip(liked, total, strict=True)),
        lows=tuple(float(interval.low) for interval in intervals),
        error=error,
    )


def _pooled(scored: Sequence[ScoredTask]) -> tuple[Floats, Floats]:
    x = np.concatenate([standardised(s.scores) for s in scored])
    y = np.concatenate([np.arange(len(s.scores)) == s.truth for s in scored]).astype(np.float64)
    return x, y
