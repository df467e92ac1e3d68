"""Promises of permutation self-consistency: shuffles, their consensus, and when they are enough."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau, rankdata

from xdrec_agent.rerank import TOP, kendall_tau, shuffles
from xdrec_agent.rerank.consistency import aggregated, top_is_stable

N = 20
seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=50, deadline=None)
@given(n=st.integers(1, 52), count=st.integers(1, 17), seed=seeds)
def test_shuffles_are_permutations_and_mirror_images(n, count, seed):
    """Each is a permutation, every second one the reverse of the one before, the same seed gives the same ones, and
    asking for more does not change the first.
    """
    orders = shuffles(n, count, seed)
    assert len(orders) == count
    assert all(sorted(order) == list(range(n)) for order in orders)
    for first, second in zip(orders[::2], orders[1::2], strict=False):
        np.testing.assert_array_equal(first, second[::-1])
    for order, same in zip(orders, shuffles(n, count + 3, seed), strict=False):
        np.testing.assert_array_equal(order, same)


def test_a_pair_of_shuffles_cancels_a_linear_position_bias():
    """A model that only sees places, each a little worse than the one before, has no preference after a pair."""
    scores = np.empty((2, N))
    for row, order in zip(scores, shuffles(N, 2, seed=5), strict=True):
        row[order] = -0.1 * np.arange(N)
    np.testing.assert_allclose(np.ptp(aggregated(scores, "mean")), 0, atol=1e-12)


@settings(max_examples=50, deadline=None)
@given(m=st.integers(1, 8), n=st.integers(1, 30), seed=seeds)
def test_borda_is_the_mean_of_scipys_ranks(m, n, seed):
    """Ties included, a higher score is a higher rank."""
    scores = np.random.default_rng(seed).integers(0, 6, (m, n)).astype(float)
    expected = np.mean([rankdata(row) for row in scores], axis=0)
    np.testing.assert_allclose(aggregated(scores, "borda"), expected)
    np.testing.assert_allclose(aggregated(scores, "mean"), scores.mean(axis=0))


def test_borda_does_not_mind_one_extreme_shuffle():
    """Where one shuffle shouts the mean follows it, and the ranks do not."""
    scores = np.array([[2.0, 1.0], [2.0, 1.0], [0.0, 99.0]])
    assert aggregated(scores, "mean").argmax() == 1
    assert aggregated(scores, "borda").argmax() == 0


@settings(max_examples=50, deadline=None)
@given(m=st.integers(2, 6), n=st.integers(2, 30), seed=seeds)
def test_kendalls_tau_is_scipys(m, n, seed):
    """Without ties the mean over all pairs of shuffles is the mean of scipy's."""
    scores = np.random.default_rng(seed).standard_normal((m, n))
    pairs = [kendalltau(scores[i], scores[j]).statistic for i in range(m) for j in range(i)]
    assert kendall_tau(scores) == pytest.approx(np.mean(pairs))


@pytest.mark.parametrize("shape", [(1, 5), (3, 1)])
def test_kendalls_tau_needs_two_of_each(shape):
    """One shuffle or one candidate has no correlation, and none is invented."""
    assert kendall_tau(np.zeros(shape)) is None


def drawn(rng, signal, m):
    """What m shuffles give: a person's preferences, `signal` times as large as the noise of one shuffle."""
    truth = signal * rng.standard_normal(N)
    return truth + rng.standard_normal((m, N))


def used(scores, seed, least=2, step=2):
    """How many of these shuffles the rule takes."""
    m = least
    while m < len(scores) and not top_is_stable(scores[:m], np.random.default_rng(seed + m)):
        m += step
    return min(m, len(scores))


def test_a_clear_order_is_enough_after_two_shuffles():
    """A model that says nearly the same each time is not asked again."""
    taken = [used(drawn(np.random.default_rng(seed), 20, 8), seed) for seed in range(50)]
    assert np.mean(np.array(taken) == 2) >= 0.9


def test_noise_is_enough_after_four_shuffles():
    """A model that says anything each time is not asked until the limit: its mean would be noise all the same."""
    taken = [used(drawn(np.random.default_rng(seed), 0, 8), seed) for seed in range(100)]
    assert np.mean(np.array(taken) == 4) >= 0.7
    assert min(taken) >= 2


def test_a_weak_order_takes_more_shuffles_than_a_clear_one():
    """What is there but hidden by noise is what more shuffles are for."""
    weak = [used(drawn(np.random.default_rng(seed), 0.7, 8), seed) for seed in range(100)]
    clear = [used(drawn(np.random.default_rng(seed), 5, 8), seed) for seed in range(100)]
    assert np.mean(weak) > np.mean(clear) + 1


def test_whether_the_top_is_stable_depends_on_scores_and_seed_only():
    """The same seed decides the same, time and again; adding a constant to a shuffle changes nothing."""
    for seed in range(30):
        scores = drawn(np.random.default_rng(seed), 1.5, 4)
        moved = scores + np.arange(4)[:, None]
        first = top_is_stable(scores, np.random.default_rng(1))
        assert (
            top_is_stable(scores, np.random.default_rng(1)) == first == top_is_stable(moved, np.random.default_rng(1))
        )


@pytest.mark.parametrize(
    ("scores", "enough"),
    [
        (np.zeros((1, 2)), True),
        (np.zeros((1, 1)), True),
        (np.zeros((1, 3)), False),
        (np.zeros((2, 3)), True),
        (np.array([[3.0, 2.0, 1.0]] * 2), True),
    ],
)
def test_edges(scores, enough):
    """Two candidates need no second look, one look at three does, and rows that are the same agree."""
    assert top_is_stable(scores, np.random.default_rng(0)) is enough


def test_the_rule_takes_fewer_shuffles_for_the_same_agreement():
    """With a strong signal the top agrees as well with 16 other shuffles as after eight fixed ones, for at most 60% of
    the requests.
    """
    ruled, fixed, taken = [], [], []
    for seed in range(300):
        scores = drawn(np.random.default_rng(seed), 8, 24)
        consensus = top(scores[8:])
        m = used(scores[:8], seed)
        taken.append(m)
        ruled.append(len(consensus & top(scores[:m])) / TOP)
        fixed.append(len(consensus & top(scores[:8])) / TOP)
    assert np.mean(taken) <= 0.6 * 8
    assert np.mean(ruled) >= np.mean(fixed) - 0.05


def top(scores):
    return set(np.argsort(-aggregated(scores, "mean"))[:TOP].tolist())
