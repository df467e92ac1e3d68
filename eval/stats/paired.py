"""Paired comparison of two arms. Reads one value per case and arm, produces the numbers of a verdict and its sentence.

Cases of one user are not independent, so they are averaged by user first; users are the units of everything here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import FiniteFloat
from scipy.optimize import brentq
from scipy.stats import bootstrap, monte_carlo_test, permutation_test

from eval.stats.optional_dependencies import optional_packages
from retrieval.errors import DataError, UsageError
from retrieval.types import Frozen

RESAMPLES: Final = 10_000
"""Bootstrap resamples of the interval."""
FLIPS: Final = 9_999
"""Random sign flips of the p-value; with the observed one 10,000, so that the smallest p is .0002 (two sided)."""
MIN_USERS: Final = 10
FEW: Final = 50
"""With fewer differing users the interval is too short: simulated 95% intervals of nDCG-like differences (300 users)
covered 80% where 5 users differed, 83% at 10, 89% at 20, 92% at 30, 93% at 50, 94% at 100."""
ALPHA: Final = 0.05
POWER: Final = 0.8
_BATCH: Final = 500
"""Resamples in memory at a time."""
_DIGITS: Final = 12
"""Decimals that count; what differs by less is noise of floating point, and would break ties."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ArmScores:
    """One arm's metric on each case, and whose case it is; both arms list the same cases in the same order."""

    values: Floats
    users: Sequence[str]


class PairedDifference(Frozen):
    """B - A over users, in units of the metric. None stands for what this sample cannot tell; nothing is ever NaN.

    Attributes:
        users: number of users, at least 10.
        mean: mean difference.
        low, high: ends of the 95% bootstrap interval (BCa); None if all users differ by the same amount.
        p_value: two-sided sign-flip p-value in (0, 1]; None if no user differs.
        deviation: standard deviation of the differences between users (n - 1).
        dz: Cohen's dz, mean / deviation; None if the deviation is 0.
        better, equal, worse: shares of the users for whom B scores higher, the same, lower; they add up to 1.
        differing: number of users whose scores differ.
        detectable: smallest effect seen with 80% power at alpha .05; None if the deviation is 0.
    """

    users: int
    mean: FiniteFloat
    low: FiniteFloat | None
    high: FiniteFloat | None
    p_value: FiniteFloat | None
    deviation: FiniteFloat
    dz: FiniteFloat | None
    better: FiniteFloat
    equal: FiniteFloat
    worse: FiniteFloat
    differing: int
    detectable: FiniteFloat | None

    @property
    def few_differ(self) -> bool:
        """Whether so few users differ that the interval is too short to be trusted (see `FEW`)."""
        return self.differing < FEW

    @property
    def constant(self) -> bool:
        """Whether all users differ by the same amount, so that there is no spread to judge by."""
        return self.deviation == 0


def compare_paired(a: ArmScores, b: ArmScores, rng: np.random.Generator) -> PairedDifference:
    """The paired difference B - A.

    Raises:
        UsageError: the arms were not run on the same cases, or on fewer than 10 users.
        DataError: a score is NaN or infinite.
    """
    _check(a, b)
    _, person = np.unique(np.asarray(a.users), return_inverse=True)
    return compare_differences(np.bincount(person, b.values - a.values) / np.bincount(person), rng)


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
    low, high = (None, None) if constant else interval(steady, rng)
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


def interval(differences: Floats, rng: np.random.Generator) -> tuple[float, float]:
    """95% interval of the mean: bias-corrected and accelerated bootstrap (Efron 1987) over users, who must not all
    have the same difference.
    """
    drawn = bootstrap((differences,), np.mean, n_resamples=RESAMPLES, batch=_BATCH, method="BCa", rng=rng)
    low, high = drawn.confidence_interval
    return float(low), float(high)


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

    drawn = monte_carlo_test(moved, flipped, _total, vectorized=True, n_resamples=flips, batch=_BATCH)
    return float(drawn.pvalue)


def _total(values: Floats, axis: int = -1) -> Floats:
    # Sums that are equal on paper must tie whatever the order of their terms.
    return np.asarray(np.round(values.sum(axis=axis), _DIGITS - 2))


