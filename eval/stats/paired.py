"""Paired comparison of two arms. Reads one value per case and arm, produces the numbers of a verdict.

Cases of one user are not independent, so they are averaged by user first; users are the units of everything here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
from pydantic import FiniteFloat
from scipy.optimize import brentq
from scipy.stats import monte_carlo_test, permutation_test

from eval.stats.bootstrap import BATCH, Floats, bootstrap_interval
from eval.stats.difference import ALPHA, MIN_USERS, POWER, Difference, detectable_effect
from retrieval.errors import DataError, UsageError, optional_packages

FLIPS: Final = 9_999
"""Random sign flips of the p-value; with the observed one 10,000, so that the smallest p is .0002 (two sided)."""
_DIGITS: Final = 12
"""Decimals that count; what differs by less is noise of floating point, and would break ties."""


@dataclass(frozen=True)
class ArmScores:
    """One arm's metric on each case, and whose case it is; both arms list the same cases in the same order."""

    values: Floats
    users: Sequence[str]


class PairedDifference(Difference):
    """The mean of B - A over users.

    Attributes:
        users: number of users, at least 10.
        low, high: None if all users differ by the same amount.
        p_value: of the sign-flip test.
        deviation: standard deviation of the differences between users (n - 1).
        dz: Cohen's dz, mean / deviation; None if the deviation is 0.
        better, equal, worse: shares of the users for whom B scores higher, the same, lower; they add up to 1.
    """

    users: int
    dz: FiniteFloat | None
    better: FiniteFloat
    equal: FiniteFloat
    worse: FiniteFloat

    no_difference: ClassVar[str] = "no user's {metric} differs between {a} and {b}"
    no_interval: ClassVar[str] = " (the same for every user)"

    @property
    def sizes(self) -> tuple[int, ...]:
        """The users."""
        return (self.users,)

    @property
    def constant(self) -> bool:
        """Whether all users differ by the same amount, so that there is no spread to judge by."""
        return self.deviation == 0

    def users_needed(self, effect: float) -> int:
        """As `Difference.users_needed`, of a paired t-test."""
        return users_needed(effect, self.deviation)


def compare_paired(a: ArmScores, b: ArmScores, rng: np.random.Generator) -> PairedDifference:
    """The paired difference B - A.

    Raises:
        UsageError: the arms were not run on the same cases, or on fewer than 10 users.
        DataError: a score is NaN or infinite.
    """
    _check(a, b)
    _, user = np.unique(np.asarray(a.users), return_inverse=True)
    return compare_differences(np.bincount(user, b.values - a.values) / np.bincount(user), rng)


def compare_differences(differences: Floats, rng: np.random.Generator) -> PairedDifference:
    """The same from one difference (B - A) a user.

    Raises:
        UsageError: fewer than 10 users.
        DataError: a difference is NaN or infinite.
    """
    if len(differences) < MIN_USERS:
        hint = f"run both arms on at least {MIN_USERS} users"
        raise UsageError(f"{len(differences)} users are too few to compare arms", hint=hint)
    if not np.isfinite(differences).all():
        raise DataError("a score is NaN or infinite", hint="look for the metric in the per-user results of both arms")
    steady = np.round(differences, _DIGITS)
    constant = bool((steady == steady[0]).all())
    mean, deviation = float(steady.mean()), 0.0 if constant else float(steady.std(ddof=1))
    low, high = (None, None) if constant else mean_interval(steady, rng)
    return PairedDifference(
        users=len(steady),
        mean=mean,
        low=low,
        high=high,
        p_value=sign_flip_p(steady, rng),
        deviation=deviation,
        dz=None if constant else mean / deviation,
        better=float((steady > 0).mean()),
        equal=float((steady == 0).mean()),
        worse=float((steady < 0).mean()),
        differing=int(np.count_nonzero(steady)),
        detectable=None if constant else detectable(len(steady)) * deviation,
    )


def mean_interval(differences: Floats, rng: np.random.Generator) -> tuple[float, float]:
    """95% interval of the mean over users, who must not all have the same difference (BCa bootstrap)."""
    return bootstrap_interval((differences,), np.mean, rng)


