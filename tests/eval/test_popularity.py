"""Promises of the curve of popularity's say: its ends are what they are called, and nothing but the share moves."""

from __future__ import annotations

import re

import numpy as np
import pytest
from three_domains import open_world

from benchmarks.retrieval.popularity import ALONE, LIFT, SEEN, SHARES, measure_popularity, sample_cases, write_chart
from eval.data import FOLDS, TEST_FOLD, OutOfFold, fold
from retrieval.settings import RetrieverSettings
from retrieval.types import Query


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    with open_world(tmp_path_factory.mktemp("world")) as data:
        yield data


@pytest.fixture(scope="module")
def figures(data):
    return measure_popularity(data, 12, np.random.default_rng(0), lambda _: None)


def test_validation_and_test_are_different_people(data):
    """The test fold alone, or everybody else, as many as asked for."""
    for test in (True, False):
        users = {case.user for case in sample_cases(data, 5, test=test)}
        assert len(users) == 5
        assert {fold(user, FOLDS) == TEST_FOLD for user in users} == {test}


def test_every_share_is_measured_beside_popularity_alone(figures):
    """On both groups of people: recall, nDCG, lift, coverage, and the ratio to popularity among seen items."""
    value = {f.name: f.value for f in figures}
    for people in ("validation", "test"):
        for arm in (*(f"{share:g}" for share in SHARES), ALONE):
            for metric in (SEEN, LIFT, "recall@100", "recall@100, unseen", "ndcg@10", "ndcg@10, seen", "coverage@10"):
                assert value[f"{people}, {arm}, {metric}"] >= 0
            if arm != ALONE:
                ratio = value[f"{people}, {arm}, {SEEN} / popularity's"]
                assert ratio == pytest.approx(value[f"{people}, {arm}, {SEEN}"] / value[f"{people}, {ALONE}, {SEEN}"])


def test_a_share_is_what_the_setting_does(data):
    """The retriever with that setting scores as the sum of its other sources and the share of popularity."""
    case = sample_cases(data, 1, test=True)[0]
    query = Query(history=case.history, target=case.target)
    others = OutOfFold(data)
    whole = others.retriever(case, RetrieverSettings(popularity=1))
    weights = whole.fusion.weights_for(len(case.history.liked), None, 1.0)
    said = whole.signal_scores(query, weights)
    popular = said.pop("popularity")
    half = others.retriever(case, RetrieverSettings(popularity=0.5)).scores(query)[1]
    np.testing.assert_allclose(half, sum(said.values()) + 0.5 * popular, rtol=1e-4, atol=1e-5)


def test_the_curve_is_drawn(figures, tmp_path):
    """A point for each share and one for popularity alone; the default is named."""
    write_chart(tmp_path / "curve.svg", figures)
    drawing = (tmp_path / "curve.svg").read_text(encoding="utf-8")
    assert drawing.startswith('<svg xmlns="http://www.w3.org/2000/svg"')
    assert drawing.count("<circle") == len(SHARES) + 1
    assert ALONE in drawing
    if RetrieverSettings().popularity in SHARES:
        assert f"{RetrieverSettings().popularity:g} (default)" in re.sub(r"<[^>]+>", " ", drawing)
