"""A whole training. Reads a task, a model and settings, produces an adapter with its manifest.

While it lasts, `adapters/.training-NAME/` holds checkpoints, log and curve. A run with the same settings goes on there;
at its end log and curve move to the adapter.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from retrieval.adapt import (
    CURVE,
    LOG,
    Device,
    LoraModel,
    ReportProgress,
    SplitSettings,
    StateCache,
    Task,
    TrainingPlan,
    train,
)
from retrieval.errors import SetupError, UsageError
from retrieval.settings import Section
from retrieval.store import Store
from retrieval.templates import PromptTemplate
from xdrec_agent.adapt.prompts import ANSWER_LABELS
from xdrec_agent.models import (
    AdapterKind,
    AdapterManifest,
    BaseModelId,
    TrainingData,
    check_adapter_name,
    save_adapter,
)


class TrainingSettings(Section):
    """What the settings of all trainings hold."""

    plan: TrainingPlan = TrainingPlan()
    users: SplitSettings = SplitSettings()


@dataclass(frozen=True)
class Workspace:
    """Where a training happens.

    Attributes:
        base_folder, base_name: the base model's folder, and its name in the settings.
        adapters_dir: where adapters are kept.
        cache: hidden states of the base model's lower layers, for trainings of its upper ones.
    """

    base_folder: Path
    base_name: str
    adapters_dir: Path
    device: Device = "auto"
    cache: StateCache = field(default_factory=dict)


@dataclass(frozen=True)
class TrainingRun:
    """What decides, with the base model, what a training comes to; `template` is that of prompts or item texts."""

    kind: AdapterKind
    template: PromptTemplate
    data: TrainingData
    settings: TrainingSettings


def train_adapter(
    name: str,
    run: TrainingRun,
    workspace: Workspace,
    prepare: Callable[[], tuple[Task[Any, Any], LoraModel]],
    *,
    restart: bool = False,
    report: ReportProgress = lambda _: None,
) -> AdapterManifest:
    """Train, or go on with a training, and write the adapter.

    Args:
        prepare: makes the task and opens the model.

    Raises:
        UsageError: there is an unfinished training with other settings.
        SetupError: the same adapter is being trained.
        BackendError: the disk refuses; the last good checkpoint stays.
    """
    folder, settings, template = training_folder(name, workspace.adapters_dir), run.settings, run.template
    base = BaseModelId.of(workspace.base_name, workspace.base_folder)
    # The time between checkpoints changes nothing.
    deciding = settings.model_dump(mode="json", exclude={"plan": {"checkpoint_s"}})
    parts = [run.kind, base.sha256, template.fingerprint, run.data.model_dump_json(), deciding]
    identity = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    with _lock(folder):
        if restart:
            shutil.rmtree(folder, ignore_errors=True)
        task, model = prepare()
        result = train(task, model, settings.plan, folder, identity, report)
        manifest = AdapterManifest(
            name=name,
            kind=run.kind,
            base=base,
            labels=ANSWER_LABELS.get(run.kind, ""),
            template=template.name,
            template_fingerprint=template.fingerprint,
            data=run.data,
            settings=settings.model_dump(mode="json", exclude={"users": {"users_file"}}),  # paths are private
            before=result.before,
            metrics=result.best,
            steps=result.best_step,
            tokens=result.tokens,
            seconds=round(result.seconds, 1),
            seed=settings.plan.seed,
            created_at=datetime.now(UTC),
        )
        target = save_adapter(model.peft_model, manifest, workspace.adapters_dir)
        for file in (LOG, CURVE):
            shutil.copyfile(folder / file, target / file)
        shutil.rmtree(folder, ignore_errors=True)
    return manifest


def training_folder(name: str, adapters_dir: Path) -> Path:
    """Where an unfinished training keeps its checkpoints."""
    return adapters_dir / f".training-{check_adapter_name(name)}"


def known_domains(store: Store, domains: Sequence[str]) -> list[str]:
    """The named domains, or all of the store's if none is named. Raises UsageError if one is not there."""
    known = list(store.domain_names())
    if missing := sorted(set(domains) - set(known)):
        raise UsageError(f"the store has no domain {missing[0]!r}", hint=f"it has: {', '.join(known) or 'none'}")
    if not known:
        raise UsageError("the store is empty", hint="xdrec ingest DOMAIN FILE")
    return list(domains) or known


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    lock = FileLock(folder.with_name(f"{folder.name}.lock"))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout as exc:
        hint = "wait, or use another --name"
        raise SetupError("this adapter is being trained by another process", hint=hint) from exc
    except OSError as exc:
        raise SetupError(f"{folder.parent} cannot be written: {exc.strerror}", hint="xdrec --home FOLDER …") from exc
    try:
        yield
    finally:
        lock.release()
