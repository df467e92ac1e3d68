"""The Trainer of transformers for our tasks. Reads a task, a model and a plan, produces checkpoints, log and curve.

Loss and validation are the task's own. AdamW with warm-up and cosine decay (Loshchilov & Hutter 2019). What a resumed
run has to know lies in the Trainer's state: its `log_history` has a row for each step and each validation.
"""

# ruff: noqa: ANN401 (transformers keeps its types to itself)
# mypy: disable-error-code="misc,has-type,no-any-return"

from __future__ import annotations

import json
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
from retrieval.adapt.lora import LoraModel
from retrieval.adapt.plan import CURVE, LOG, ReportProgress, Task, TrainingPlan, TrainingProgress, TrainingResult

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
        model: LoraModel,
        plan: TrainingPlan,
        folder: Path,
        report: ReportProgress,
        state: Mapping[str, Any] | None,
    ) -> None:
        self.task, self.trainable = task, model
        steps = plan.steps or -(-plan.epochs * len(task) // plan.accumulation)
        if state and _is_over(state["log_history"], plan, task.metric):
            steps = state["global_step"]  # it was killed between its last checkpoint and its end
        super().__init__(
            model=model.peft_model,
            args=_arguments(plan, folder, steps, model.device, task.metric, resumed=state is not None),
            data_collator=lambda batches: {"batches": batches},
            train_dataset=_Batches(task, steps * plan.accumulation),
            eval_dataset=(),
            callbacks=[_PlanCallback(plan, task.metric, report)],
        )
        self.remove_callback(PrinterCallback)
        self.model_accepts_loss_kwargs = False  # our loss is a mean over batches: it is scaled by their number

    def run(self, checkpoint: Path | None) -> TrainingResult:
        """Train from a checkpoint, or from the beginning, and leave the model with the best weights."""
        parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        untrained = [parameter.detach().clone() for parameter in parameters]
        self.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        history, metric = self.state.log_history, f"eval_{self.task.metric}"
        validations = [row for row in history if metric in row]
        best = max(validations, key=lambda row: row[metric])  # the first one of equals
        if best["step"] == 0:
            with torch.no_grad():
                for parameter, value in zip(parameters, untrained, strict=True):
                    parameter.copy_(value)
        return TrainingResult(
            step=self.state.global_step,
            seconds=_seconds(history),
            tokens=self.state.num_input_tokens_seen,
            before=_figures(validations[0]),
            best=_figures(best),
            best_step=int(best["step"]),
        )

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """The task's loss. Dropout stays off: a text is seen a few times only, and frozen layers are computed once."""
        model.eval()
        loss, tokens = self.task.loss(self.trainable, inputs["batches"])
        self.state.num_input_tokens_seen += tokens
        return loss

    @torch.no_grad()
    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """The task's validation."""
        self.model.eval()
        metrics = {f"eval_{name}": value for name, value in self.task.validate(self.trainable).items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

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


class _PlanCallback(TrainerCallback):
    """Limits time, stops early, writes checkpoints by the clock, log and curve, and reports progress."""

    def __init__(self, plan: TrainingPlan, metric: str, report: ReportProgress) -> None:
        self._plan, self._metric, self._report = plan, metric, report
        self._began = self._saved = time.perf_counter()

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        # Rows after the last checkpoint are written again.
        rows = [json.dumps(row) + "\n" for row in state.log_history]
        Path(args.output_dir, LOG).write_text("".join(rows), encoding="utf-8")
        self._saved = time.perf_counter()
        self._began = self._saved - _seconds(state.log_history)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        now = time.perf_counter()
        if now - self._saved >= self._plan.checkpoint_s:
            control.should_save = True
        if self._plan.minutes and now - self._began >= 60 * self._plan.minutes:
            control.should_evaluate = control.should_save = control.should_training_stop = True

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        row = state.log_history[-1]
        if "train_runtime" in row:
            return
        if "loss" in row:
            seconds, tokens, step = time.perf_counter() - self._began, state.num_input_tokens_seen, state.global_step
            row |= {"tokens": tokens, "seconds": round(seconds, 3)}
            left = (state.max_steps - step) * seconds / step
            if self._plan.minutes:
                left = max(0.0, min(left, 60 * self._plan.minutes - seconds))
            self._report(TrainingProgress(step, state.max_steps, row["loss"], tokens / seconds, left))
        with Path(args.output_dir, LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        history = state.log_history
        if state.global_step == 0:  # weights that are worse than the base are not kept
            state.best_metric = history[-1][f"eval_{self._metric}"]
        if _is_over(history, self._plan, self._metric):
            control.should_training_stop = True
        write_curve(Path(args.output_dir, CURVE), history, self._metric)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._saved = time.perf_counter()


class _Batches(torch.utils.data.Dataset[Any]):
    """The batches of a task, counted through all epochs."""

    def __init__(self, task: Task[Any, Any], size: int) -> None:
        self._task, self._size = task, size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, number: int) -> Any:
        return self._task.batch(*divmod(number, len(self._task)))


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
        lr_scheduler_type="cosine_warmup_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": _LEAST_RATE},
        warmup_steps=plan.warmup,  # below 1: a share of the steps
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


def _is_over(history: Sequence[LogRow], plan: TrainingPlan, metric: str) -> bool:
    """Whether the time is spent, or `plan.patience` validations were not better than the best one."""
    figures = [row[f"eval_{metric}"] for row in history if f"eval_{metric}" in row]
    stale = len(figures) - 1 - figures.index(max(figures)) if figures else 0
    return stale >= plan.patience or _seconds(history) >= 60 * (plan.minutes or float("inf"))


def _seconds(history: Sequence[LogRow]) -> float:
    """Seconds of training so far."""
    return max((row["seconds"] for row in history if "seconds" in row), default=0.0)


def _figures(row: LogRow) -> dict[str, float]:
    return {name.removeprefix("eval_"): value for name, value in row.items() if name.startswith("eval_")}
