"""Promises of the comparison between users."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import ttest_ind

from eval.stats import compare_unpaired, verdict
from eval.stats.unpaired import permutation_p
from retrieval.errors import DataError, UsageError


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def clicks(share, users):
    """So many users of whom a share clicked."""
    return (np.arange(users) < round(share * users)).astype(float)


def test_the_numbers_of_a_known_pair_of_groups(rng):
    """Means, difference, Welch's standard error and the users who differ are what a calculator gives."""
    a, b = clicks(0.2, 100), clicks(0.5, 300)
    found = compare_unpaired(a, b, rng)
    assert found.users == (100, 300)
    assert found.means == pytest.approx((0.2, 0.5))
    assert found.mean == pytest.approx(0.3)
    assert found.low < 0.3 < found.high
    assert found.low > 0.1
    assert found.p_value == pytest.approx(2 / 10_000)
    error = np.sqrt(a.var(ddof=1) / 100 + b.var(ddof=1) / 300)
    assert found.deviation * np.sqrt(1 / 100 + 1 / 300) == pytest.approx(error)
    assert found.detectable == pytest.approx(2.8 * error, rel=0.02)
    assert found.differing == 170


def test_swapping_the_groups_flips_the_sign(rng):
    """B - A and A - B are the same evidence."""
    a, b = rng.random(40), rng.random(90) * 0.8
    there = compare_unpaired(a, b, np.random.default_rng(1))
    back = compare_unpaired(b, a, np.random.default_rng(1))
    assert back.mean == pytest.approx(-there.mean)
    assert back.deviation == pytest.approx(there.deviation)
    assert back.p_value == pytest.approx(there.p_value, abs=0.02)
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low), abs=0.02)


def test_the_p_value_is_that_of_all_assignments():
    """Of groups so small that all assignments can be counted by hand."""
    values = np.array([0.0, 0.1, 0.2, 0.4, 0.8, 0.5, 0.9, 1.0, 0.7])
    a, b = values[:4], values[4:]

    def welch(first):
        chosen = np.isin(np.arange(9), first)
        return ttest_ind(values[~chosen], values[chosen], equal_var=False).statistic

    every = np.array([welch(first) for first in combinations(range(9), 4)])
    seen = welch(range(4))
    by_hand = 2 * min((every >= seen - 1e-9).mean(), (every <= seen + 1e-9).mean())
    assert permutation_p(a, b, np.random.default_rng(0)) == pytest.approx(by_hand, abs=0.01)


@pytest.mark.parametrize(("sizes", "spreads"), [((40, 40), (1, 1)), ((20, 80), (1, 1)), ((20, 80), (3, 1))])
def test_without_a_difference_alarms_are_as_rare_as_promised(sizes, spreads):
    """Also where the smaller arm has three times the spread, which plain differences of means take for an effect."""
    rng = np.random.default_rng(3)

    def draw(n, spread):
        return spread * rng.standard_normal(n)

    found = [
        permutation_p(draw(sizes[0], spreads[0]), draw(sizes[1], spreads[1]), rng, draws=199) <= 0.05
        for _ in range(400)
    ]
    # The standard error of a rate of .05 in 400 comparisons is .011.
    assert 0.017 <= np.mean(found) <= 0.083


def test_the_interval_is_about_that_of_the_normal_distribution_where_users_are_many(rng):
    """And leans to the side of the rare outcomes where they are few."""
    a, b = clicks(0.2, 300), clicks(0.3, 500)
    found = compare_unpaired(a, b, rng)
    error = np.sqrt(a.var() / 300 + b.var() / 500)
    assert (found.low, found.high) == pytest.approx((0.1 - 1.96 * error, 0.1 + 1.96 * error), abs=0.005)
    rare = compare_unpaired(np.zeros(60), clicks(0.05, 60), rng)
    assert rare.high - rare.mean > rare.mean - rare.low


def test_what_cannot_be_told_is_none_never_nan(rng):
    """All users alike: no p, no interval. Each arm constant: a p-value, no interval."""
    same = compare_unpaired(np.zeros(20), np.zeros(30), rng)
    assert (same.p_value, same.low, same.high, same.detectable, same.differing) == (None, None, None, None, 0)
    assert verdict(same, "click", arms=("a", "b")) == "cannot tell: all users have the same click, n = 20 + 30"
    apart = compare_unpaired(np.zeros(20), np.ones(30), rng)
    assert apart.p_value < 0.001
    assert (apart.low, apart.detectable) == (None, None)
    assert verdict(apart, "click", arms=("a", "b")).startswith(
        "b beats a by 1.0 click, p < .001, n = 20 + 30, of whom only 20"
    )


def test_bad_input_is_refused(rng):
    """Fewer than ten users in an arm, and a value that is no number."""
    with pytest.raises(UsageError, match="9 users are too few"):
        compare_unpaired(np.zeros(9), np.zeros(50), rng)
    with pytest.raises(DataError):
        compare_unpaired(np.zeros(10), np.full(10, np.nan), rng)


def test_the_sentence_names_the_better_arm_whichever_it_is(rng):
    """With the interval turned to its side, and follows the p-value after Holm."""
    found = compare_unpaired(clicks(0.5, 300), clicks(0.2, 300), rng)
    said = verdict(found, "click", arms=("plain", "varied"), adjusted=0.002)
    assert said.startswith("plain beats varied by .30 click [.2")
    assert said.endswith("p = .002 after Holm, n = 300 + 300")
    assert verdict(found, "click", arms=("plain", "varied"), adjusted=0.2).startswith(
        "cannot tell at this n: varied - plain = -.30 click [-.3"
    )


def test_the_sample_that_an_effect_needs_would_see_it(rng):
    """Users shared out as they are, of whom 80% power asks no more and no fewer."""
    found = compare_unpaired(clicks(0.2, 100), clicks(0.22, 300), rng)
    needed = found.users_needed(0.1)
    first = round(needed / 4)
    rng = np.random.default_rng(5)
    deviation = found.deviation
    hits = [
        ttest_ind(deviation * rng.standard_normal(first), 0.1 + deviation * rng.standard_normal(3 * first)).pvalue
        < 0.05
        for _ in range(1000)
    ]
    assert np.mean(hits) == pytest.approx(0.8, abs=0.05)
    assert f"you would need about {needed:,} users to see .10" in verdict(found, "click", arms=("a", "b"), effect=0.1)
    assert "is ruled out" in verdict(found, "click", arms=("a", "b"), effect=0.5)
    assert found.users_needed(50.0) == 40
    with pytest.raises(UsageError):
        found.users_needed(0.0)


def test_large_groups_need_no_square_of_memory(rng):
    """6,000 users: an interval all the same, about that of the normal distribution."""
    a, b = clicks(0.1, 3000), clicks(0.12, 3001)
    found = compare_unpaired(a, b, rng)
    error = np.sqrt(a.var() / 3000 + b.var() / 3001)
    assert (found.low, found.high) == pytest.approx((found.mean - 1.96 * error, found.mean + 1.96 * error), abs=0.002)
