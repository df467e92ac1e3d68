"""Intervals for figures over users. Reads one value a case and whose it is, produces estimates with intervals.

Cases of one user are not independent, so users are resampled, never cases: values are summed by user first, and every
estimate is a ratio of two sums over the users.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RESAMPLES: Final = 10_000
BATCH: Final = 500
"""Resamples in memory at a time."""


@dataclass(frozen=True)
class Estimate:
    """A figure with the ends of its 95% interval, and the number of users and cases behind it."""

    value: float
    low: float
    high: float
    users: int
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

    Where all users are alike the interval is the figure itself.
    """
    _, user = np.unique(np.asarray(users), return_inverse=True)
    above = np.bincount(user, numerator).astype(np.float64)
    below = np.bincount(user, denominator).astype(np.float64)
    value = float(_ratio(above, below))
    if len(above) == 1 or np.allclose(above, value * below, rtol=1e-9, atol=1e-12):
        # Resampling users who are all alike gives the same figure again and again.
        return Estimate(value, value, value, len(above), len(numerator))
    low, high = bootstrap_interval((above, below), _ratio, rng, paired=True)
    return Estimate(value, low, high, len(above), len(numerator))


def bootstrap_interval(
    samples: tuple[Floats, ...],
    statistic: Callable[..., Floats],
    rng: np.random.Generator,
    *,
    paired: bool = False,
    batch: int = BATCH,
    method: Literal["BCa", "percentile"] = "BCa",
) -> tuple[float, float]:
    """95% interval of a statistic of samples: by default the bias-corrected and accelerated bootstrap (Efron 1987)."""
    from scipy.stats import bootstrap

    resampling = {"n_resamples": RESAMPLES, "batch": batch, "method": method, "rng": rng}
    drawn = bootstrap(samples, statistic, paired=paired, vectorized=True, **resampling)
    low, high = drawn.confidence_interval
    return float(low), float(high)


def _ratio(above: Floats, below: Floats, axis: int = -1) -> Floats:
    return np.asarray(above.sum(axis=axis) / below.sum(axis=axis))
