"""What a training has come to. Reads and writes its folder: weights with the optimizer's moments, and the state.

A checkpoint is written beside its place and moved there in one step, and the one before it goes only then: whatever
happens, the last good one is there. Tensors are safetensors, never pickles.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import Field, ValidationError

from retrieval.errors import BackendError, UsageError
from retrieval.files import atomic_file, atomic_folder, translated_writes
from retrieval.types import Frozen

if TYPE_CHECKING:
    import torch

    Tensors = Mapping[str, torch.Tensor]

_STATE: Final = "state.json"
_TENSORS: Final = "tensors.safetensors"
BEST: Final = "best.safetensors"
WRITE_HINT: Final = "make room and run the same command again: it goes on at the last checkpoint"


class TrainingState(Frozen):
    """How far a training is.

    Attributes:
        identity: of all that decides what it comes to; a resumed run must have the same.
        step: finished optimizer steps, of `planned`; None until that is known.
        seconds, tokens: spent on training so far, validation not counted.
        before, best: what validation found before the first step, and at `best_step`.
        worse: validations since the best one.
    """

    identity: str
    step: int = 0
    planned: int | None = None
    seconds: float = 0.0
    tokens: int = 0
    before: dict[str, float] = Field(default_factory=dict)
    best: dict[str, float] = Field(default_factory=dict)
    best_step: int = 0
    worse: int = 0


def save(folder: Path, state: TrainingState, tensors: Tensors) -> None:
    """Write a checkpoint and drop the one before it.

    Raises:
        BackendError: it cannot be written (disk full); the one before it stays.
    """
    target = folder / f"checkpoint-{state.step:06}"
    with translated_writes(target, WRITE_HINT), atomic_folder(target) as partial:
        write_tensors(partial / _TENSORS, tensors)
        (partial / _STATE).write_text(state.model_dump_json(indent=2), encoding="utf-8")
    for old in _checkpoints(folder):
        if old != target:
            shutil.rmtree(old, ignore_errors=True)


def save_best(folder: Path, weights: Tensors) -> None:
    """Write the weights that validation liked best so far. Raises BackendError as `save` does."""
    with translated_writes(folder / BEST, WRITE_HINT):
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(folder / BEST) as partial:
            write_tensors(partial, weights)


def load(folder: Path, identity: str) -> tuple[TrainingState, dict[str, torch.Tensor]] | None:
    """The newest checkpoint that can be read; None if there is none.

    Raises:
        UsageError: it is of a training with other settings or data.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    for place in reversed(_checkpoints(folder)):
        try:
            state = TrainingState.model_validate_json((place / _STATE).read_text(encoding="utf-8"))
            tensors = load_file(place / _TENSORS)
        except (OSError, ValidationError, SafetensorError):
            continue
        if state.identity != identity:
            raise UsageError(
                f"{folder} holds an unfinished training with other settings or data",
                hint="give the same options to go on with it, or --restart to begin anew",
            )
        return state, tensors
    return None


def load_best(folder: Path) -> dict[str, torch.Tensor]:
    """The weights that validation liked best. Raises BackendError."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(folder / BEST))
    except (OSError, SafetensorError) as exc:
        raise BackendError(f"{folder / BEST} cannot be read: {exc}", hint="train again with --restart") from exc


def write_tensors(path: Path, tensors: Tensors) -> None:
    """Write tensors to a file and make sure that they are on the disk."""
    from safetensors.torch import save

    with path.open("wb") as file:
        file.write(save({name: t.detach().cpu().contiguous() for name, t in tensors.items()}))
        file.flush()
        os.fsync(file.fileno())


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("checkpoint-*") if p.is_dir())
