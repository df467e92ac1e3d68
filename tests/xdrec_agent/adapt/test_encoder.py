"""Promises of the encoder's adaptation: what is learnt, from whom, and that the result is a plain encoder."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_encoder import ABOUT, fill, make_encoder
from typer.testing import CliRunner

from retrieval.adapt import (
    CURVE,
    ContrastiveSettings,
    ContrastiveTask,
    EncoderLoraSettings,
    LoraEncoder,
    SplitSettings,
    TrainingPlan,
    open_encoder_for_training,
    read_preferences,
    split_users,
)
from retrieval.adapt.contrastive_task import center_by_domain, history_scores, info_nce
from retrieval.adapt.frozen_layers import FrozenLayers
from retrieval.adapt.negatives import KEPT_NEAREST, SKIPPED_NEAREST, hard_negatives
from retrieval.encoder import SentenceEncoder, load_sentence_transformer
from retrieval.errors import UsageError
from retrieval.ranking.query import HistoryProfile
from retrieval.ranking.signals import log_sum_exp_pooling
from retrieval.store import Store
from retrieval.templates import load_template
from xdrec_agent.adapt import EncoderTrainingSettings, Workspace, train_on_item_views, train_on_preferences
from xdrec_agent.models import merge_adapter, merged_adapters, read_adapter_manifest

SETS = ContrastiveSettings(batch=16, random_negatives=8, history=3, positives=2)
SETTINGS = EncoderTrainingSettings(
    plan=TrainingPlan(accumulation=1, steps=100, learning_rate=3e-3, validations=4, patience=9),
    lora=EncoderLoraSettings(rank=8),
    contrastive=SETS,
)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with Store.open(f"sqlite:///{tmp_path_factory.mktemp('store') / 'store.sqlite'}") as store:
        fill(store)
        yield store


@pytest.fixture(scope="module")
def workspace(base, tmp_path_factory):
    return Workspace(base, "tiny", tmp_path_factory.mktemp("adapters"), "cpu")


@pytest.fixture(scope="module")
def taught(store, workspace):
    return train_on_preferences("taste", store, (), load_template("item"), workspace, SETTINGS)


def task_of(store, base, pairs=(), **changes):
    split = split_users(store, SplitSettings())
    preferences = read_preferences(store, load_template("item"), ["films", "books"], split.training, split.validation)
    encoder = open_encoder_for_training(base, EncoderLoraSettings(rank=4), device="cpu")
    return ContrastiveTask(encoder, preferences, SETS.model_copy(update=changes), pairs=pairs), preferences


def trainable(encoder):
    return {name: p for name, p in encoder.peft_model.named_parameters() if p.requires_grad}


def unit(rows, dims, rng):
    vectors = rng.standard_normal((rows, dims)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.sampled_from([0.05, 0.1, 0.5]))
def test_training_scores_as_the_retriever_does(seed, items, temperature):
    """What is learnt is the very score that the retriever ranks by, whatever the vectors; padding does not count."""
    import torch

    rng = np.random.default_rng(seed)
    history, candidates = unit(items, 8, rng), unit(5, 8, rng)
    profile = HistoryProfile(
        entries=(("d", "i"),) * items,
        vectors=history,
        weights=np.full(items, 1 / items, dtype=np.float32),
        clear=np.ones(items, dtype=np.bool_),
        rows={},
        texts=("",) * items,
    )
    padded = np.concatenate([history, unit(2, 8, rng)])[None]
    mask = np.arange(items + 2)[None] < items
    found = history_scores(torch.tensor(padded), torch.tensor(mask), torch.tensor(candidates), temperature)
    assert np.allclose(found[0].numpy(), log_sum_exp_pooling(candidates, profile, temperature), atol=1e-5)


def test_the_mean_of_each_domain_is_taken_off():
    """Rows are center_by_domain by the drawn rows of their own domain, and have length 1."""
    import torch

    vectors = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [3.0, 4.0]])
    found = center_by_domain(
        vectors, torch.tensor([0, 0, 0, 1]), torch.tensor([True, True, False, False]) | (vectors[:, 0] > 2)
    )
    assert torch.allclose(found[2], torch.tensor([0.5, 0.5]) * 2**0.5)
    assert torch.allclose(found[:3].norm(dim=1), torch.ones(3))


def test_a_positive_is_set_against_the_named_rows_alone():
    """Rows that are not to be set against a positive do not change its loss."""
    import torch

    scores = torch.tensor([[0.3, 0.1, 9.0]])
    found = info_nce(scores, torch.tensor([0]), torch.tensor([[False, True, False]]), 10.0)
    assert float(found) == pytest.approx(float(np.log1p(np.exp(-2.0))), rel=1e-5)


def test_nobody_is_taught_that_something_liked_is_wrong(store, base):
    """Nothing that a person liked is among the negatives of theirs, and what speaks for them is never looked for."""
    task, preferences = task_of(store, base)
    for index in range(3):
        batch = task.batch(0, index)
        for positive, example, against in zip(batch.positive, batch.example, batch.negatives, strict=True):
            row = batch.rows[positive]
            liked = {
                r
                for p in preferences.training
                if any(row in some for some in p.values())
                for s in p.values()
                for r in s
            }
            history = {batch.rows[at] for at in batch.history[example][batch.mask[example]]}
            assert row not in history
            owner = next(p for p in preferences.training if history | {row} <= {r for s in p.values() for r in s})
            assert not {batch.rows[at] for at in np.flatnonzero(against)} & {r for s in owner.values() for r in s}
            assert {preferences.domain[batch.rows[at]] for at in np.flatnonzero(against)} <= {preferences.domain[row]}
            assert liked


def test_a_batch_follows_from_its_number(store, base):
    """Another task of the same seed draws the same n-th batch, so that a resumed run sees what it would have seen."""
    first, second = (task_of(store, base)[0].batch(3, 2) for _ in range(2))
    assert np.array_equal(first.rows, second.rows)
    assert np.array_equal(first.negatives, second.negatives)
    assert not np.array_equal(first.rows, task_of(store, base)[0].batch(3, 1).rows)


def test_taste_is_learnt_and_the_held_out_are_left_out(taught, workspace, store):
    """Liked things are found far better afterwards; the manifest says who was left out and names nobody."""
    assert taught.metrics["ndcg"] > taught.before["ndcg"] + 0.1
    assert taught.section == "encoder"
    folder = workspace.adapters_dir / "taste"
    assert (folder / CURVE).is_file()
    assert "fold 4" in taught.data.left_out
    text = (folder / "xdrec-adapter.json").read_text()
    assert not any(f'"{user}"' in text for user in store.users())


def test_a_merged_encoder_is_a_plain_folder(taught, workspace, base, tmp_path):
    """It loads as any encoder, under a fingerprint of its own, and brings films near the books that go with them."""
    folder = merge_adapter(workspace.adapters_dir / taught.name, base, "tiny", tmp_path)
    merged, plain = SentenceEncoder("merged", folder), SentenceEncoder("tiny", base)
    assert merged.fingerprint != plain.fingerprint
    films, books = ([f"number 1. {word}." for word in ABOUT[domain]] for domain in ("films", "books"))

    def apart(encoder):
        cosines = encoder.encode(films) @ encoder.encode(books).T
        return np.diag(cosines).mean() - cosines.mean()

    assert apart(merged) > apart(plain)


def test_what_it_learnt_from_stays_with_the_model(taught, workspace, base, store, tmp_path):
    """The manifests of all adapters that were merged one after the other, each with the same people's identity."""
    once = merge_adapter(workspace.adapters_dir / taught.name, base, "tiny", tmp_path)
    brief = SETTINGS.model_copy(update={"plan": TrainingPlan(accumulation=1, steps=2, validations=1)})
    train_on_preferences(
        "again", store, (), load_template("item"), Workspace(once, "tiny--taste", tmp_path, "cpu"), brief
    )
    found = merged_adapters(merge_adapter(tmp_path / "again", once, "tiny--taste", tmp_path))
    assert [manifest.name for manifest in found] == ["taste", "again"]
    assert {manifest.data.people for manifest in found} == {split_users(store, SplitSettings()).identity}
    assert [manifest.base.name for manifest in found] == ["tiny", "tiny--taste"]


