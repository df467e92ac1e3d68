"""Promises of the paired comparison."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import nct, t

from eval.stats import ArmScores, PairedDifference, compare_differences, compare_paired, holm, verdict
from eval.stats.difference import FEW
from eval.stats.paired import detectable, sign_flip_p, users_needed
from retrieval.errors import DataError, UsageError

USERS = [f"u{n}" for n in range(60)]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def arm(values, users=USERS):
    return ArmScores(np.asarray(values, dtype=float), users)


def enumerated(differences):
    """The two-sided p-value by hand, over all sign flips."""
    sums = [np.dot(signs, differences) for signs in itertools.product([1, -1], repeat=len(differences))]
    seen = sum(differences)
    above = np.mean([s >= seen - 1e-9 for s in sums])
    below = np.mean([s <= seen + 1e-9 for s in sums])
    return min(1, 2 * min(above, below))


def test_the_numbers_of_a_known_sample(rng):
    """Mean, dz, shares and counts are what a calculator gives, and the interval holds the mean."""
    a, b = np.zeros(60), np.zeros(60)
    b[:30], b[30:40] = 0.2, -0.1
    found = compare_paired(arm(a), arm(b), rng)
    assert found.users == 60
    assert found.mean == pytest.approx(5 / 60)
    assert found.dz == pytest.approx(found.mean / np.std(b - a, ddof=1))
    assert (found.better, found.equal, found.worse) == pytest.approx((1 / 2, 1 / 3, 1 / 6))
    assert found.differing == 40
    assert found.low < found.mean < found.high
    assert found.p_value == pytest.approx(0.0002)


def test_swapping_the_arms_flips_the_signs():
    """B - A and A - B are the same evidence: means and shares mirror, and the p-value is about the same."""
    values = np.random.default_rng(1).normal(0.03, 0.1, 60)
    there = compare_paired(arm(np.zeros(60)), arm(values), np.random.default_rng(2))
    back = compare_paired(arm(values), arm(np.zeros(60)), np.random.default_rng(2))
    assert back.mean == pytest.approx(-there.mean)
    assert (back.better, back.worse) == (there.worse, there.better)
    assert back.p_value == pytest.approx(there.p_value, abs=0.01)
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low), abs=0.003)


def test_users_are_the_units_not_cases():
    """Ten copies of every case, in any order, change nothing; a user's cases count as their average."""
    values = np.random.default_rng(1).normal(0.02, 0.1, 60)
    once = compare_paired(arm(np.zeros(60)), arm(values), np.random.default_rng(2))
    order = np.random.default_rng(3).permutation(600)
    users = np.repeat(USERS, 10)[order].tolist()
    copied = compare_paired(
        arm(np.zeros(600), users), arm(np.repeat(values, 10)[order], users), np.random.default_rng(2)
    )
    assert copied == once


@settings(deadline=None)
@given(st.lists(st.integers(-5, 5), min_size=2, max_size=8).filter(any))
def test_small_samples_are_tested_by_all_sign_flips(numbers):
    """The p-value is that of enumeration by hand, ties included."""
    differences = np.array(numbers) / 10
    assert sign_flip_p(differences, np.random.default_rng(0)) == pytest.approx(enumerated(differences))


def test_drawn_flips_agree_with_all_flips(rng):
    """The p-value from 9,999 drawn flips is close to the exact one."""
    differences = rng.normal(0.1, 0.2, 12)
    exact = sign_flip_p(differences, rng)
    drawn = [sign_flip_p(differences, np.random.default_rng(seed), flips=3000) for seed in range(5)]
    assert exact == pytest.approx(enumerated(differences))
    assert drawn == pytest.approx([exact] * 5, abs=0.03)


def test_no_p_value_is_zero(rng):
    """The observed flip is counted in: the smallest two-sided p is 2 / 10,000."""
    assert sign_flip_p(np.full(200, 0.3), rng) == pytest.approx(2 / 10_000)


def test_users_who_do_not_differ_leave_the_p_value_alone():
    """Flipping a zero is no flip."""
    some = np.array([0.1, 0.3, 0.2, -0.1, 0.4])
    many = np.concatenate([some, np.zeros(500)])
    assert sign_flip_p(many, np.random.default_rng(0)) == sign_flip_p(some, np.random.default_rng(0))


