"""Promises of the training loop: it learns, it can be killed, and it keeps its last good state."""

from __future__ import annotations

import json
from dataclasses import replace
from xml.dom.minidom import parseString

import pytest

from retrieval.adapt import CURVE, LOG, TrainingPlan, train
from retrieval.errors import BackendError, UsageError
from retrieval.templates import load_template
from xdrec_agent.adapt import LoraSettings, open_llm_for_training
from xdrec_agent.adapt.list_task import label_logits, listwise_loss
from xdrec_agent.adapt.prompts import TokenGroup
from xdrec_agent.adapt.text_task import TextTask, item_texts
from xdrec_agent.models import load_tokenizer

SHAPE = LoraSettings(rank=4)
PLAN = TrainingPlan(steps=6, accumulation=2, learning_rate=1e-2, validations=3, checkpoint_s=0)


class Killed(Exception):
    """Stands for the end of the process."""


class Toy:
    """Lists in which the first label is right after the word 40, the second after 41; they begin differently."""

    metric = "negative_loss"

    def __len__(self):
        return 3

    def batch(self, epoch, index):
        return TokenGroup((5, 6, 7, 8 + index), ((30, 31, 40, 32), (30, 41, 32)), ((0,), (1,)), 3)

    def loss(self, model, groups):
        scores = label_logits(model, groups, (50, 51, 52))
        losses = [listwise_loss(some, group.positives) for some, group in zip(scores, groups, strict=True)]
        return sum(losses) / len(losses), 16 * len(groups)

    def validate(self, model):
        return {"negative_loss": -sum(float(self.loss(model, [self.batch(0, n)])[0].detach()) for n in range(3))}


def opened(base, seed=0):
    return open_llm_for_training(base, SHAPE, device="cpu", seed=seed)


def weights(model):
    return {name: p.detach().clone() for name, p in model.peft_model.named_parameters() if p.requires_grad}


def test_what_can_be_learnt_is_learnt(base, tmp_path):
    """Loss falls to less than a third of what it began with; log and picture tell of it."""
    told = []
    plan = PLAN.model_copy(update={"steps": 40, "checkpoint_s": 1000, "patience": 40})
    state = train(Toy(), opened(base), plan, tmp_path, "id", told.append)
    assert state.best["negative_loss"] > state.before["negative_loss"] / 3
    assert [p.step for p in told] == list(range(1, 41))
    assert told[-1].left == 0
    rows = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert [row["step"] for row in rows if "loss" in row] == list(range(1, 41))
    assert sum("eval_negative_loss" in row for row in rows) >= 4
    assert parseString((tmp_path / CURVE).read_text()).documentElement.tagName == "svg"  # noqa: S318 (our own)


def test_a_killed_run_comes_to_the_same_weights(base, tmp_path):
    """Killed twice, once right after a checkpoint and once between two, and resumed by a fresh process: bit by bit."""
    import torch

    whole = opened(base)
    state = train(Toy(), whole, PLAN, tmp_path / "whole", "id")

    for step in (3, 5):
        killed_at(base, tmp_path / "parts", step)
    parts = opened(base)
    resumed = train(Toy(), parts, PLAN, tmp_path / "parts", "id")
    for (name, one), (_, other) in zip(weights(whole).items(), weights(parts).items(), strict=True):
        assert torch.equal(one, other), name
    assert replace(resumed, seconds=0) == replace(state, seconds=0)
    logs = [[json.loads(line) for line in (tmp_path / n / LOG).read_text().splitlines()] for n in ("whole", "parts")]
    one, other = ([(row["step"], row.get("loss")) for row in log] for log in logs)
    assert one == other


def killed_at(base, folder, step, identity="id"):
    """A training that is killed in the report of a step."""

    def report(progress):
        if progress.step == step:
            raise Killed

    with pytest.raises(Killed):
        train(Toy(), opened(base), PLAN, folder, identity, report)


def test_another_training_is_not_gone_on_with(base, tmp_path):
    """A folder of other settings or data is refused, not mixed."""
    killed_at(base, tmp_path, 3, identity="other")
    with pytest.raises(UsageError, match="other settings"):
        train(Toy(), opened(base), PLAN, tmp_path, "id")


