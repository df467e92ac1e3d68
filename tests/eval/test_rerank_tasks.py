"""Promises of the candidates that reranking is measured on."""

from __future__ import annotations

import numpy as np
import pytest

from eval.data import CHANCE_NDCG, Case
from eval.data.rerank_tasks import count_matched
from retrieval.types import History

IDS = [f"b{i}" for i in range(100)]
COUNTS = {f"b{i}": i // 20 for i in range(100)}
CASE = Case("u", "films", "books", History(), ("b45", "b47"), 0)


def drawn(seed, known=frozenset({"b45", "b47", "b50"})):
    return count_matched(CASE, known, COUNTS, IDS, np.random.default_rng(seed))


def test_negatives_have_the_truths_count_or_the_nearest():
    """With 17 items of the same count left, two of a neighbouring count fill up."""
    found = drawn(0)
    others = [c for c in found.ids if c != found.truth]
    away = sorted(abs(COUNTS[c] - COUNTS[found.truth]) for c in others)
    assert away == [0] * 17 + [1] * 2


def test_the_truth_is_one_of_twenty_different_candidates_in_no_fixed_place():
    """Neither the place nor a repetition gives the truth away."""
    places = {drawn(seed).ids.index(drawn(seed).truth) for seed in range(60)}
    assert len(places) > 10
    assert len(set(drawn(3).ids)) == 20


def test_what_the_user_knows_is_never_a_negative():
    """A liked book among the negatives would count against a ranker that finds it."""
    assert all("b50" not in drawn(seed).ids for seed in range(30))


def test_chance_is_what_the_data_set_states():
    """The mean nDCG@10 over the twenty places of the truth is .227."""
    assert pytest.approx(0.227, abs=5e-4) == CHANCE_NDCG
