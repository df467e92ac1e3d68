"""Intervals for figures over people. Reads one value a case and whose it is, produces estimates with intervals.

Cases of one person are not independent, so people are resampled, never cases: values are summed by person first, and
every estimate is a ratio of two sums over the people.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

RESAMPLES: Final = 10_000
_BATCH: Final = 500
"""Resamples in memory at a time."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A figure with the ends of its 95% interval, and the number of people and cases behind it."""

    value: float
    low: float
    high: float
    people: int
    cases: int

    def __str__(self) -> str:
        return f"[{self.low:.4g}, {self.high:.4g}]"


def mean(values: Floats, users: Sequence[str], rng: np.random.Generator) -> Estimate:
    """Mean over cases; the interval resamples users."""
    return ratio_of_means(values, np.ones_like(values), users, rng)


def ratio_of_means(numerator: Floats, denominator: Floats, users: Sequence[str], rng: np.random.Generator) -> Estimate:
    """Mean of `numerator` over mean of `denominator`, both measured on the same cases (paired); users are resampled.

    Args:
        numerator, denominator: one value a case; the denominator's sum must be positive.
        users: whose case it is.

    Where all people are alike the interval is the figure itself. Otherwise it is the bias-corrected and accelerated
    bootstrap (Efron 1987).
    """
    _, person = np.unique(np.asarray(users), return_inverse=True)
    above = np.bincount(person, numerator).astype(np.float64)
    below = np.bincount(person, denominator).astype(np.float64)
    value = float(_ratio(above, below))
    if len(above) == 1 or np.allclose(above, value * below, rtol=1e-9, atol=1e-12):
        # Resampling people who are all alike gives the same figure again and again.
        return Estimate(value, value, value, len(above), len(numerator))
    drawn = bootstrap(
        (above, below),
        _ratio,
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=_BATCH,
        method="BCa",
        rng=rng,
    )
    low, high = drawn.confidence_interval
    return Estimate(value, float(low), float(high), len(above), len(numerator))


def _ratio(above: Floats, below: Floats, axis: int = -1) -> Floats:
    return np.asarray(above.sum(axis=axis) / below.sum(axis=axis))
