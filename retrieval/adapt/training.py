"""Training. Reads a task and a model with LoRA matrices, produces its best weights, `log.jsonl` and `curve.svg`.

A killed run goes on at its last checkpoint with the batches that it would have seen next, and on a CPU ends with the
same weights as one that was never killed.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Final

from retrieval.adapt.lora import LoraModel
from retrieval.adapt.plan import ReportProgress, Task, TrainingPlan, TrainingResult
from retrieval.errors import UsageError
from retrieval.files import translated_writes

_IDENTITY: Final = "identity.txt"
_STATE: Final = "trainer_state.json"
_HINT: Final = "make room and run the same command again: it goes on at the last checkpoint"


def train(
    task: Task[Any, Any],
    model: LoraModel,
    plan: TrainingPlan,
    folder: Path,
    identity: str,
    report: ReportProgress = lambda _: None,
) -> TrainingResult:
    """Train, or go on with training, and leave the model with the weights of the best validation.

    Args:
        folder: for checkpoints, log and curve.
        identity: a hash of base model, data and settings.

    Raises:
        UsageError: `folder` holds another training, or the task has no batches.
        BackendError: a checkpoint cannot be written; the last complete one is kept.
    """
    from retrieval.adapt.trainer import TaskTrainer

    if not len(task):
        raise UsageError("there is nothing to learn from", hint="more users or items")
    folder = folder.resolve()
    with translated_writes(folder, _HINT):
        _check_identity(folder / _IDENTITY, identity)
        checkpoint = _last_checkpoint(folder)
        trainer = TaskTrainer(task, model, plan, folder, report, _read_state(checkpoint) if checkpoint else None)
        return trainer.run(checkpoint)


def _check_identity(path: Path, identity: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_text(identity, encoding="utf-8")
    if path.read_text(encoding="utf-8") != identity:
        raise UsageError(
            f"{path.parent} holds an unfinished training with other settings or data",
            hint="give the same options to go on with it, or --restart to begin anew",
        )


def _last_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint. The Trainer writes its state last: a checkpoint without it was cut off."""
    for path in sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]), reverse=True):
        try:
            _read_state(path)
        except (OSError, ValueError):
            shutil.rmtree(path, ignore_errors=True)
        else:
            return path
    return None


def _read_state(checkpoint: Path) -> dict[str, Any]:
    return dict(json.loads((checkpoint / _STATE).read_text(encoding="utf-8")))
