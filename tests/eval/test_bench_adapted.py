"""Promises of the comparison of an adapted encoder with its base: the same strangers are asked by both."""

from __future__ import annotations

import shutil

import pytest
from little_encoder import save_encoder
from taught_manifest import write_manifest

from benchmarks.retrieval.adapted import measure_adapted
from eval.data import open_dataset
from retrieval.adapt import SplitSettings, split_users
from retrieval.encoder import SentenceEncoder
from retrieval.errors import DataError
from retrieval.folds import fold
from retrieval.templates import load_template

WORDS = ("space", "love", "crime", "war", "sea", "city", "books", "films", "music")


@pytest.fixture
def encoders(amazon, tmp_path, monkeypatch):
    """A base and the same weights as an encoder that has learnt from all people but those of some folds."""
    monkeypatch.chdir(tmp_path)
    save_encoder(tmp_path / "base", WORDS)
    base = SentenceEncoder("base", tmp_path / "base", device="cpu")
    with open_dataset(amazon, base, load_template("item"), lambda _: None) as data:
        store = data.store

        def adapted(*left_out):
            shutil.copytree(tmp_path / "base", tmp_path / "adapted")
            who = SplitSettings(left_out=left_out, validation_parts=4)
            write_manifest(tmp_path / "adapted", split_users(store, who).identity, who)
            return SentenceEncoder("adapted", tmp_path / "adapted", device="cpu")

        yield base, adapted, store


def test_both_are_asked_about_the_same_strangers(amazon, encoders):
    """The same weights find the same, of the people of the two folds that were left out."""
    base, adapted, store = encoders
    found = {f.name: f for f in measure_adapted(amazon, base, adapted(3, 4), lambda _: None)}
    strangers = [user for user in store.users() if fold(user, 5) in {3, 4}]
    for arm in ("text alone", "retriever"):
        assert found[f"recall@100, all, {arm}, adapted / base"].value == pytest.approx(1)
        assert found[f"recall@100, all, {arm}, base"].n == len(strangers)
    assert found["recall@100, seen, text alone, adapted / base"].target
    assert "ndcg@10, seen, popularity" in found


def test_somebody_must_be_a_stranger(amazon, encoders):
    """An encoder that has learnt from everybody cannot be measured."""
    base, adapted, _ = encoders
    with pytest.raises(DataError, match="has met everybody"):
        measure_adapted(amazon, base, adapted(), lambda _: None)
