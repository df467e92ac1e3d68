"""Promises of the candidates that reranking is measured on."""

from __future__ import annotations

import numpy as np
import pytest

from eval.data import CHANCE_NDCG, Case
from eval.data.rerank_tasks import count_matched
from retrieval.types import History

POSITIONS = {f"b{i}": i for i in range(100)}
COUNTS = np.arange(100) // 20
CASE = Case("u", "films", "books", History(), ("b45", "b47"), 0)


def drawn(seed, known=frozenset({"b45", "b47", "b50"})):
    return count_matched(CASE, known, POSITIONS, COUNTS, np.random.default_rng(seed))


def test_negatives_have_the_truths_count_or_the_nearest():
    """With 17 items of the same count left, two of a neighbouring count fill up."""
    truth, ids = drawn(0)
    count = {id_: COUNTS[row] for id_, row in POSITIONS.items()}
    away = sorted(abs(count[c] - count[truth]) for c in ids if c != truth)
    assert away == [0] * 17 + [1] * 2


def test_the_truth_is_one_of_twenty_different_candidates_in_no_fixed_place():
    """Neither the place nor a repetition gives the truth away."""
    places = {ids.index(truth) for truth, ids in map(drawn, range(60))}
    assert len(places) > 10
    assert len(set(drawn(3)[1])) == 20


def test_what_the_user_knows_is_never_a_negative():
    """A liked book among the negatives would count against a ranker that finds it."""
    assert all("b50" not in drawn(seed)[1] for seed in range(30))


def test_chance_is_what_the_data_set_states():
    """The mean nDCG@10 over the twenty places of the truth is .227."""
    assert pytest.approx(0.227, abs=5e-4) == CHANCE_NDCG