@settings(max_examples=40, deadline=None)
@given(arrays(float, st.integers(10, 40), elements=st.sampled_from([0.0, 0.0, 1.0, -1.0, 0.5, 1e-13, 0.1, -0.37])))
def test_never_a_number_that_is_none(differences):
    """Whatever the differences (even one differing user, or noise of floating point): no NaN, no infinity, shares
    that add up, an interval in order, and None exactly where nothing can be told."""
    found = compare_differences(differences, np.random.default_rng(0))
    assert found.better + found.equal + found.worse == pytest.approx(1)
    assert (found.p_value is None) == (found.differing == 0)
    assert (found.low is None) == (found.high is None) == (found.dz is None) == found.constant
    assert found.low is None or found.low <= found.mean <= found.high
    assert verdict(found, "nDCG@10", effect=0.01)


@pytest.mark.parametrize("users", [10, 50, 1008])
def test_power_is_that_of_the_t_test(users):
    """The detectable effect has 80% power by the noncentral t distribution, computed directly."""
    shift, bar = detectable(users) * np.sqrt(users), t.ppf(0.975, users - 1)
    power = nct.sf(bar, users - 1, shift) + nct.cdf(-bar, users - 1, shift)
    assert power == pytest.approx(0.8, abs=1e-4)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.1, 0.4), st.floats(0.05, 0.5))
def test_the_sample_needed_sees_the_effect(effect, deviation):
    """That many users see the effect and one fewer do not (ten are the fewest), whatever its sign."""
    needed = users_needed(effect, deviation)
    assert needed == users_needed(-effect, deviation)
    assert detectable(needed) * deviation <= effect * (1 + 1e-4)
    assert needed == 10 or detectable(needed - 1) * deviation > effect * (1 - 1e-4)


@pytest.mark.parametrize(("effect", "deviation"), [(0, 0.1), (float("nan"), 0.1), (0.01, 0)])
def test_no_sample_is_named_for_what_none_can_see(effect, deviation):
    """An effect of nothing, or nothing to plan with, is an error with a hint."""
    with pytest.raises(UsageError) as refused:
        users_needed(effect, deviation)
    assert refused.value.hint


def test_holm_by_hand():
    """.01, .03, .04 become .03, .06, .06 in their order; None stays None and is not counted."""
    assert holm([0.04, None, 0.01, 0.03]) == pytest.approx([0.06, None, 0.03, 0.06])
    assert holm([None, None]) == [None, None]
    assert holm([]) == []


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_never_helps(p_values):
    """No adjusted p is below its own or above 1."""
    assert all(p <= q + 1e-12 and q <= 1 for p, q in zip(p_values, holm(p_values), strict=True))


def test_different_users_are_refused(rng):
    """Arms over different users, or the same in another order, are never paired."""
    with pytest.raises(UsageError, match="different users: 2 are in only one, first 'stranger'") as refused:
        compare_paired(arm(np.zeros(60)), arm(np.ones(60), ["stranger", *USERS[1:]]), rng)
    assert refused.value.hint
    with pytest.raises(UsageError, match="same order"):
        compare_paired(arm(np.zeros(60)), arm(np.ones(60), USERS[::-1]), rng)


def test_values_that_are_not_one_a_case_are_refused(rng):
    """A value too many is not dropped."""
    with pytest.raises(UsageError, match="arm B has not one value a case"):
        compare_paired(arm(np.zeros(60)), arm(np.zeros(61)), rng)


@pytest.mark.parametrize("users", [[], USERS[:9], USERS[:3] * 20])
def test_fewer_than_ten_users_are_refused(users, rng):
    """However many cases they have."""
    with pytest.raises(UsageError, match="too few") as refused:
        compare_paired(arm(np.zeros(len(users)), users), arm(np.ones(len(users)), users), rng)
    assert refused.value.hint


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_no_numbers_are_refused(bad, rng):
    """The error names the arm and the user."""
    values = np.zeros(60)
    values[7] = bad
    with pytest.raises(DataError, match=r"arm A .* 'u7'") as refused:
        compare_paired(arm(values), arm(np.zeros(60)), rng)
    assert refused.value.hint
    with pytest.raises(DataError):
        compare_differences(values, rng)


def test_a_constant_metric_cannot_tell(rng):
    """No user differs: no p-value, no interval, no effect size, and the sentence says why."""
    found = compare_paired(arm(np.full(60, 0.3)), arm(np.full(60, 0.3)), rng)
    assert (found.p_value, found.low, found.dz, found.detectable) == (None, None, None, None)
    assert verdict(found, "nDCG@10") == "cannot tell: no user's nDCG@10 differs between A and B, n = 60"


