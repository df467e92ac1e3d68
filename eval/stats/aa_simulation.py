"""Is a 5% test a 5% test? Reads real scores of users under several replicates, produces false-alarm rates of A/A tests.

A correct A/A comparison of paired data has two properties: A and B of one user are exchangeable, so that any
difference is noise, and users are independent draws. Both come from the data here. The replicates of a user are scores
that may differ by chance alone (shuffles or seeds of one arm); for each comparison users are drawn with replacement,
and for each draw two different replicates, in random order, become A and B. The true mean difference is exactly 0.

One score a user gives nothing to compare: A and B would be identical and never raise an alarm. If an arm has no noise,
give the scores of two real arms as the two replicates: drawing them in random order swaps the arms' labels at random
within each user, which is the symmetrised difference and the null hypothesis of the sign-flip test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from pydantic import FiniteFloat

from eval.stats.bootstrap import Floats
from eval.stats.difference import ALPHA, MIN_USERS
from eval.stats.paired import mean_interval, sign_flip_p
from eval.stats.sequential import ever_excludes_zero
from retrieval.errors import DataError, UsageError
from retrieval.types import Frozen

COMPARISONS: Final = 2_000
ENOUGH: Final = 100
"""Differing users from which on a test must raise alarms, and intervals cover, as often as they promise."""
MOST_ALARMS: Final = 0.065
LEAST_ALARMS: Final = 0.035
COVERAGE: Final = (0.935, 0.965)
MOST_SEQUENTIAL: Final = 0.05
"""The bounds, of rates whose level is .05 (alarms) and .95 (coverage). With 2,000 comparisons a rate of .05 has a
standard error of .005: the first three are three of them away."""


class Validity(Frozen):
    """What simulated comparisons came to; rates in [0, 1]. All but the last are of comparisons without a difference.

    Attributes:
        comparisons: how many were simulated.
        users: users in each.
        differing: mean number of users whose scores differ.
        false_alarms: share with a sign-flip p of .05 or less; a comparison in which nobody differs raises none.
        coverage: share of the 95% intervals that hold 0, among comparisons that have one.
        sequential: share in which the confidence sequence ever left out 0, looking after every batch.
        real_coverage: share of the 95% intervals that hold the true mean where users are drawn from the real,
            unsymmetrical differences between the first two replicates.
    """

    comparisons: int
    users: int
    differing: FiniteFloat
    false_alarms: FiniteFloat
    coverage: FiniteFloat | None
    sequential: FiniteFloat
    real_coverage: FiniteFloat | None

    @property
    def enough(self) -> bool:
        """Whether so many users differ that the rates are held to both of their bounds."""
        return self.differing >= ENOUGH

    @property
    def missed(self) -> tuple[str, ...]:
        """The bounds that do not hold, in words."""
        found = []
        if self.false_alarms > MOST_ALARMS:
            found.append(f"{self.false_alarms:.1%} false alarms, more than {MOST_ALARMS:.1%}")
        if self.enough and self.false_alarms < LEAST_ALARMS:
            found.append(f"{self.false_alarms:.1%} false alarms, fewer than {LEAST_ALARMS:.1%}")
        if self.enough and self.coverage is not None and not COVERAGE[0] <= self.coverage <= COVERAGE[1]:
            found.append(f"{self.coverage:.1%} of the intervals cover, not {COVERAGE[0]:.1%} to {COVERAGE[1]:.1%}")
        if self.sequential > MOST_SEQUENTIAL:
            found.append(f"{self.sequential:.1%} false alarms with peeking, more than {MOST_SEQUENTIAL:.0%}")
        return tuple(found)


@dataclass(frozen=True)
class _Tried:
    """One simulated comparison; None: it has no interval."""

    differing: int
    alarm: bool
    covered: bool | None
    peeked: bool
    real_covered: bool | None


def simulate_aa(
    scores_by_user: Floats,
    rng: np.random.Generator,
    *,
    comparisons: int = COMPARISONS,
    users: int | None = None,
    batch: int = 25,
    done: Callable[[], None] = lambda: None,
) -> Validity:
    """Simulated A/A comparisons with the functions and resamples of a verdict; a quarter of an hour for 2,000 of 1,000
    users.

    Args:
        scores_by_user: users x replicates, in [0, 1], at least 10 x 2.
        users: users in each comparison; None: as many as there are.
        batch: users between two looks of the confidence sequence.
        done: told after each comparison.

    Raises:
        UsageError: fewer than 10 users or 2 replicates.
        DataError: a score is NaN or outside [0, 1].
    """
    _check(scores_by_user)
    size = len(scores_by_user) if users is None else users
    tried = []
    for _ in range(comparisons):
        tried.append(_compare(scores_by_user, size, batch, rng))
        done()
    return Validity(
        comparisons=comparisons,
        users=size,
        differing=sum(one.differing for one in tried) / comparisons,
        false_alarms=sum(one.alarm for one in tried) / comparisons,
        coverage=_share([one.covered for one in tried]),
        sequential=sum(one.peeked for one in tried) / comparisons,
        real_coverage=_share([one.real_covered for one in tried]),
    )


def _compare(scores_by_user: Floats, size: int, batch: int, rng: np.random.Generator) -> _Tried:
    differences = draw_aa(scores_by_user, size, rng)
    p = sign_flip_p(differences, rng)
    real = scores_by_user[:, 1] - scores_by_user[:, 0]
    return _Tried(
        differing=int(np.count_nonzero(differences)),
        alarm=p is not None and p <= ALPHA,
        covered=_covers(differences, 0.0, rng),
        peeked=bool(ever_excludes_zero(differences[None], batch)[0]),
        real_covered=_covers(rng.choice(real, size), float(real.mean()), rng),
    )


def _covers(differences: Floats, mean: float, rng: np.random.Generator) -> bool | None:
    if np.ptp(differences) == 0:
        return None
    low, high = mean_interval(differences, rng)
    return low <= mean <= high


def _share(held: list[bool | None]) -> float | None:
    known = [one for one in held if one is not None]
    return sum(known) / len(known) if known else None


def draw_aa(scores_by_user: Floats, size: int, rng: np.random.Generator) -> Floats:
    """Differences of one A/A comparison: `size` users with replacement, two of each one's replicates without."""
    people, replicates = scores_by_user.shape
    who = rng.integers(people, size=size)
    first = rng.integers(replicates, size=size)
    # A step of 1 to replicates - 1 around the circle reaches every other replicate with the same probability.
    second = (first + rng.integers(1, replicates, size=size)) % replicates
    return np.asarray(scores_by_user[who, second] - scores_by_user[who, first])


def _check(scores_by_user: Floats) -> None:
    if scores_by_user.ndim != 2 or len(scores_by_user) < MIN_USERS or scores_by_user.shape[1] < 2:
        hint = f"give users x replicates, at least {MIN_USERS} x 2; two real arms will do as replicates"
        raise UsageError(f"an A/A test cannot be made of scores of shape {scores_by_user.shape}", hint=hint)
    if not ((scores_by_user >= 0) & (scores_by_user <= 1)).all():
        raise DataError("a score is NaN or outside [0, 1]", hint="use a metric in [0, 1], such as nDCG")