def test_training_ends_when_validation_no_longer_improves(base, tmp_path):
    """After `patience` validations without a better one; the best weights are kept, not the last."""

    class Worse(Toy):
        def __init__(self):
            self.found = iter([1.0, 5.0, 2.0, 2.0, 9.0])

        def validate(self, model):
            self.seen = weights(model)
            return {"negative_loss": next(self.found)}

    import torch

    model, task = opened(base), Worse()
    state = train(task, model, PLAN.model_copy(update={"steps": 40, "validations": 40, "patience": 2}), tmp_path, "id")
    assert (state.step, state.best_step, state.best) == (3, 1, {"negative_loss": 5.0})
    assert any(not torch.equal(p, task.seen[name]) for name, p in weights(model).items())


def test_a_full_disk_keeps_the_last_good_checkpoint(base, tmp_path):
    """Where the next checkpoint cannot be written the error says so; the same command goes on at the last one."""

    def refuse(progress):
        # A folder of the name of the file that is to be written stands for a disk that refuses.
        if progress.step == 3:
            (tmp_path / "checkpoint-3" / "adapter_model.safetensors").mkdir(parents=True)

    with pytest.raises(BackendError, match="cannot be written") as failed:
        train(Toy(), opened(base), PLAN, tmp_path, "id", refuse)
    assert "goes on at the last checkpoint" in failed.value.hint
    assert not (tmp_path / "checkpoint-3").exists()
    steps = []
    train(Toy(), opened(base), PLAN, tmp_path, "id", lambda progress: steps.append(progress.step))
    assert steps == [3, 4, 5, 6]


def test_a_broken_checkpoint_is_passed_over(base, tmp_path):
    """A checkpoint that was cut off while it was written is no reason to lose the one before it."""
    killed_at(base, tmp_path, 4)
    (tmp_path / "checkpoint-9").mkdir()
    (tmp_path / "checkpoint-9" / "trainer_state.json").write_text("{")
    steps = []
    train(Toy(), opened(base), PLAN, tmp_path, "id", lambda progress: steps.append(progress.step))
    assert steps == [4, 5, 6]


def test_weights_that_got_worse_are_not_kept(base, tmp_path):
    """Where no validation is better than the one before training, the model ends as it began."""
    import torch

    class Worse(Toy):
        def __init__(self):
            self.figures = iter([5.0, 1.0, 1.0, 1.0])

        def validate(self, model):
            return {"negative_loss": next(self.figures)}

    model = opened(base)
    before = weights(model)
    result = train(Worse(), model, PLAN, tmp_path, "id")
    assert (result.best_step, result.best) == (0, {"negative_loss": 5.0})
    assert all(torch.equal(value, before[name]) for name, value in weights(model).items())


def test_checkpoints_hold_no_pickled_code(base, tmp_path):
    """Weights are safetensors, and what torch saves beside them loads without unpickling anything but tensors."""
    import torch

    killed_at(base, tmp_path, 3)
    (checkpoint,) = tmp_path.glob("checkpoint-2")
    assert (checkpoint / "adapter_model.safetensors").is_file()
    assert not (checkpoint / "training_args.bin").exists()
    for name in ("optimizer.pt", "scheduler.pt"):
        torch.load(checkpoint / name, weights_only=True)


def test_reading_on_lowers_the_loss_of_unseen_texts(base, store, tmp_path):
    """Continued pretraining on a domain's item texts makes held-out ones likelier."""
    training, validation = item_texts(store, "books", load_template("item"))
    task = TextTask(load_tokenizer(base), training, validation, length=4)
    state = train(task, opened(base), PLAN.model_copy(update={"steps": 20, "patience": 20}), tmp_path, "id")
    assert state.best["loss"] < state.before["loss"]
    assert state.best["perplexity"] < state.before["perplexity"]


def test_time_limits_the_steps(base, tmp_path):
    """With hardly any time the run ends after its first step, which is validated and kept if it is better."""
    plan = PLAN.model_copy(update={"steps": 1000, "minutes": 1e-6})
    result = train(Toy(), opened(base), plan, tmp_path, "id")
    assert (result.step, result.best_step) == (1, 1)
    again = train(Toy(), opened(base), plan, tmp_path, "id")
    assert (again.step, again.best) == (1, result.best)
