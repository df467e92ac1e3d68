"""Comparison of two groups of users. Reads one value a user of each, produces the numbers of a verdict.

Online a user is in one arm only, so nothing is paired: the groups are independent samples, of sizes that may differ.
"""

from __future__ import annotations

import math
from typing import ClassVar, Final, Literal

import numpy as np
from pydantic import FiniteFloat
from scipy.optimize import brentq
from scipy.stats import monte_carlo_test

from eval.stats.bootstrap import Floats, bootstrap_interval
from eval.stats.difference import ALPHA, MIN_USERS, POWER, Difference, detectable_effect
from retrieval.errors import DataError, UsageError, optional_packages

DRAWS: Final = 9_999
"""Random assignments of the p-value; with the observed one 10,000."""
JACKKNIFE: Final = 5_000
"""Most users for whom the interval is corrected by the jackknife, which takes their square; beyond, the correction of a
mean (of the order of one over the root of the users) is below what is shown."""
_MEMORY: Final = 5_000_000
"""Values of resamples in memory at a time."""
_FLOOR: Final = 1e-9
"""Least standard error: groups without spread have a finite statistic."""
_DIGITS: Final = 9


class UnpairedDifference(Difference):
    """The difference of the means of two groups of users.

    Attributes:
        users: how many are in A and in B, at least 10 each.
        means: of A and of B.
        low, high: BCa bootstrap, users resampled within their arm; None if neither arm has any spread.
        p_value: of the permutation test; None if all users have the same value.
        deviation: that of a user, such that the standard error is that of Welch's test at these sizes.
        differing: users whose value is not the commonest one.
    """

    users: tuple[int, int]
    means: tuple[FiniteFloat, FiniteFloat]

    no_difference: ClassVar[str] = "all users have the same {metric}"
    differ: ClassVar[str] = "differ from the rest"

    @property
    def sizes(self) -> tuple[int, ...]:
        """The users of each group."""
        return self.users

    def users_needed(self, effect: float) -> int:
        """As `Difference.users_needed`: of both arms together, shared out as these are, by a t-test."""
        if not (math.isfinite(effect) and effect > 0 and self.deviation > 0):
            raise UsageError(
                f"no sample size for an effect of {effect}", hint="name one above 0, and wait for outcomes"
            )
        size, ratio = effect / self.deviation, self.users[1] / self.users[0]
        least = MIN_USERS / min(1.0, ratio)

        def lacking(first: float) -> float:
            return _power(size, first, ratio) - POWER

        most = (4 / size) ** 2 * (1 + 1 / ratio)
        first = least if lacking(least) >= 0 else float(brentq(lacking, least, max(most, 2 * least)))
        return math.ceil(first) + math.ceil(first * ratio)


def compare_unpaired(a: Floats, b: Floats, rng: np.random.Generator) -> UnpairedDifference:
    """The difference of the means of two independent groups, one value a user.

    Raises:
        UsageError: fewer than 10 users in one of them.
        DataError: a value is NaN or infinite.
    """
    if min(len(a), len(b)) < MIN_USERS:
        hint = f"wait until each arm has at least {MIN_USERS} users"
        raise UsageError(f"{min(len(a), len(b))} users are too few to compare arms", hint=hint)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise DataError("a user's value is NaN or infinite", hint="look at the log's answers and events")
    both = np.concatenate([a, b])
    spread = np.ptp(a) > 0 or np.ptp(b) > 0
    low, high = _interval(a, b, rng) if spread else (None, None)
    error = math.sqrt(1 / len(a) + 1 / len(b))
    deviation = float(np.sqrt(_variance(a, b))) / error
    ratio = len(b) / len(a)
    return UnpairedDifference(
        users=(len(a), len(b)),
        means=(float(a.mean()), float(b.mean())),
        mean=float(b.mean() - a.mean()),
        low=low,
        high=high,
        p_value=permutation_p(a, b, rng) if np.ptp(both) > 0 else None,
        deviation=deviation,
        differing=len(both) - int(np.unique(both, return_counts=True)[1].max()),
        detectable=detectable_effect(lambda size: _power(size, len(a), ratio), error) * deviation if spread else None,
    )


def permutation_p(a: Floats, b: Floats, rng: np.random.Generator, draws: int = DRAWS) -> float:
    """Two-sided p-value of the test that assigns the users to the arms anew, `draws` times, the assignment that was
    counted in (the "+1" of Phipson and Smyth 2010, in scipy's monte_carlo_test; its permutation_test draws the same
    distribution, permutation by permutation, and takes many times as long).

    The statistic is Welch's: the difference over its standard error. Exact where the arms are the same for everybody,
    and valid for large groups of different spread and size, which the plain difference is not (Janssen 1997; Chung and
    Romano 2013).
    """
    both = np.concatenate([a, b])

    def assigned(size: tuple[int, ...]) -> Floats:
        return rng.permuted(np.broadcast_to(both, size), axis=-1)

    def statistic(values: Floats, axis: int = -1) -> Floats:
        first, second = np.split(np.moveaxis(values, axis, -1), [len(a)], axis=-1)
        return _welch(first, second)

    batch = max(1, _MEMORY // len(both))
    found = monte_carlo_test(both, assigned, statistic, vectorized=True, n_resamples=draws, batch=batch)
    return float(found.pvalue)


def _interval(a: Floats, b: Floats, rng: np.random.Generator) -> tuple[float, float]:
    users = len(a) + len(b)
    method: Literal["BCa", "percentile"] = "BCa" if users <= JACKKNIFE else "percentile"
    return bootstrap_interval((a, b), _difference, rng, batch=max(1, _MEMORY // users), method=method)


def _difference(a: Floats, b: Floats, axis: int = -1) -> Floats:
    return np.asarray(b.mean(axis=axis) - a.mean(axis=axis))


def _variance(a: Floats, b: Floats) -> Floats:
    """Of the difference of the means."""
    return np.asarray(a.var(axis=-1, ddof=1) / a.shape[-1] + b.var(axis=-1, ddof=1) / b.shape[-1])


def _welch(a: Floats, b: Floats) -> Floats:
    found = _difference(a, b) / np.maximum(np.sqrt(_variance(a, b)), _FLOOR)
    # Assignments that are equal on paper must tie whatever the order of their terms.
    return np.asarray(np.round(found, _DIGITS))


def _power(size: float, first: float, ratio: float) -> float:
    with optional_packages("the power of a comparison", "eval"):
        from statsmodels.stats.power import TTestIndPower

    return float(TTestIndPower().power(size, first, ALPHA, ratio=ratio))
