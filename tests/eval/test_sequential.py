"""Promises of the sequential comparison, and of the simulation that checks both."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from eval.stats import ConfidenceSequence, Decision, SequentialInterval, StoppingRule, simulate_aa, users_to_decide
from eval.stats.aa_simulation import draw_aa
from eval.stats.sequential import _decided, ever_excludes_zero
from retrieval.errors import DataError, UsageError

BATCHES = arrays(float, st.integers(1, 60), elements=st.floats(-1, 1))


def look(low, high, users=100):
    return SequentialInterval(low=low, high=high, mean=(low + high) / 2, users=users)


@settings(max_examples=40, deadline=None)
@given(BATCHES)
def test_every_interval_holds_the_mean_seen_and_stays_in_bounds(differences):
    """Also for a single user, and for all users at a bound."""
    found = ConfidenceSequence().update(differences)
    assert found.users == len(differences)
    assert -1 <= found.low <= found.mean + 1e-9
    assert found.mean - 1e-9 <= found.high <= 1


@settings(max_examples=40, deadline=None)
@given(BATCHES, st.randoms())
def test_only_what_was_seen_counts(differences, random):
    """The same users in other batches and another order give the same interval."""
    at_once = ConfidenceSequence().update(differences)
    sequence = ConfidenceSequence()
    shuffled = differences.tolist()
    random.shuffle(shuffled)
    for start in range(0, len(shuffled), 7):
        in_batches = sequence.update(shuffled[start : start + 7])
    assert in_batches.users == at_once.users
    assert (in_batches.low, in_batches.high) == pytest.approx((at_once.low, at_once.high), abs=1e-7)


@settings(max_examples=40, deadline=None)
@given(BATCHES)
def test_swapping_the_arms_mirrors_the_interval(differences):
    """No arm is favoured."""
    there, back = (ConfidenceSequence().update(sign * differences) for sign in (1, -1))
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low))


def test_a_known_interval():
    """Ten users who all gain 1: each gambler on "above m" with stake g has ((1 - g) + 2g / (1 + m))^10, and the lower
    end is where the mean of the three is 2 / alpha."""
    low = ConfidenceSequence().update(np.ones(10)).low
    capital = np.mean([((1 - g) + 2 * g / (1 + low)) ** 10 for g in (3 / 4, 1 / 4, 1 / 12)])
    assert capital == pytest.approx(40)


def test_intervals_shrink_and_a_smaller_alpha_widens_them():
    """More users, more certainty; more certainty asked for, a wider interval."""
    values = np.random.default_rng(0).normal(0, 0.2, 800).clip(-1, 1)
    widths = []
    for alpha in (0.05, 0.01):
        sequence = ConfidenceSequence(alpha)
        looks = [sequence.update(batch) for batch in np.split(values, 4)]
        widths.append([look.high - look.low for look in looks])
    assert widths[0] == sorted(widths[0], reverse=True)
    assert all(strict > loose for loose, strict in zip(*widths, strict=True))


def test_the_price_of_looking_is_bounded():
    """At 1,000 users the interval is less than twice as wide as the fixed-sample one, for dense and sparse differences
    alike."""
    rng = np.random.default_rng(0)
    for values in (rng.normal(0, 0.3, 1000).clip(-1, 1), rng.choice([0.4, -0.4], 1000) * (rng.random(1000) < 0.1)):
        found = ConfidenceSequence().update(values)
        assert found.high - found.low < 2 * 2 * 1.96 * values.std() / np.sqrt(1000)


@pytest.mark.parametrize("share", [0.03, 0.3, 1.0])
def test_looking_after_every_batch_keeps_false_alarms_under_five_percent(share):
    """1,000 A/A comparisons of 400 users with 20 looks each, from sparse to dense differences."""
    rng = np.random.default_rng(7)
    size = (1000, 400)
    differences = rng.choice([1, 0.63, 0.3, -0.3, -0.63, -1], size) * (rng.random(size) < share)
    assert ever_excludes_zero(differences, batch=20).mean() <= 0.05


def test_the_simulation_looks_at_the_same_intervals():
    """What the simulation counts is whether an interval of the sequence left out 0 at any look, the last one, of a
    smaller batch, included."""
    differences = np.random.default_rng(3).normal(0.05, 0.3, (20, 90)).clip(-1, 1)
    differences[0, 80:] = 1
    by_looking = []
    for row in differences:
        sequence = ConfidenceSequence(0.2)
        looks = [sequence.update(row[start : start + 20]) for start in range(0, 90, 20)]
        by_looking.append(any(look.low > 0 or look.high < 0 for look in looks))
    assert 0 < sum(by_looking) < 20
    assert ever_excludes_zero(differences, batch=20, alpha=0.2).tolist() == by_looking


def test_skewed_differences_are_covered_at_every_look():
    """Rare large gains against frequent small losses, mean 0: the case in which a plug-in of the variance fails."""
    rng = np.random.default_rng(8)
    differences = np.where(rng.random((1000, 300)) < 0.02, 0.98, -0.02)
    assert ever_excludes_zero(differences, batch=20).mean() <= 0.05


def test_an_effect_is_found_early():
    """A gain of .1 at a deviation of .3 stops long before 1,000 users."""
    rng, sequence = np.random.default_rng(9), ConfidenceSequence()
    rule = StoppingRule(margin=0.02, max_users=1000)
    decision = Decision.GO_ON
    while decision is Decision.GO_ON:
        found = sequence.update(rng.normal(0.1, 0.3, 25).clip(-1, 1))
        decision = rule.decide(found)
    assert decision is Decision.DIFFERENCE
    assert found.users <= 500


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.001, 0.2, Decision.DIFFERENCE),
        (-0.2, -0.001, Decision.DIFFERENCE),
        (0.001, 0.01, Decision.DIFFERENCE),
        (-0.01, 0.019, Decision.NO_RELEVANT_DIFFERENCE),
        (-0.01, 0.02, Decision.GO_ON),
        (0.0, 0.2, Decision.GO_ON),
    ],
)
def test_the_decision_follows_the_interval(low, high, said):
    """0 outside: a difference; all of it inside the margin of .02: none that matters; anything else: go on."""
    assert StoppingRule(margin=0.02).decide(look(low, high)) is said


def test_limits_end_what_cannot_be_decided():
    """Users seen and requests are limits; a batch that would exceed the requests is not started; a decision at the
    limit is still a decision."""
    rule = StoppingRule(margin=0.02, max_users=100, max_requests=500)
    assert rule.decide(look(-0.1, 0.1, users=99), requests=400, batch_requests=100) is Decision.GO_ON
    assert rule.decide(look(-0.1, 0.1, users=100)) is Decision.LIMIT
    assert rule.decide(look(-0.1, 0.1, users=50), requests=401, batch_requests=100) is Decision.LIMIT
    assert rule.decide(look(-0.1, 0.1, users=50), requests=500) is Decision.LIMIT
    assert rule.decide(look(0.1, 0.2, users=100), requests=500) is Decision.DIFFERENCE


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1.01, -3])
def test_differences_out_of_bounds_are_refused(bad):
    """And the batch leaves no trace: the next look is that of the good users alone."""
    sequence = ConfidenceSequence()
    with pytest.raises(DataError) as refused:
        sequence.update([0.1, bad])
    assert refused.value.hint
    assert sequence.update([0.1, 0.2]) == ConfidenceSequence().update([0.1, 0.2])


def test_bad_settings_are_refused():
    """An alpha that is no probability, and a batch without users."""
    for alpha in (0, 1, -0.1, float("nan")):
        with pytest.raises(UsageError):
            ConfidenceSequence(alpha)
    with pytest.raises(UsageError):
        ConfidenceSequence().update([])


def noisy_scores(people=150, replicates=4):
    rng = np.random.default_rng(0)
    usual = rng.choice([0, 0.3, 0.5, 1], people)[:, None]
    chance = rng.choice([0, 0, 0.29, 0.36, 0.63, 1], (people, replicates))
    return np.where(rng.random((people, replicates)) < 0.5, chance, usual)


def test_the_simulation_finds_valid_methods_valid():
    """Few comparisons already tell: false alarms and coverage near their level, the sequential one under it."""
    found = simulate_aa(noisy_scores(), np.random.default_rng(1), comparisons=100)
    assert found.users == 150
    assert found.differing > 50
    assert found.false_alarms <= 0.12
    assert found.coverage >= 0.88
    assert found.sequential <= 0.05


def test_identical_replicates_raise_no_alarm():
    """Nobody differs: no alarm, and no coverage rather than a made-up one."""
    found = simulate_aa(np.full((20, 3), 0.4), np.random.default_rng(1), comparisons=3, users=30)
    assert (found.users, found.differing, found.false_alarms, found.coverage, found.sequential) == (30, 0, 0, None, 0)


def test_a_and_b_are_exchangeable():
    """Each ordered pair of different replicates is drawn equally often, never one replicate against itself."""
    scores = np.tile([0.0, 0.1, 0.5], (50, 1))
    drawn = np.round(draw_aa(scores, 60_000, np.random.default_rng(0)), 6)
    values, counts = np.unique(drawn, return_counts=True)
    assert values.tolist() == [-0.5, -0.4, -0.1, 0.1, 0.4, 0.5]
    assert counts / 60_000 == pytest.approx(np.full(6, 1 / 6), abs=0.01)


@pytest.mark.parametrize("shape", [(9, 3), (50, 1), (50,)])
def test_scores_that_allow_no_a_a_test_are_refused(shape):
    """Too few users, or one score each."""
    with pytest.raises(UsageError) as refused:
        simulate_aa(np.zeros(shape), np.random.default_rng(0), comparisons=1)
    assert refused.value.hint


@pytest.mark.parametrize("bad", [np.nan, 1.5, -0.1])
def test_scores_outside_the_metric_are_refused(bad):
    """The bounds are what the sequential method rests on."""
    scores = np.zeros((20, 2))
    scores[3, 1] = bad
    with pytest.raises(DataError):
        simulate_aa(scores, np.random.default_rng(0), comparisons=1)


# How many users would decide


def test_the_forecast_stops_where_the_rule_would():
    """Along a known path the forecast's decision comes at the user after which the stopping rule says stop."""
    rng = np.random.default_rng(3)
    for shift, margin in ((0.2, 0.05), (0.0, 0.15)):
        path = np.clip(rng.normal(shift, 0.2, 1500), -1, 1)
        sequence, rule = ConfidenceSequence(), StoppingRule(margin=margin)
        stops = next(n for n, d in enumerate(path, 1) if rule.decide(sequence.update([d])) is not Decision.GO_ON)
        assert _decided(path, margin, 0.05) == stops


def test_more_users_are_wanted_for_smaller_effects_and_margins():
    """The clearest wants one user more than there are; what cannot be foreseen is said to be so."""
    rng = np.random.default_rng(4)
    noise = rng.normal(0, 0.3, 100)
    wanted = [
        users_to_decide(np.clip(shift + noise - noise.mean(), -1, 1), 0.02, np.random.default_rng(0))
        for shift in (0.2, 0.1, 0.05)
    ]
    assert 101 == wanted[0] <= wanted[1] < wanted[2]
    equal = [users_to_decide(noise - noise.mean(), m, np.random.default_rng(0)) for m in (0.1, 0.03, 0.001)]
    assert equal[0] < equal[1]
    assert equal[2] is None
