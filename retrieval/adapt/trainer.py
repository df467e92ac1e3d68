"""The transformers Trainer for our tasks. Reads a task, a model and a plan, produces checkpoints, log and curve.

Loss and validation are the task's own. AdamW with warm-up and cosine decay (Loshchilov & Hutter 2019). What a resumed
run has to know lies in the Trainer's state: its `log_history` has a row for each step and each validation.
"""

# ruff: noqa: ANN401 (transformers keeps its types to itself)
# mypy: disable-error-code="misc,has-type,no-any-return"

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from retrieval.adapt.curve import write_curve
from retrieval.adapt.plan import (
    CURVE,
    LOG,
    ReportProgress,
    Task,
    Trainable,
    TrainingPlan,
    TrainingProgress,
    TrainingResult,
)

_MEASURED_STEPS: Final = 3
"""Steps after which it is known how many fit into the time."""
_LEAST_RATE: Final = 0.1
"""Share of the learning rate that is left at the end."""

LogRow = Mapping[str, float]


class TaskTrainer(Trainer):
    """A Trainer that learns a task.

    Args:
        folder: for checkpoints, log and curve.
        state: of the checkpoint that training goes on from, as JSON; None: it begins.
    """

    def __init__(
        self,
        task: Task[Any, Any],
        model: Trainable,
        plan: TrainingPlan,
        folder: Path,
        report: ReportProgress,
        state: Mapping[str, Any] | None,
    ) -> None:
        self.task, self.trainable, self.plan = task, model, plan
        steps = plan.steps or -(-plan.epochs * len(task) // plan.accumulation)
        if state is not None:
            steps = state["max_steps"]
            if _stale_validations(state["log_history"], task.metric) >= plan.patience:
                steps = state["global_step"]  # it was killed after early stopping
        super().__init__(
            model=model.peft_model,
            args=_arguments(plan, folder, steps, model.device, task.metric, resumed=state is not None),
            data_collator=_collate,
            train_dataset=_Batches(task, steps * plan.accumulation),
            eval_dataset=(),
            callbacks=[_PlanCallback(self, report)],
        )
        self.remove_callback(PrinterCallback)
        self.model_accepts_loss_kwargs = False  # our loss is a mean over batches: it is scaled by their number

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """The task's loss. Dropout stays off: a text is seen a few times only, and frozen layers are computed once."""
        model.eval()
        loss, tokens = self.task.loss(self.trainable, inputs["batches"])
        self.state.num_input_tokens_seen += tokens
        return loss

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """The task's validation."""
        self.model.eval()
        metrics = {f"eval_{name}": value for name, value in self.task.validate(self.trainable).items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Warm-up, then cosine decay, over as many steps as are planned by now."""
        if self.lr_scheduler is None:
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer or self.optimizer, self._rate_share)
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def _rate_share(self, step: int) -> float:
        """Share of the learning rate in a step, in (0, 1]."""
        warm = max(1.0, self.plan.warmup * self.state.max_steps)
        if step < warm:
            return (step + 1) / (warm + 1)
        done = min(1.0, (step - warm) / max(1.0, self.state.max_steps - warm))
        return _LEAST_RATE + (1 - _LEAST_RATE) * (1 + math.cos(math.pi * done)) / 2

    def floating_point_ops(self, inputs: Any) -> int:
        """Not counted."""
        return 0

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """Write the LoRA matrices alone: no pickled arguments, and no question to the hub about embeddings."""
        self.model.save_pretrained(output_dir, save_embedding_layers=False)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        try:
            super()._save_checkpoint(model, trial)
        except (OSError, RuntimeError, SafetensorError) as exc:  # torch raises RuntimeError where the disk is full
            shutil.rmtree(Path(self.args.output_dir, f"checkpoint-{self.state.global_step}"), ignore_errors=True)
            raise OSError(str(exc)) from exc

    def result(self) -> TrainingResult:
        """What the training came to."""
        history, metric = self.state.log_history, f"eval_{self.task.metric}"
        validations = [row for row in history if metric in row]
        best = max(validations, key=lambda row: row[metric])  # the first one of equals
        return TrainingResult(
            step=self.state.global_step,
            planned=self.state.max_steps,
            seconds=_seconds(history),
            tokens=self.state.num_input_tokens_seen,
            before=_figures(validations[0]),
            best=_figures(best),
            best_step=int(best["step"]),
        )


class _PlanCallback(TrainerCallback):
    """Limits time, stops early, writes checkpoints by the clock, log and curve, and reports progress."""

    def __init__(self, trainer: TaskTrainer, report: ReportProgress) -> None:
        self._trainer, self._plan, self._report = trainer, trainer.plan, report
        self._seconds = self._validation_s = 0.0
        self._mark = self._saved = time.perf_counter()

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        # Rows after the last checkpoint are written again.
        rows = [json.dumps(row) + "\n" for row in state.log_history]
        Path(args.output_dir, LOG).write_text("".join(rows), encoding="utf-8")
        self._seconds = _seconds(state.log_history)
        self._mark = self._saved = time.perf_counter()

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        now = time.perf_counter()
        self._seconds += now - self._mark
        self._mark = now
        if self._plan.minutes and state.global_step + 1 == _MEASURED_STEPS:
            budget = 60 * self._plan.minutes - self._validation_s * (self._plan.validations + 1)
            fitting = int(budget / (self._seconds / _MEASURED_STEPS))
            state.max_steps = max(_MEASURED_STEPS, min(state.max_steps, fitting))
            state.eval_steps = state.save_steps = max(1, state.max_steps // self._plan.validations)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if time.perf_counter() - self._saved >= self._plan.checkpoint_s:
            control.should_save = True

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        row = state.log_history[-1]
        if "loss" in row:
            row |= {"tokens": state.num_input_tokens_seen, "seconds": round(self._seconds, 3)}
            known = not self._plan.minutes or state.global_step >= _MEASURED_STEPS
            planned = state.max_steps if known else None
            left = (planned - state.global_step) * self._seconds / state.global_step if planned else None
            speed = state.num_input_tokens_seen / self._seconds
            self._report(TrainingProgress(state.global_step, planned, row["loss"], speed, left))
        elif "train_runtime" in row:
            return
        with Path(args.output_dir, LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        metric, history = self._trainer.task.metric, state.log_history
        if state.global_step == 0:
            state.best_metric = history[-1][f"eval_{metric}"]  # weights that are worse than the base are not kept
        if _stale_validations(history, metric) >= self._plan.patience:
            control.should_training_stop = True
        write_curve(Path(args.output_dir, CURVE), history, metric)
        self._validation_s = time.perf_counter() - self._mark
        self._mark = time.perf_counter()

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._mark = self._saved = time.perf_counter()


class _Batches(torch.utils.data.Dataset[Any]):
    """The batches of a task, counted through all epochs."""

    def __init__(self, task: Task[Any, Any], size: int) -> None:
        self._task, self._size = task, size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, number: int) -> Any:
        if number >= self._size:
            raise IndexError(number)
        return self._task.batch(*divmod(number, len(self._task)))


def _collate(batches: Sequence[Any]) -> dict[str, Sequence[Any]]:
    return {"batches": batches}


def _arguments(
    plan: TrainingPlan, folder: Path, steps: int, device: torch.device, metric: str, *, resumed: bool
) -> TrainingArguments:
    # A CPU gains nothing by computing batches together. A GPU learns faster than one process draws batches.
    on_cpu = device.type == "cpu"
    every = max(1, steps // plan.validations)
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=1 if on_cpu else plan.accumulation,
        gradient_accumulation_steps=plan.accumulation if on_cpu else 1,
        learning_rate=plan.learning_rate,
        weight_decay=plan.weight_decay,
        optim="adamw_torch",
        eval_strategy="steps",
        eval_steps=every,
        eval_on_start=not resumed,
        save_steps=every,
        save_total_limit=1,
        load_best_model_at_end=True,
        metric_for_best_model=metric,
        greater_is_better=True,
        logging_steps=1,
        train_sampling_strategy="sequential",
        dataloader_num_workers=0 if on_cpu else max(1, (os.cpu_count() or 1) - 1),
        dataloader_prefetch_factor=None if on_cpu else 16,
        dataloader_pin_memory=False,
        disable_tqdm=True,
        report_to="none",
        use_cpu=on_cpu,
        seed=plan.seed,
    )
    arguments._n_gpu = min(1, arguments.n_gpu)  # the loss calls our model, not the Trainer's wrapper for several GPUs
    return arguments


def _stale_validations(history: Sequence[LogRow], metric: str) -> int:
    """Validations since the best one."""
    figures = [row[f"eval_{metric}"] for row in history if f"eval_{metric}" in row]
    return len(figures) - 1 - figures.index(max(figures)) if figures else 0


def _seconds(history: Sequence[LogRow]) -> float:
    """Seconds of training so far."""
    return max((row["seconds"] for row in history if "seconds" in row), default=0.0)


def _figures(row: LogRow) -> dict[str, float]:
    return {name.removeprefix("eval_"): value for name, value in row.items() if name.startswith("eval_")}