def test_an_adapter_of_another_model_is_refused(taught, workspace, tmp_path):
    """It is not added to weights that it was not trained on."""
    other = make_encoder(tmp_path / "other", seed=1)
    with pytest.raises(UsageError, match="was trained on tiny"):
        merge_adapter(workspace.adapters_dir / taught.name, other, "other", tmp_path)


def test_the_upper_layers_alone(base, workspace, store, tmp_path):
    """Vectors are those of the whole model, before additions and with them; they learn taste, and merge as any."""
    import torch

    texts = [f"number {n}. {word}." for n in range(3) for word in ABOUT["films"]]
    whole = open_encoder_for_training(base, EncoderLoraSettings(rank=4), device="cpu")
    upper = open_encoder_for_training(base, EncoderLoraSettings(rank=4, layers=1), device="cpu")
    assert 2 * len(trainable(upper)) == len(trainable(whole))
    tokens = upper.tokens(texts)
    with torch.no_grad():
        assert torch.allclose(upper.embed(tokens), whole.embed(tokens), atol=1e-3)
        for weight in trainable(upper).values():
            torch.nn.init.normal_(weight, std=0.1)
        uncut = LoraEncoder(upper.peft_model, upper.device, upper.sentence).embed(tokens)
        assert torch.allclose(upper.embed(tokens), uncut, atol=1e-3)
        assert not torch.allclose(whole.embed(tokens), uncut, atol=1e-2)
    settings = SETTINGS.model_copy(update={"lora": EncoderLoraSettings(rank=8, layers=1)})
    made = train_on_preferences("upper", store, (), load_template("item"), workspace, settings)
    assert made.metrics["ndcg"] > made.before["ndcg"] + 0.1
    merged = SentenceEncoder("merged", merge_adapter(workspace.adapters_dir / "upper", base, "tiny", tmp_path))
    assert not np.allclose(merged.encode(texts), SentenceEncoder("tiny", base).encode(texts), atol=1e-2)


