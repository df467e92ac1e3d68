"""The training loop. Reads a task and a model, produces its best weights, a log and a curve; can be killed at any time.

AdamW with warm-up and cosine decay (Loshchilov & Hutter 2019), gradients summed over several groups. A killed run goes
on at its last checkpoint with the data it would have seen next, and comes to the same weights.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from pydantic import Field

from retrieval.adapt import checkpoint
from retrieval.adapt.checkpoint import TrainingState
from retrieval.adapt.curve import LogRow, append_row, read_rows, trim_rows, write_curve
from retrieval.errors import UsageError
from retrieval.settings import Section

if TYPE_CHECKING:
    import torch

LOG: Final = "log.jsonl"
CURVE: Final = "curve.svg"
_MEASURED: Final = 3
"""Steps after which it is known how many fit into the time."""
_FLOOR: Final = 0.1
"""Share of the learning rate that is left at the end."""


class Plan(Section):
    """How long and how fast to learn."""

    steps: int | None = Field(default=None, ge=1)
    """None: as many as `epochs` take."""
    epochs: int = Field(default=1, ge=1)
    groups: int = Field(default=8, ge=1)
    """Groups (or blocks) whose gradients make one step."""
    rate: float = Field(default=5e-4, gt=0)
    warmup: float = Field(default=0.05, ge=0, lt=1)
    """Share of the steps in which the rate rises."""
    weight_decay: float = Field(default=0.01, ge=0)
    validations: int = Field(default=10, ge=1)
    """Spread evenly over the steps."""
    patience: int = Field(default=4, ge=1)
    """Validations without a better one after which training ends."""
    minutes: float | None = Field(default=None, gt=0)
    """Fewer steps if they would take longer; validation counts, loading does not."""
    checkpoint_s: float = Field(default=180, ge=0)
    seed: int = 0


class Trainable(Protocol):
    """A model in training."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        ...

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        """What is trained, by name, in a fixed order."""
        ...


M = TypeVar("M", bound=Trainable)
M_contra = TypeVar("M_contra", bound=Trainable, contravariant=True)


class Task(Protocol[M_contra]):
    """What is learnt."""

    metric: str
    """The figure of `validate` that is to grow."""

    def __len__(self) -> int:
        """Groups in an epoch."""
        ...

    def loss(self, model: M_contra, epoch: int, indices: Sequence[int]) -> tuple[torch.Tensor, int]:
        """Mean loss of some groups in nats, and how many tokens they have."""
        ...

    def validate(self, model: M_contra) -> dict[str, float]:
        """Figures on people or texts that are not learnt from."""
        ...


@dataclass(frozen=True)
class Progress:
    """Told after every step: how far, the loss of the step, tokens a second, seconds left (None: not known yet)."""

    step: int
    planned: int | None
    loss: float
    rate: float
    left: float | None


Report = Callable[[Progress], None]


def train(
    task: Task[M], model: M, plan: Plan, folder: Path, identity: str, report: Report = lambda _: None
) -> TrainingState:
    """Train, or go on with training, and leave the model with the weights that validated best.

    Args:
        folder: for checkpoints, `log.jsonl` and `curve.svg`.
        identity: of base model, data and settings.

    Raises:
        UsageError: `folder` holds another training, or there is nothing to learn from.
        BackendError: a checkpoint cannot be written; the last good one is kept.
    """
    if not len(task):
        raise UsageError("there is nothing to learn from", hint="more users or items")
    run = _Run(task, model, plan, folder, identity)
    saved = time.monotonic()
    while not run.over:
        report(run.one_step())
        if run.due:
            run.validate()
        if time.monotonic() - saved >= plan.checkpoint_s:
            run.save()
            saved = time.monotonic()
    run.save()
    run.restore(checkpoint.load_best(folder))
    return run.state