def detectable(users: int) -> float:
    """Smallest effect, in standard deviations of the difference, that a paired t-test of `users` (10 or more) sees
    with 80% power at alpha .05, two sided.
    """
    # Between these the power rises from about .5 to .95.
    return float(brentq(lambda size: _power(size, users) - POWER, 2 / math.sqrt(users), 4 / math.sqrt(users)))


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
    with optional_packages("the power of a comparison"):
        from statsmodels.stats.power import TTestPower

    return float(TTestPower().power(size, users, ALPHA))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p-values adjusted for being several (Holm 1979), in the given order; None (no test) stays None, uncounted."""
    tested = [p for p in p_values if p is not None]
    if not tested:
        return list(p_values)
    with optional_packages("the adjustment by Holm"):
        from statsmodels.stats.multitest import multipletests

    adjusted = iter(multipletests(tested, method="holm")[1])
    return [None if p is None else float(next(adjusted)) for p in p_values]


def verdict(
    difference: PairedDifference,
    metric: str,
    *,
    arms: tuple[str, str] = ("A", "B"),
    adjusted: float | None = None,
    effect: float | None = None,
) -> str:
    """One sentence. "Beats" takes higher for better: negate the scores of a metric for which it is not.

    Args:
        arms: what A and B are called.
        adjusted: the p-value after Holm, if several were tested; the verdict then follows it.
        effect: the difference that would matter, in units of the metric; None names what the sample could see.
    """
    a, b = arms
    tail = f"n = {difference.users:,}"
    if difference.p_value is None:
        return f"cannot tell: no user's {metric} differs between {a} and {b}, {tail}"
    p = difference.p_value if adjusted is None else adjusted
    if difference.few_differ:
        tail += f", of whom only {difference.differing} differ"
    tail = f"{p_text(p)}{'' if adjusted is None else ' after Holm'}, {tail}"
    write = number_writer(difference)
    if p > ALPHA:
        found = f"{b} - {a} = {write(difference.mean)} {metric}{_ends(difference, write)}, {tail}"
        return f"cannot tell at this n: {found}; {_wanted(difference, effect)}"
    ahead, behind = (b, a) if difference.mean > 0 else (a, b)
    ends = _ends(difference, write, flip=difference.mean < 0)
    return f"{ahead} beats {behind} by {write(abs(difference.mean))} {metric}{ends}, {tail}"


def _wanted(difference: PairedDifference, effect: float | None) -> str:
    if difference.detectable is None:
        return "all users differ by the same amount, which leaves nothing to plan with"
    if difference.few_differ:
        return f"fewer than {FEW} differing users are too few to plan with"
    if effect is None:
        return f"this sample could see {number_text(difference.detectable, decimals_for(difference.detectable))}"
    needed, wanted = users_needed(effect, difference.deviation), number_text(abs(effect), decimals_for(effect))
    low, high = difference.low, difference.high
    if low is not None and high is not None and max(-low, high) < abs(effect):
        return f"a difference of {wanted} is ruled out"
    if needed <= difference.users:
        return f"{needed:,} users are enough to see {wanted}"
    return f"you would need about {needed:,} users to see {wanted}"


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


def number_writer(difference: PairedDifference) -> Callable[[float], str]:
    """What writes values of this difference, with the decimals that its interval deserves."""
    width = difference.mean if difference.low is None or difference.high is None else difference.high - difference.low
    decimals = decimals_for(width)
    return lambda value: number_text(value, decimals)


def _ends(difference: PairedDifference, write: Callable[[float], str], *, flip: bool = False) -> str:
    if difference.low is None or difference.high is None:
        return " (the same for every user)"
    ends = (-difference.high, -difference.low) if flip else (difference.low, difference.high)
    return f" [{write(ends[0])}, {write(ends[1])}]"


def decimals_for(scale: float) -> int:
    """Decimals that show two digits of a value of this size."""
    # The small allowance keeps .0999999 and .1 alike.
    return max(0, 1 - math.floor(math.log10(abs(scale)) + 1e-9)) if scale else 3


def number_text(value: float, decimals: int) -> str:
    """A number as verdicts write it: .012, 1,008."""
    text = f"{round(value, decimals) + 0.0:,.{decimals}f}"  # + 0.0: no minus before zero
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def p_text(p: float) -> str:
    """A p-value as verdicts write it."""
    return "p < .001" if p < 0.001 else f"p = {number_text(p, 3 if p < 0.1 else 2)}"
