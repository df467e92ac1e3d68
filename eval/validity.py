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

from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import FiniteFloat

from eval.paired import ALPHA, MIN_USERS, interval, sign_flip_p
from eval.sequential import ever_excludes_zero
from retrieval.errors import DataError, UsageError
from retrieval.types import Frozen

COMPARISONS: Final = 2_000
Values = NDArray[np.float64]


class Validity(Frozen):
    """What simulated comparisons without a difference came to; rates in [0, 1].

    Attributes:
        comparisons: how many were simulated.
        users: users in each.
        differing: mean number of users whose scores differ.
        false_alarms: share with a sign-flip p of .05 or less; a comparison in which nobody differs raises none.
        coverage: share of the 95% intervals that hold 0, among comparisons that have one.
        sequential: share in which the confidence sequence ever left out 0, looking after every batch.
    """

    comparisons: int
    users: int
    differing: FiniteFloat
    false_alarms: FiniteFloat
    coverage: FiniteFloat | None
    sequential: FiniteFloat


def simulate_aa(
    scores_by_user: Values,
    rng: np.random.Generator,
    *,
    comparisons: int = COMPARISONS,
    users: int | None = None,
    batch: int = 25,
) -> Validity:
    """Simulated A/A comparisons with the functions and resamples of a verdict; minutes for 2,000 of 300 users.

    Args:
        scores_by_user: users x replicates, in [0, 1], at least 10 x 2.
        users: users in each comparison; None: as many as there are.
        batch: users between two looks of the confidence sequence.

    Raises:
        UsageError: fewer than 10 users or 2 replicates.
        DataError: a score is NaN or outside [0, 1].
    """
    _check(scores_by_user)
    size = len(scores_by_user) if users is None else users
    differing = alarms = covered = intervals = left = 0
    for _ in range(comparisons):
        differences = draw_aa(scores_by_user, size, rng)
        differing += int(np.count_nonzero(differences))
        p = sign_flip_p(differences, rng)
        alarms += p is not None and p <= ALPHA
        if np.ptp(differences) > 0:
            low, high = interval(differences, rng)
            intervals += 1
            covered += low <= 0 <= high
        left += int(ever_excludes_zero(differences[None], batch)[0])
    return Validity(
        comparisons=comparisons,
        users=size,
        differing=differing / comparisons,
        false_alarms=alarms / comparisons,
        coverage=covered / intervals if intervals else None,
        sequential=left / comparisons,
    )


def draw_aa(scores_by_user: Values, size: int, rng: np.random.Generator) -> Values:
    """Differences of one A/A comparison: `size` users with replacement, two of each one's replicates without."""
    people, replicates = scores_by_user.shape
    who = rng.integers(people, size=size)
    first = rng.integers(replicates, size=size)
    # A step of 1 to replicates - 1 around the circle reaches every other replicate with the same probability.
    second = (first + rng.integers(1, replicates, size=size)) % replicates
    return np.asarray(scores_by_user[who, second] - scores_by_user[who, first])


def _check(scores_by_user: Values) -> None:
    if scores_by_user.ndim != 2 or len(scores_by_user) < MIN_USERS or scores_by_user.shape[1] < 2:
        hint = f"give users x replicates, at least {MIN_USERS} x 2; two real arms will do as replicates"
        raise UsageError(f"an A/A test cannot be made of scores of shape {scores_by_user.shape}", hint=hint)
    if not ((scores_by_user >= 0) & (scores_by_user <= 1)).all():
        raise DataError("a score is NaN or outside [0, 1]", hint="use a metric in [0, 1], such as nDCG")
