"""A whole training. Reads a task, a model and settings, produces an adapter with its manifest.

While it lasts, `adapters/.training-NAME/` holds checkpoints, log and curve; a run with the same settings goes on there,
and at its end log and curve move to the adapter.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

from filelock import FileLock, Timeout

from retrieval.adapt import CURVE, LOG, Device, Kept, Plan, Report, Task, Trainable, train
from retrieval.errors import SetupError
from retrieval.settings import Section
from retrieval.templates import PromptTemplate
from xdrec_agent.models import (
    ANSWERS,
    AdapterKind,
    AdapterManifest,
    BaseModelId,
    TrainingData,
    Wrapped,
    check_name,
    save_adapter,
)


class Adapted(Trainable, Wrapped, Protocol):
    """A model in training that peft has wrapped."""


M = TypeVar("M", bound=Adapted)


@dataclass(frozen=True)
class Place:
    """Where a training happens.

    Attributes:
        base_folder, base_name: the base model's folder and what the settings call it.
        adapters_dir: where adapters are kept.
        kept: what lower layers of the base model are known to say, for trainings of its upper ones.
    """

    base_folder: Path
    base_name: str
    adapters_dir: Path
    device: Device = "auto"
    kept: Kept = field(default_factory=dict)


@dataclass(frozen=True)
class Lesson:
    """What is learnt, apart from how.

    Attributes:
        template: of the prompts, or of the item texts.
        settings: everything that decides what it comes to; the plan is among them.
    """

    kind: AdapterKind
    template: PromptTemplate
    data: TrainingData
    settings: Section
    plan: Plan


def trained(
    name: str,
    lesson: Lesson,
    place: Place,
    begin: Callable[[], tuple[Task[M], M]],
    *,
    restart: bool = False,
    report: Report = lambda _: None,
) -> AdapterManifest:
    """Train, or go on with it, and write the adapter.

    Args:
        begin: opens the model and makes the task.

    Raises:
        UsageError: there is an unfinished training with other settings.
        SetupError: the same adapter is being trained.
        BackendError: the disk refuses; the last good checkpoint stays.
    """
    folder = training_folder(name, place.adapters_dir)
    base = BaseModelId.of(place.base_name, place.base_folder)
    with _only_one(folder):
        if restart:
            shutil.rmtree(folder, ignore_errors=True)
        task, model = begin()
        state = train(task, model, lesson.plan, folder, _identity(base, lesson), report)
        manifest = AdapterManifest(
            name=name,
            kind=lesson.kind,
            base=base,
            labels=ANSWERS.get(lesson.kind, ""),
            template=lesson.template.name,
            template_fingerprint=lesson.template.fingerprint,
            data=lesson.data,
            settings=_described(lesson.settings),
            before=state.before,
            metrics=state.best,
            steps=state.best_step,
            tokens=state.tokens,
            seconds=round(state.seconds, 1),
            seed=lesson.plan.seed,
            created_at=datetime.now(UTC),
        )
        target = save_adapter(model, manifest, place.adapters_dir)
        for file in (LOG, CURVE):
            shutil.copyfile(folder / file, target / file)
        shutil.rmtree(folder, ignore_errors=True)
    return manifest


def training_folder(name: str, adapters_dir: Path) -> Path:
    """Where an unfinished training keeps its checkpoints."""
    return adapters_dir / f".training-{check_name(name)}"


def _described(settings: Section) -> dict[str, Any]:
    """The settings without the names of files, which are nobody else's business."""
    return settings.model_dump(mode="json", exclude={"who": {"users_file"}})


def _identity(base: BaseModelId, lesson: Lesson) -> str:
    # How often checkpoints are written changes nothing.
    fixed = lesson.settings.model_dump(mode="json", exclude={"plan": {"checkpoint_s"}})
    parts = [lesson.kind, base.sha256, lesson.template.fingerprint, lesson.data.model_dump_json(), fixed]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    lock = FileLock(folder.with_name(f"{folder.name}.lock"))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout as exc:
        raise SetupError(
            "this adapter is being trained by another process", hint="wait, or use another --name"
        ) from exc
    except OSError as exc:
        raise SetupError(f"{folder.parent} cannot be written: {exc.strerror}", hint="xdrec --home FOLDER …") from exc
    try:
        yield
    finally:
        lock.release()
