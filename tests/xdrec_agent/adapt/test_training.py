"""Promises of the training loop: it learns, it can be killed, and it keeps its last good state."""

from __future__ import annotations

import json
from xml.dom.minidom import parseString

import pytest

from retrieval.adapt import CURVE, LOG, Plan, checkpoint, train
from retrieval.adapt.checkpoint import TrainingState
from retrieval.errors import BackendError, UsageError
from retrieval.templates import load_template
from xdrec_agent.adapt.continued_pretraining import TextTask, item_texts
from xdrec_agent.adapt.label_loss import label_logits, list_loss
from xdrec_agent.adapt.token_groups import TokenGroup
from xdrec_agent.models import LoraShape, load_tokenizer, open_for_training

SHAPE = LoraShape(rank=4)
PLAN = Plan(steps=6, groups=2, rate=1e-2, validations=3, checkpoint_s=0)


class Killed(Exception):
    """Stands for the end of the process."""


class Toy:
    """Lists in which the first label is right after the word 40, the second after 41; they begin differently."""

    metric = "negative_loss"

    def __len__(self):
        return 3

    def group(self, index):
        return TokenGroup((5, 6, 7, 8 + index), ((30, 31, 40, 32), (30, 41, 32)), ((0,), (1,)), 3)

    def loss(self, model, epoch, indices):
        groups = [self.group(index) for index in indices]
        scores = label_logits(model, groups, (50, 51, 52))
        losses = [list_loss(some, group.positives) for some, group in zip(scores, groups, strict=True)]
        return sum(losses) / len(losses), 16 * len(groups)

    def validate(self, model):
        return {"negative_loss": -sum(float(self.loss(model, 0, [n])[0].detach()) for n in range(3))}


def opened(base, seed=0):
    return open_for_training(base, SHAPE, device="cpu", seed=seed)


def weights(model):
    return {name: p.detach().clone() for name, p in model.trainable().items()}


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
    assert sum("validation" in row for row in rows) >= 4
    assert parseString((tmp_path / CURVE).read_text()).documentElement.tagName == "svg"  # noqa: S318 (our own)


def test_a_killed_run_comes_to_the_same_weights(base, tmp_path):
    """Killed twice, once right after a checkpoint and once between two, and resumed by a fresh process: bit by bit."""
    import torch

    whole = opened(base)
    state = train(Toy(), whole, PLAN, tmp_path / "whole", "id")

    def kill_at(step):
        def report(now):
            if now.step == step:
                raise Killed

        return report

    for step in (3, 5):
        with pytest.raises(Killed):
            train(Toy(), opened(base), PLAN, tmp_path / "parts", "id", kill_at(step))
    parts = opened(base)
    resumed = train(Toy(), parts, PLAN, tmp_path / "parts", "id")
    for (name, one), (_, other) in zip(weights(whole).items(), weights(parts).items(), strict=True):
        assert torch.equal(one, other), name
    assert resumed.model_dump(exclude={"seconds"}) == state.model_dump(exclude={"seconds"})
    logs = [[json.loads(line) for line in (tmp_path / n / LOG).read_text().splitlines()] for n in ("whole", "parts")]
    one, other = ([(row["step"], row.get("loss")) for row in log] for log in logs)
    assert one == other


def test_another_training_is_not_gone_on_with(base, tmp_path):
    """A folder of other settings or data is refused, not mixed."""
    checkpoint.save(tmp_path, TrainingState(identity="other", step=3), {})
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


def test_a_full_disk_keeps_the_last_good_checkpoint(tmp_path):
    """Where the next checkpoint cannot be written the error says so, nothing half-written is left."""
    import torch

    checkpoint.save(tmp_path, TrainingState(identity="id", step=1), {"w.a": torch.ones(2)})
    # A file of the name of the folder that is to be made stands for a disk that refuses.
    (tmp_path / ".partial-checkpoint-000002").write_text("")
    with pytest.raises(BackendError, match="cannot be written") as failed:
        checkpoint.save(tmp_path, TrainingState(identity="id", step=2), {"w.a": torch.zeros(2)})
    assert "goes on at the last checkpoint" in failed.value.hint
    state, tensors = checkpoint.load(tmp_path, "id")
    assert (state.step, tensors["w.a"].tolist()) == (1, [1.0, 1.0])
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-000001"]


def test_a_broken_checkpoint_is_passed_over(tmp_path):
    """A checkpoint that cannot be read is no reason to lose the one before it."""
    import torch

    checkpoint.save(tmp_path, TrainingState(identity="id", step=1), {"w.a": torch.ones(2)})
    (tmp_path / "checkpoint-000002").mkdir()
    (tmp_path / "checkpoint-000002" / "state.json").write_text("{")
    assert checkpoint.load(tmp_path, "id")[0].step == 1


def test_reading_on_lowers_the_loss_of_unseen_texts(base, store, tmp_path):
    """Continued pretraining on a domain's item texts makes held-out ones likelier."""
    training, validation = item_texts(store, "books", load_template("item"))
    task = TextTask(load_tokenizer(base), training, validation, length=4)
    state = train(task, opened(base), PLAN.model_copy(update={"steps": 20, "patience": 20}), tmp_path, "id")
    assert state.best["loss"] < state.before["loss"]
    assert state.best["perplexity"] < state.before["perplexity"]


def test_time_limits_the_steps(base, tmp_path):
    """With hardly any time the run takes the fewest steps that show how long one lasts."""
    plan = PLAN.model_copy(update={"steps": 1000, "minutes": 1e-6})
    assert train(Toy(), opened(base), plan, tmp_path, "id").planned == 3