def test_a_model_without_so_many_layers_is_refused(base):
    """There must be layers above the ones that are kept."""
    with pytest.raises(UsageError, match="no 2 layers below others"):
        FrozenLayers(load_sentence_transformer(base, "cpu")[0].model, 2, {})


def test_a_pair_that_is_not_named_teaches_nothing(store, base):
    """No example goes from one of its domains to the other; each domain still learns of itself."""
    everything = task_of(store, base)[0]
    one_way = task_of(store, base, [("films", "books")])[0]
    batches = [one_way.batch(0, index) for index in range(len(one_way))]
    _, preferences = task_of(store, base)
    seen = set()
    for batch in batches:
        for positive, example in zip(batch.positive, batch.example, strict=True):
            source = preferences.domain[batch.rows[batch.history[example][0]]]
            seen.add((int(source), int(preferences.domain[batch.rows[positive]])))
    assert seen == {(0, 1), (0, 0), (1, 1)}
    assert len(one_way) < len(everything)


def test_hard_negatives_look_like_what_was_liked():
    """They are near the history, not the very nearest, never liked, and of the domain that is looked in."""
    rng = np.random.default_rng(0)
    vectors = unit(400, 8, rng)
    books = np.arange(100, 400)
    history, liked = np.array([3, 4, 5]), np.concatenate([[3, 4, 5], books[:20]])
    (found,) = hard_negatives(vectors, [books], [history], [0], [liked])
    order = books[np.argsort(-(vectors[books] @ vectors[history].mean(axis=0)))]
    assert list(found) == [row for row in order if row not in liked][SKIPPED_NEAREST : SKIPPED_NEAREST + KEPT_NEAREST]