def test_equal_differences_are_called_so(rng):
    """All users gain the same: the sentence says so where the interval would be."""
    found = compare_paired(arm(np.full(60, 0.3)), arm(np.full(60, 0.4)), rng)
    assert found.constant
    assert verdict(found, "nDCG@10") == "B beats A by .10 nDCG@10 (the same for every user), p < .001, n = 60"


def example(**changes):
    values = {"users": 1008, "mean": 0.012, "low": 0.004, "high": 0.02, "p_value": 0.001, "deviation": 0.13}
    values |= {"dz": 0.09, "better": 0.4, "equal": 0.3, "worse": 0.3, "differing": 706, "detectable": 0.0115}
    return PairedDifference(**values | changes)


def test_the_sentence_of_a_winner():
    """Amount, interval, adjusted p and n; the better arm comes first, with its own signs."""
    said = verdict(example(), "nDCG@10", adjusted=0.003)
    assert said == "B beats A by .012 nDCG@10 [.004, .020], p = .003 after Holm, n = 1,008"
    said = verdict(example(mean=-0.012, low=-0.02, high=-0.004), "nDCG@10", arms=("plain", "terse"))
    assert said == "plain beats terse by .012 nDCG@10 [.004, .020], p = .001, n = 1,008"


def test_the_sentence_follows_the_adjusted_p():
    """Significant alone but not after Holm is "cannot tell", with the users the effect of interest would need."""
    said = verdict(example(), "nDCG@10", adjusted=0.2, effect=0.005)
    assert said.startswith("cannot tell at this n: B - A = .012 nDCG@10 [.004, .020], p = .20 after Holm, n = 1,008; ")
    assert said.endswith(f"you would need about {users_needed(0.005, 0.13):,} users to see .0050")


def test_what_else_the_sentence_may_end_with():
    """Without an effect of interest, what the sample could see; with one inside the interval's reach, that it is
    ruled out or that the users were enough."""
    undecided = {"p_value": 0.6, "mean": 0.001, "low": -0.006, "high": 0.008}
    assert verdict(example(**undecided, detectable=0.0119), "nDCG@10").endswith("; this sample could see .012")
    assert verdict(example(**undecided), "nDCG@10", effect=0.01).endswith("; a difference of .010 is ruled out")
    wide = undecided | {"high": 0.02, "deviation": 0.05}
    assert verdict(example(**wide), "nDCG@10", effect=0.01).endswith("users are enough to see .010")


def test_too_few_differing_users_plan_nothing():
    """No sample size is extrapolated from a spread that a handful of users make."""
    said = verdict(example(p_value=0.6, differing=12), "nDCG@10", effect=0.01)
    assert said.endswith("of whom only 12 differ; fewer than 50 differing users are too few to plan with")


def test_few_differing_users_are_named(rng):
    """49 differing users are few, 50 are not; the sentence gives the number."""
    differences = np.zeros(300)
    differences[: FEW - 1] = rng.normal(0, 0.2, FEW - 1)
    found = compare_differences(differences, rng)
    assert found.few_differ
    assert "n = 300, of whom only 49 differ" in verdict(found, "nDCG@10")
    differences[FEW] = 0.1
    assert not compare_differences(differences, rng).few_differ


@settings(max_examples=30, deadline=None)
@given(st.floats(-3000, 3000), st.floats(0.001, 1000))
def test_large_units_read_well(mean, deviation):
    """Tokens or milliseconds give no long tails of decimals and no minus before a zero."""
    said = verdict(example(mean=mean, low=mean - deviation, high=mean + deviation, p_value=0.5), "tokens")
    numbers = [word.strip("[],;") for word in said.split()]
    assert "-.00" not in numbers
    assert all(len(word.split(".")[1]) <= 4 for word in numbers if "." in word and word.strip("-.,0123456789") == "")


def test_false_alarms_are_near_five_percent():
    """A/A comparisons of skewed, half-empty scores: the 5% test gives 5%, within what 1,000 of them can tell."""
    rng = np.random.default_rng(5)
    alarms = 0
    for _ in range(1000):
        scores = rng.choice([0, 0, 0, 0.29, 0.36, 0.5, 1], (2, 120))
        alarms += sign_flip_p(scores[1] - scores[0], rng, flips=499) <= 0.05
    assert 0.03 <= alarms / 1000 <= 0.07
