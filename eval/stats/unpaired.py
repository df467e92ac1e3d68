"""Comparison of two groups of users. Reads one value a user of each, produces the numbers of a verdict and a sentence.

Online a user is in one arm only, so nothing is paired: the groups are independent samples, of sizes that may differ.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import FiniteFloat
from scipy.optimize import brentq
from scipy.stats import bootstrap, monte_carlo_test

from eval.stats.optional_dependencies import optional_packages
from eval.stats.paired import ALPHA, FEW, MIN_USERS, POWER, RESAMPLES, decimals_for, number_text, p_text
from retrieval.errors import DataError, UsageError
from retrieval.types import Frozen

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

Floats = NDArray[np.float64]


class UnpairedDifference(Frozen):
    """B - A, of means over the users of each arm. None stands for what these users cannot tell; nothing is ever NaN.

    Attributes:
        users: how many are in A and in B, at least 10 each.
        means: of A and of B.
        low, high: ends of the 95% bootstrap interval of the difference (BCa, users resampled within their arm); None
            if neither arm has any spread.
        p_value: two-sided, of the permutation test; None if all users have the same value.
        deviation: that of a user, such that the standard error is that of Welch's test at these sizes.
        differing: users whose value is not the commonest one.
        detectable: smallest difference seen with 80% power at alpha .05; None if the deviation is 0.
    """

    users: tuple[int, int]
    means: tuple[FiniteFloat, FiniteFloat]
    low: FiniteFloat | None
    high: FiniteFloat | None
    p_value: FiniteFloat | None
    deviation: FiniteFloat
    differing: int
    detectable: FiniteFloat | None

    @property
    def mean(self) -> float:
        """The difference."""
        return self.means[1] - self.means[0]

    @property
    def few_differ(self) -> bool:
        """Whether so few users differ from the rest that the interval is too short to be trusted."""
        return self.differing < FEW


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
    deviation = float(np.sqrt(_variance(a, b) / (1 / len(a) + 1 / len(b))))
    return UnpairedDifference(
        users=(len(a), len(b)),
        means=(float(a.mean()), float(b.mean())),
        low=low,
        high=high,
        p_value=permutation_p(a, b, rng) if np.ptp(both) > 0 else None,
        deviation=deviation,
        differing=len(both) - int(np.unique(both, return_counts=True)[1].max()),
        detectable=_detectable(len(a), len(b)) * deviation if spread else None,
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


def users_needed(effect: float, difference: UnpairedDifference) -> int:
    """Users of both arms together, shared out as these are, that see `effect` with 80% power at alpha .05, two sided.

    Args:
        effect: difference of interest, in units of the outcome; above 0.

    Raises:
        UsageError: an effect of 0, or users without spread: nothing to plan with.
    """
    if not (math.isfinite(effect) and effect > 0 and difference.deviation > 0):
        raise UsageError(f"no sample size for an effect of {effect}", hint="name one above 0, and wait for outcomes")
    size, ratio = effect / difference.deviation, difference.users[1] / difference.users[0]
    least = MIN_USERS / min(1.0, ratio)

    def lacking(first: float) -> float:
        return _power(size, first, ratio) - POWER

    most = (4 / size) ** 2 * (1 + 1 / ratio)
    first = least if lacking(least) >= 0 else float(brentq(lacking, least, max(most, 2 * least)))
    return math.ceil(first) + math.ceil(first * ratio)


def verdict(
    difference: UnpairedDifference,
    outcome: str,
    arms: tuple[str, str],
    *,
    adjusted: float | None = None,
    effect: float | None = None,
) -> str:
    """One sentence; "beats" takes higher for better.

    Args:
        arms: what A and B are called.
        adjusted: the p-value after Holm, if several were tested; the verdict then follows it.
        effect: the difference that would matter, in units of the outcome; None names what these users could see.
    """
    (a, b), tail = arms, "n = " + " + ".join(f"{n:,}" for n in difference.users)
    if difference.p_value is None:
        return f"cannot tell: all users have the same {outcome}, {tail}"
    if difference.few_differ:
        tail += f", of whom only {difference.differing} differ from the rest"
    p = difference.p_value if adjusted is None else adjusted
    tail = f"{p_text(p)}{'' if adjusted is None else ' after Holm'}, {tail}"
    low, high = difference.low, difference.high
    decimals = decimals_for(difference.mean if low is None or high is None else high - low)
    ahead, behind = (b, a) if difference.mean > 0 else (a, b)
    if p > ALPHA:
        found = f"{b} - {a} = {number_text(difference.mean, decimals)} {outcome}{_ends(low, high, decimals)}, {tail}"
        return f"cannot tell at this n: {found}; {_wanted(difference, effect)}"
    if difference.mean < 0 and low is not None and high is not None:
        low, high = -high, -low
    found = f"{number_text(abs(difference.mean), decimals)} {outcome}{_ends(low, high, decimals)}"
    return f"{ahead} beats {behind} by {found}, {tail}"


def _wanted(difference: UnpairedDifference, effect: float | None) -> str:
    if difference.detectable is None or difference.few_differ:
        return f"fewer than {FEW} users who differ from the rest are too few to plan with"
    if effect is None:
        return f"these users could show {number_text(difference.detectable, decimals_for(difference.detectable))}"
    wanted = number_text(effect, decimals_for(effect))
    if difference.low is not None and difference.high is not None and max(-difference.low, difference.high) < effect:
        return f"a difference of {wanted} is ruled out"
    needed = users_needed(effect, difference)
    enough = needed <= sum(difference.users)
    return (
        f"{needed:,} users are enough to see {wanted}" if enough else f"you would need {needed:,} users to see {wanted}"
    )


def _ends(low: float | None, high: float | None, decimals: int) -> str:
    if low is None or high is None:
        return ""
    return f" [{number_text(low, decimals)}, {number_text(high, decimals)}]"


def _interval(a: Floats, b: Floats, rng: np.random.Generator) -> tuple[float, float]:
    users = len(a) + len(b)
    drawn = bootstrap(
        (a, b),
        _difference,
        n_resamples=RESAMPLES,
        batch=max(1, _MEMORY // users),
        vectorized=True,
        method="BCa" if users <= JACKKNIFE else "percentile",
        rng=rng,
    )
    low, high = drawn.confidence_interval
    return float(low), float(high)


def _difference(a: Floats, b: Floats, axis: int = -1) -> Floats:
    return np.asarray(b.mean(axis=axis) - a.mean(axis=axis))


def _variance(a: Floats, b: Floats) -> Floats:
    """Of the difference of the means."""
    return np.asarray(a.var(axis=-1, ddof=1) / a.shape[-1] + b.var(axis=-1, ddof=1) / b.shape[-1])


def _welch(a: Floats, b: Floats) -> Floats:
    found = _difference(a, b) / np.maximum(np.sqrt(_variance(a, b)), _FLOOR)
    # Assignments that are equal on paper must tie whatever the order of their terms.
    return np.asarray(np.round(found, _DIGITS))


def _detectable(first: int, second: int) -> float:
    """Smallest effect, in standard deviations, that a t-test of groups of these sizes sees with 80% power."""
    error = math.sqrt(1 / first + 1 / second)
    return float(brentq(lambda size: _power(size, first, second / first) - POWER, 2 * error, 4 * error))


def _power(size: float, first: float, ratio: float) -> float:
    with optional_packages("the power of a comparison"):
        from statsmodels.stats.power import TTestIndPower

    return float(TTestIndPower().power(size, first, ALPHA, ratio=ratio))
