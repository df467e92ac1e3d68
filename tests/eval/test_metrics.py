"""Promises of metrics and intervals."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.stats import coverage, mean, ndcg, ratio_of_means, recall, reciprocal_rank, tied_ranks
from eval.stats.metrics import hit


def at(scores, relevant):
    return tied_ranks(np.array(scores, dtype=float), np.array(relevant))


def test_a_perfect_ranking_scores_one():
    """Two relevant items on the first two places."""
    assert ndcg(at([9, 8, 1, 0], [0, 1]), 10) == 1
    assert recall(at([9, 8, 1, 0], [0, 1]), 2) == 1


def test_known_values():
    """One relevant item on place 3: nDCG 1 / log2(4), recall 0 at 2 and 1 at 3."""
    third = at([4, 3, 2, 1], [2])
    assert ndcg(third, 10) == pytest.approx(0.5)
    assert [recall(third, k) for k in (2, 3)] == [0, 1]


@given(st.integers(2, 60), st.integers(1, 10), st.data())
def test_a_scorer_that_knows_nothing_has_exactly_chance(n, k, data):
    """All scores equal: recall@k is k / n for any relevant items."""
    relevant = data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=min(n, 5), unique=True))
    assert recall(at([0.0] * n, relevant), k) == pytest.approx(min(k / n, 1))


@given(st.integers(1, 10), st.integers(2, 30), st.integers(0, 1000))
def test_ties_give_the_mean_over_their_orders(k, n, seed):
    """nDCG with ties equals the average over many random ways to break them."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 3, n).astype(float)
    relevant = [int(rng.integers(n))]
    broken = [ndcg(at(scores + rng.random(n) * 0.1, relevant), k) for _ in range(600)]
    assert ndcg(at(scores, relevant), k) == pytest.approx(np.mean(broken), abs=0.08)


def test_intervals_resample_people_not_cases():
    """Ten copies of each person's case make the interval no narrower."""
    rng = np.random.default_rng(0)
    values = rng.random(80)
    users = [f"u{n}" for n in range(80)]
    once = mean(values, users, np.random.default_rng(1))
    copied = mean(np.repeat(values, 10), [u for u in users for _ in range(10)], np.random.default_rng(1))
    assert copied.cases == 800
    assert copied.users == 80
    assert copied.high - copied.low == pytest.approx(once.high - once.low, rel=0.05)


def test_the_ratio_is_paired():
    """About twice as good for everybody is a narrow ratio of 2, however much people differ."""
    rng = np.random.default_rng(0)
    base = rng.random(50) + 0.1
    ratio = ratio_of_means((2 + 0.01 * rng.standard_normal(50)) * base, base, [f"u{n}" for n in range(50)], rng)
    assert ratio.low < 2 < ratio.high
    assert ratio.high - ratio.low < 0.02


@given(n=st.integers(1, 6), relevant=st.integers(1, 6), above=st.integers(0, 3))
def test_the_reciprocal_rank_is_the_mean_over_the_orders_of_a_tie(n, relevant, above):
    """Against every order of the tie, with unbeaten and beaten ties."""
    relevant = min(relevant, n)
    scores = np.concatenate([np.ones(above), np.zeros(n)])
    at = tied_ranks(scores, np.arange(above, above + relevant))
    firsts = [min(order.index(i) for i in range(relevant)) for order in permutations(range(n))]
    assert reciprocal_rank(at) == pytest.approx(np.mean([1 / (above + first + 1) for first in firsts]))


@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 3), st.integers(1, 8))
def test_the_hit_rate_is_the_mean_over_the_orders_of_a_tie(n, relevant, above, k):
    """The share of all orders in which a relevant item comes among the first k."""
    relevant = min(n, relevant)
    scores = [2.0] * above + [1.0] * n + [0.0]
    tie = range(above, above + n)
    found = [any(above + order.index(item) < k for item in tie[:relevant]) for order in permutations(tie)]
    assert hit(at(scores, list(tie[:relevant])), k) == pytest.approx(np.mean(found))


def test_a_hit_is_a_hit_whatever_follows():
    """One relevant item among the first k is enough, and below k none counts."""
    assert [hit(at([4, 3, 2, 1], [1, 3]), k) for k in (1, 2, 4)] == [0, 1, 1]


def test_coverage_counts_what_stands_in_anybodys_first_k():
    """Twice shown counts once, what comes after k not at all, and the catalogues of all targets are one."""
    lists = [("books", ["a", "b", "c"]), ("books", ["b", "a"]), ("films", ["a"])]
    assert coverage(lists, {"books": 6, "films": 4, "music": 100}, k=2) == pytest.approx(3 / 10)


def test_coverage_is_none_where_it_cannot_be_told():
    """No lists, or a catalogue of unknown size: never a number."""
    assert coverage([], {"books": 6}) is None
    assert coverage([("books", ["a"]), ("films", ["a"])], {"books": 6}) is None


@given(st.lists(st.lists(st.integers(0, 29), unique=True, max_size=12), min_size=1, max_size=8), st.integers(1, 12))
def test_coverage_is_a_share_that_grows_with_lists_and_k(found, k):
    """In [0, 1]; another list or a longer one never takes anything away."""
    lists, sizes = [("books", [str(i) for i in one]) for one in found], {"books": 30}
    assert 0 <= coverage(lists[:1], sizes, k) <= coverage(lists, sizes, k) <= coverage(lists, sizes, k + 1) <= 1