def sign_flip_p(differences: Floats, rng: np.random.Generator, flips: int = FLIPS) -> float | None:
    """Two-sided p-value of the randomisation test that flips the sign of each user's difference (Fisher 1935).

    Users without a difference do not change the sum and are left out. Up to 13 differing users all flips are
    enumerated (scipy's permutation_test, the observed one is among them); beyond, `flips` are drawn, and the observed
    one is counted in (the "+1" of Phipson and Smyth 2010, in scipy's monte_carlo_test). permutation_test draws the
    same distribution but takes twenty times as long. None if no user differs.
    """
    moved = differences[differences != 0]
    if len(moved) == 0:
        return None
    if len(moved) == 1:
        return 1.0  # both flips are equally far from 0; scipy refuses a single value
    if 2 ** len(moved) <= flips:
        kind = "samples"
        exact = permutation_test((moved,), _total, permutation_type=kind, vectorized=True, n_resamples=flips, rng=rng)
        return float(exact.pvalue)

    def flipped(size: tuple[int, ...]) -> Floats:
        return np.asarray(moved * (1 - 2 * rng.integers(0, 2, size, dtype=np.int8)))

    drawn = monte_carlo_test(moved, flipped, _total, vectorized=True, n_resamples=flips, batch=BATCH)
    return float(drawn.pvalue)


def _total(values: Floats, axis: int = -1) -> Floats:
    # Sums that are equal on paper must tie whatever the order of their terms.
    return np.asarray(np.round(values.sum(axis=axis), _DIGITS - 2))


def detectable(users: int) -> float:
    """Smallest effect, in standard deviations of the difference, that a paired t-test of `users` (10 or more) sees
    with 80% power at alpha .05, two sided.
    """
    return detectable_effect(lambda size: _power(size, users), 1 / math.sqrt(users))


def users_needed(effect: float, deviation: float) -> int:
    """Users that a paired t-test needs to see `effect` with 80% power at alpha .05, two sided; at least 10.

    Args:
        effect: mean difference of interest, in units of the metric; not 0.
        deviation: standard deviation of the differences between users, above 0.

    Raises:
        UsageError: an effect of 0 (no sample can see it), or no deviation to plan with.
    """
    if not (math.isfinite(effect) and effect != 0 and deviation > 0):
        hint = "name an effect above 0, and plan from a run in which some users differ"
        raise UsageError(f"no sample size for an effect of {effect} at a deviation of {deviation}", hint=hint)
    size = abs(effect) / deviation
    if size >= detectable(MIN_USERS):
        return MIN_USERS
    return math.ceil(float(brentq(lambda users: _power(size, users) - POWER, (2 / size) ** 2, (4 / size) ** 2)))


def _power(size: float, users: float) -> float:
    # statsmodels' own solve_power fails to bracket some effects and then returns an array with a deprecation warning.
    with optional_packages("the power of a comparison", "eval"):
        from statsmodels.stats.power import TTestPower

    return float(TTestPower().power(size, users, ALPHA))


def _check(a: ArmScores, b: ArmScores) -> None:
    hint = "run both arms on the same users and cases (same data, split, seed and number of users)"
    lost = sorted(set(a.users) ^ set(b.users))
    if lost:
        raise UsageError(f"the arms have different users: {len(lost)} are in only one, first {lost[0]!r}", hint=hint)
    if list(a.users) != list(b.users):
        raise UsageError("the arms have the same users but not the same cases in the same order", hint=hint)
    for arm, scores in (("A", a), ("B", b)):
        if scores.values.shape != (len(scores.users),):
            raise UsageError(f"arm {arm} has not one value a case: {scores.values.shape}", hint=hint)
        for index in np.flatnonzero(~np.isfinite(scores.values))[:1]:
            hint = "look for the metric in the per-user results of this arm"
            raise DataError(f"arm {arm} scores {scores.values[index]} for user {scores.users[index]!r}", hint=hint)
