"""Promises of judging more candidates than a prompt shows."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.types import Candidate, Item
from xdrec_agent.errors import LLMUnreachable
from xdrec_agent.llm import Usage
from xdrec_agent.rerank import Judgement
from xdrec_agent.rerank.windows import judge_all

SCHEMES = ["windows", "tournament"]
counts = st.integers(1, 200)
sizes = st.integers(2, 52)
seeds = st.integers(0, 2**32 - 1)


def candidates(n):
    return tuple(Candidate(item=Item(domain="books", id=str(i), title=f"Book {i}"), score=-i) for i in range(n))


class Judge:
    """Gives each candidate the score that `truth` names, `naps` turns of the loop later; keeps what it was shown."""

    def __init__(self, truth, naps=lambda: 0):
        self.truth = truth
        self.looks = []
        self._naps = naps

    async def __call__(self, shown):
        self.looks.append([int(c.item.id) for c in shown])
        for _ in range(self._naps()):
            await asyncio.sleep(0)
        scores = np.array([self.truth[int(c.item.id)] for c in shown], dtype=float)
        return Judgement(scores, Usage(requests=1), shuffles=2, tau=0.5, left_out=1)


def judged(judge, n, size, scheme):
    return asyncio.run(judge_all(judge, candidates(n), size, scheme))


@pytest.mark.parametrize("scheme", SCHEMES)
@settings(max_examples=50, deadline=None)
@given(n=counts, size=sizes, seed=seeds)
def test_a_perfect_judge_puts_the_best_first(scheme, n, size, seed):
    """Whatever the retriever's order, the best of any number of candidates comes out first, none is lost or shown
    twice in a look, and no look shows more than `size`.
    """
    truth = np.random.default_rng(seed).permutation(n)
    judge = Judge(truth)
    judgement = judged(judge, n, size, scheme)
    assert len(set(judgement.scores)) == n
    assert judgement.scores.argmax() == truth.argmax()
    assert {i for look in judge.looks for i in look} == set(range(n))
    assert all(len(look) == len(set(look)) <= size for look in judge.looks)


@pytest.mark.parametrize("scheme", SCHEMES)
@settings(max_examples=50, deadline=None)
@given(
    scores=st.lists(st.sampled_from([-np.inf, -1.0, 0.0, 1e-300, 1.0, np.inf]), min_size=3, max_size=200), size=sizes
)
def test_any_scores_give_a_permutation(scheme, scores, size):
    """Ties and infinities neither lose nor double a candidate."""
    n = len(scores)
    if n > size:
        judgement = judged(Judge(scores), n, size, scheme)
        assert sorted(judgement.scores) == list(range(1, n + 1))


@pytest.mark.parametrize("scheme", SCHEMES)
@settings(max_examples=25, deadline=None)
@given(n=counts, size=sizes, seed=seeds)
def test_concurrency_does_not_change_the_order(scheme, n, size, seed):
    """Looks that end in another order give the same scores."""
    truth = np.random.default_rng(seed).integers(0, 5, n)
    naps = np.random.default_rng(seed + 1)
    plain = judged(Judge(truth), n, size, scheme)
    mixed = judged(Judge(truth, lambda: int(naps.integers(0, 7))), n, size, scheme)
    np.testing.assert_array_equal(plain.scores, mixed.scores)


@settings(max_examples=50, deadline=None)
@given(n=counts, size=sizes)
def test_windows_take_as_many_looks_as_there_are_steps(n, size):
    """One look, and one more for every half window that lies above it; usage, shuffles and tau are those of looks."""
    judge = Judge(range(n))
    judgement = judged(judge, n, size, "windows")
    expected = 1 + max(0, -(-(n - size) // (size // 2)))
    assert len(judge.looks) == judgement.usage.requests == judgement.left_out == expected
    assert (judgement.shuffles, judgement.tau) == (2, 0.5)


@settings(max_examples=50, deadline=None)
@given(n=counts, size=sizes)
def test_a_tournament_takes_about_three_times_the_looks_that_show_all_once(n, size):
    """Each round leaves at most two thirds of the field (of three, two go on), so that few looks are added."""
    judge = Judge(range(n))
    judged(judge, n, size, "tournament")
    rounds = 2 * n.bit_length()
    assert len(judge.looks) <= 3 * -(-n // size) + rounds
    assert max(np.bincount(np.concatenate(judge.looks))) <= rounds


def test_who_goes_on_is_above_who_does_not():
    """A tournament's places: the last group's order first, then the beaten of later rounds, then of earlier ones."""
    truth = [7, 6, 5, 4, 3, 2, 1, 0]
    judgement = judged(Judge(truth), 8, 4, "tournament")
    # Groups 0 2 4 6 and 1 3 5 7: 0 2 1 3 go on.
    assert list(np.argsort(-judgement.scores)) == [0, 1, 2, 3, 4, 5, 6, 7]


def test_windows_sort_all_that_the_top_needs():
    """As many candidates as half a window come out in their true order."""
    n, size = 60, 10
    truth = np.random.default_rng(3).permutation(n)
    judgement = judged(Judge(truth), n, size, "windows")
    assert list(np.argsort(-judgement.scores)[: size // 2]) == list(np.argsort(-truth)[: size // 2])


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_look_that_fails_fails_the_whole(scheme):
    """A judgement of a part is no judgement: the error comes through as itself."""

    async def judge(shown):
        if any(c.item.id == "7" for c in shown):
            raise LLMUnreachable("gone")
        return Judgement(np.zeros(len(shown)), Usage())

    with pytest.raises(LLMUnreachable, match="gone"):
        await judge_all(judge, candidates(40), 5, scheme)
