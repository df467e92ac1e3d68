"""Promises of who is asked: nobody whom a model in use has learnt from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from taught_manifest import write_manifest
from word_encoder import WordEncoder

from benchmarks.retrieval.popularity import sample_cases
from eval.data import llm_training_users, plan_cases, rerank_tasks
from eval.data.contamination import encoder_training_users
from retrieval.adapt import SplitSettings, split_users
from retrieval.encoder import SentenceEncoder
from retrieval.errors import DataError
from retrieval.folds import fold
from xdrec_agent.models import merged_manifest_name
from xdrec_agent.models.adapters import ADAPTER_MANIFEST
from xdrec_agent.settings import LLMSettings, Settings


@pytest.fixture
def trained(tmp_path, dataset):
    """An encoder whose manifest says that it has learnt from the data's people, or from those of a given identity."""

    def made(people=None, split=None):
        split = split or SplitSettings(left_out=(4,), validation_parts=4)
        write_manifest(tmp_path, people or split_users(dataset.store, split).identity, split)
        return SentenceEncoder("taste", tmp_path)

    return made


def test_whom_it_has_met(trained, dataset):
    """All users but those of the folds that it left out, and it is said."""
    said = []
    met = encoder_training_users(trained(), dataset.store, said.append)
    assert met == {user for user in dataset.store.users() if fold(user, 5) != 4}
    assert len(said) == 1
    assert f"{len(met)} of these people" in said[0]


def test_other_people_are_strangers(trained, dataset, tmp_path):
    """What was learnt from other people, from a list that is not here, or from nobody, has met none of these."""
    for encoder in (
        trained(people="0" * 64),
        trained(people="0" * 64, split=SplitSettings(users_file=tmp_path / "none")),
        SentenceEncoder("plain", tmp_path / "plain"),
        WordEncoder(),
    ):
        assert encoder_training_users(encoder, dataset.store, pytest.fail) == frozenset()


def test_an_unreadable_manifest_is_an_error(tmp_path, dataset):
    """Nobody can say then whom it has met."""
    (tmp_path / merged_manifest_name("taste")).write_text("{}", encoding="utf-8")
    with pytest.raises(DataError):
        encoder_training_users(SentenceEncoder("taste", tmp_path), dataset.store, pytest.fail)


@pytest.mark.parametrize("beside", [False, True])
def test_whom_the_language_model_has_met(dataset, tmp_path, beside):
    """Merged into its weights or served beside it: what an adapter has learnt counts, as it does in an encoder."""
    split = SplitSettings(left_out=(4,), validation_parts=4)
    write_manifest(tmp_path, split_users(dataset.store, split).identity, split)
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    llm = LLMSettings(model=str(tmp_path))
    if beside:
        adapter = tmp_path / "adapter"
        adapter.mkdir()
        (tmp_path / merged_manifest_name("taste")).rename(adapter / ADAPTER_MANIFEST)
        llm = LLMSettings(model="base", adapters={"taste": adapter}, adapter="taste")
    met = llm_training_users(Settings(home=tmp_path, models_dir=tmp_path, llm=llm), dataset.store, lambda _line: None)
    assert met == {user for user in dataset.store.users() if fold(user, 5) != 4}
    assert dataset.also_trained_on(met).training_users == met


def test_a_language_model_elsewhere_has_met_nobody_as_far_as_can_be_seen(dataset, tmp_path):
    """Its files are not here."""
    settings = Settings(home=tmp_path, models_dir=tmp_path, llm=LLMSettings(model="gpt-x"))
    assert llm_training_users(settings, dataset.store, pytest.fail) == frozenset()


def test_they_are_not_asked(dataset):
    """No task and no case is theirs; those of the others are as they were."""
    met = frozenset(user for user in dataset.store.users() if fold(user, 5) != 4)
    acquainted = replace(dataset, training_users=met)
    everybody, others = (
        {task.case.user for task in rerank_tasks(plan_cases(data), 100)} for data in (dataset, acquainted)
    )
    assert others == everybody - met
    assert others < everybody
    kept = [case for case in sample_cases(dataset, 100, test=True) if case.user not in met]
    assert sample_cases(acquainted, 100, test=True) == kept
    assert not sample_cases(acquainted, 100, test=False)
    assert np.all([case.user not in met for case in kept])