def test_mined_items_are_negatives_of_nobody_who_liked_them(store, base):
    """With them a batch has more to set against, none of it liked; a second task mines the same."""
    task, preferences = task_of(store, base, hard_negatives=2)
    plain = task_of(store, base)[0].batch(0, 0)
    batch = task.batch(0, 0)
    assert len(batch.rows) > len(plain.rows)
    assert batch.negatives.sum() > plain.negatives.sum()
    again, _ = task_of(store, base, hard_negatives=2)
    assert np.array_equal(again.batch(0, 0).rows, batch.rows)
    for positive, against in zip(batch.positive, batch.negatives, strict=True):
        assert {preferences.domain[batch.rows[at]] for at in np.flatnonzero(against)} == {
            preferences.domain[batch.rows[positive]]
        }
        assert not against[positive]


def test_texts_alone_teach_what_an_item_is(workspace, tmp_path):
    """A catalogue can be read without any user: titles find their own descriptions more often."""
    from retrieval.types import Item

    with Store.open(f"sqlite:///{tmp_path / 's.sqlite'}") as store:
        pairs = list(zip(ABOUT["films"], ABOUT["books"], strict=True))
        books = [
            Item(domain="books", id=f"{called}{n}", title=f"number {n} {called}", categories=(kind, str(n)))
            for called, kind in pairs
            for n in range(100)
        ]
        store.upsert_items(books, run="r")
        made = train_on_item_views("reader", store, ["books"], load_template("item"), workspace, SETTINGS)
    assert made.kind == "views"
    assert made.data.users == 0
    assert made.metrics["found"] > made.before["found"]


def test_a_catalogue_of_bare_titles_teaches_nothing(workspace, tmp_path):
    """It is refused with the way out."""
    from retrieval.types import Item

    with Store.open(f"sqlite:///{tmp_path / 's.sqlite'}") as store:
        store.upsert_items([Item(domain="books", id=str(n), title=f"book {n}") for n in range(9)], run="r")
        with pytest.raises(UsageError, match="more than their title"):
            train_on_item_views("reader", store, ["books"], load_template("item"), workspace, SETTINGS)
        with pytest.raises(UsageError, match="no domain 'films'"):
            train_on_preferences("taste2", store, [("films", "books")], load_template("item"), workspace, SETTINGS)


def test_the_command_trains_and_puts_to_use(store, base, tmp_path, monkeypatch):
    """`xdrec adapt encoder`, `list` and `use`: afterwards the settings name the merged encoder."""
    from xdrec_agent.cli import app

    fresh = tmp_path / "home"
    monkeypatch.setenv("XDREC_HOME", str(fresh))
    monkeypatch.setenv("XDREC_MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("XDREC_ENCODER__MODEL", str(base))
    monkeypatch.chdir(tmp_path)
    with Store.open(f"sqlite:///{fresh / 'store.sqlite'}") as own:
        fill(own)
    run = CliRunner()
    done = run.invoke(app, ["adapt", "encoder", "taste", "--epochs", "1", "--batch", "16", "--rank", "2"])
    assert done.exit_code == 0, done.output
    assert "ndcg" in done.output
    assert "taste" in run.invoke(app, ["adapt", "list"]).output
    used = run.invoke(app, ["adapt", "use", "taste"])
    assert used.exit_code == 0, used.output
    assert "encoder.model = tiny--taste" in used.output
    assert read_adapter_manifest(fresh / "adapters" / "taste").base.name == str(base)
    beside = run.invoke(app, ["adapt", "use", "taste", "--beside"])
    assert beside.exit_code == 2