class _Run(Generic[M]):
    """A training between two steps."""

    def __init__(self, task: Task[M], model: M, plan: Plan, folder: Path, identity: str) -> None:
        import torch

        self.task, self.model, self.plan, self.folder = task, model, plan, folder
        self.weights = model.trainable()
        self._validation_s = 0.0
        self.optimizer = torch.optim.AdamW(self.weights.values(), lr=plan.rate, weight_decay=plan.weight_decay)
        found = checkpoint.load(folder, identity)
        if found is None:
            self.state = TrainingState(identity=identity, planned=None if plan.minutes else self._most)
            trim_rows(folder / LOG, -1)
            self.validate()
        else:
            self.state = found[0]
            self.restore(found[1])
            trim_rows(folder / LOG, self.state.step)

    @property
    def over(self) -> bool:
        """Whether all steps are done, or validation no longer improves."""
        done = self.state.planned is not None and self.state.step >= self.state.planned
        return done or self.state.worse >= self.plan.patience

    @property
    def due(self) -> bool:
        """Whether it is time for a validation."""
        step, planned = self.state.step, self.state.planned
        return planned is not None and (step % max(1, planned // self.plan.validations) == 0 or step == planned)

    def one_step(self) -> Progress:
        """Learn from the next groups."""
        began, total, tokens = time.perf_counter(), 0.0, 0
        for epoch, indices in self._groups():
            loss, size = self.task.loss(self.model, epoch, indices)
            share = len(indices) / self.plan.groups
            (loss * share).backward()  # type: ignore[no-untyped-call] # of torch
            total += float(loss.detach()) * share
            tokens += size
        self._update()
        seconds = self.state.seconds + time.perf_counter() - began
        self._advance(step=self.state.step + 1, tokens=self.state.tokens + tokens, seconds=seconds)
        if self.state.planned is None and self.state.step >= _MEASURED:
            self._advance(planned=self._fitting())
        speed = self.state.tokens / seconds
        self._log(LogRow(step=self.state.step, loss=total, tokens=self.state.tokens, seconds=round(seconds, 1)))
        planned = self.state.planned
        left = None if planned is None else (planned - self.state.step) * seconds / self.state.step
        return Progress(self.state.step, planned, total, speed, left)

    def _groups(self) -> Iterator[tuple[int, list[int]]]:
        """The step's groups by epoch: one at a time on a CPU, which gains nothing by more, else all together."""
        at_once = 1 if self.model.device.type == "cpu" else self.plan.groups
        numbers = range(self.state.step * self.plan.groups, (self.state.step + 1) * self.plan.groups)
        for epoch, some in groupby(numbers, key=lambda number: number // len(self.task)):
            indices = [number % len(self.task) for number in some]
            yield from ((epoch, indices[start : start + at_once]) for start in range(0, len(indices), at_once))

    def validate(self) -> None:
        """Measure, and keep the weights if they are the best so far."""
        began = time.perf_counter()
        figures = self.task.validate(self.model)
        self._validation_s = time.perf_counter() - began
        first = not self.state.before
        better = first or figures[self.task.metric] > self.state.best[self.task.metric]
        if better:
            checkpoint.save_best(self.folder, self.weights)
            self._advance(best=figures, best_step=self.state.step, worse=0)
        else:
            self._advance(worse=self.state.worse + 1)
        if first:
            self._advance(before=figures)
        self._log(LogRow(step=self.state.step, validation=figures))
        write_curve(self.folder / CURVE, read_rows(self.folder / LOG), self.task.metric)

    def save(self) -> None:
        """Write a checkpoint."""
        tensors = {f"w.{name}": p for name, p in self.weights.items()}
        for name, p in self.weights.items():
            moments = self.optimizer.state[p]
            if moments:
                tensors |= {f"m.{name}": moments["exp_avg"], f"v.{name}": moments["exp_avg_sq"]}
        checkpoint.save(self.folder, self.state, tensors)

    def restore(self, tensors: checkpoint.Tensors) -> None:
        """Take weights, and moments if there are any, from a checkpoint or from the best weights (bare names)."""
        import torch

        with torch.no_grad():
            for name, p in self.weights.items():
                p.copy_(tensors.get(f"w.{name}", tensors.get(name)))  # type: ignore[arg-type] # same names
                if f"m.{name}" in tensors:
                    self.optimizer.state[p] = {
                        "step": torch.tensor(float(self.state.step)),
                        "exp_avg": tensors[f"m.{name}"].to(p.device),
                        "exp_avg_sq": tensors[f"v.{name}"].to(p.device),
                    }

    def _update(self) -> None:
        import torch

        torch.nn.utils.clip_grad_norm_(self.weights.values(), 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = self.plan.rate * self._share()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def _share(self) -> float:
        """Share of the learning rate in this step, in (0, 1]."""
        planned = self.state.planned or self._most
        warm = max(1.0, self.plan.warmup * planned)
        if self.state.step < warm:
            return (self.state.step + 1) / (warm + 1)
        done = (self.state.step - warm) / max(1.0, planned - warm)
        return _FLOOR + (1 - _FLOOR) * (1 + math.cos(math.pi * min(1.0, done))) / 2

    def _fitting(self) -> int:
        """Steps that fit into the time, at most those that were asked for."""
        budget = 60 * (self.plan.minutes or math.inf) - self._validation_s * (self.plan.validations + 1)
        return max(_MEASURED, min(self._most, int(budget / (self.state.seconds / self.state.step))))

    @property
    def _most(self) -> int:
        """Steps at most."""
        return self.plan.steps or -(-self.plan.epochs * len(self.task) // self.plan.groups)

    def _advance(self, **changes: Any) -> None:
        self.state = self.state.model_copy(update=changes)

    def _log(self, row: LogRow) -> None:
        append_row(self.folder / LOG, row)
