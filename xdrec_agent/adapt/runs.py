"""A whole training. Reads a store, a base model and settings, produces an adapter with its manifest.

While it lasts, `adapters/.training-NAME/` holds checkpoints, log and curve; a run with the same settings goes on there,
and at its end log and curve move to the adapter.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from filelock import FileLock, Timeout

from retrieval.errors import SetupError, UsageError
from retrieval.settings import Section
from retrieval.store import Store
from retrieval.templates import PromptTemplate
from xdrec_agent.adapt.adapters import AdapterManifest, BaseModelId, TrainingData, check_name, save_adapter
from xdrec_agent.adapt.continued import TextTask, item_texts
from xdrec_agent.adapt.list_prompts import ListPrompts
from xdrec_agent.adapt.list_task import ListTask
from xdrec_agent.adapt.lora import Device, LoraShape, TrainedModel, load_tokenizer, open_for_training
from xdrec_agent.adapt.people import WhoLearns, learners
from xdrec_agent.adapt.training import CURVE, LOG, Plan, Report, Task, train
from xdrec_agent.adapt.training_lists import ListShape, Pair, catalogues, ordered_pairs, training_cases
from xdrec_agent.rerank.listwise import PREFIX
from xdrec_agent.rerank.prompt import LABELS

_VALIDATION_CANDIDATES: Final = 20


class RunSettings(Section):
    """Everything that decides what a training comes to, besides base model and data."""

    plan: Plan = Plan()
    lora: LoraShape = LoraShape()
    lists: ListShape = ListShape()
    who: WhoLearns = WhoLearns()
    validation_lists: int = 100


@dataclass(frozen=True)
class Place:
    """Where a training happens.

    Attributes:
        base_folder, base_name: the base model's folder and what the settings call it.
        adapters_dir: where adapters are kept.
    """

    base_folder: Path
    base_name: str
    adapters_dir: Path
    device: Device = "auto"


def train_lists(
    name: str,
    store: Store,
    template: PromptTemplate,
    place: Place,
    settings: RunSettings,
    pairs: Sequence[Pair] = (),
    *,
    restart: bool = False,
    report: Report = lambda _: None,
) -> AdapterManifest:
    """Train an adapter that chooses from lists, of all ordered pairs of the store's domains or the named ones.

    Raises:
        UsageError: one domain only, nobody known in two, an empty split, a domain that is not there, or an unfinished
            training with other settings.
        SetupError: peft is not installed, or the same adapter is being trained.
        ModelMissing: the base model does not load.
        BackendError: the disk refuses; the last good checkpoint stays.
    """
    chosen = _pairs(store, pairs)
    people = learners(store, settings.who)
    training, touched = training_cases(store, people.training, chosen)
    validation, _ = training_cases(store, people.validation, chosen)
    data = TrainingData(
        domains=tuple(sorted({d for pair in chosen for d in pair})),
        pairs=tuple(f"{source}:{target}" for source, target in chosen),
        users=len({case.user for case in training}),
        validation_users=len({case.user for case in validation}),
        examples=len(training),
        left_out=people.left_out,
    )
    prompts = ListPrompts(load_tokenizer(place.base_folder), template, settings.lists.history)
    seed = settings.plan.seed
    task = ListTask(
        prompts,
        training,
        validation,
        catalogues(store, touched),
        settings.lists,
        seed=seed,
        validation_lists=settings.validation_lists,
        candidates=_VALIDATION_CANDIDATES,
    )
    return _trained(name, "list", task, template, data, place, settings, restart, report)


def train_texts(
    name: str,
    store: Store,
    domain: str,
    template: PromptTemplate,
    place: Place,
    settings: RunSettings,
    *,
    restart: bool = False,
    report: Report = lambda _: None,
) -> AdapterManifest:
    """Train an adapter that has read a domain's item texts. Raises as `train_lists`."""
    training, validation = item_texts(store, domain, template)
    data = TrainingData(domains=(domain,), examples=len(training), left_out="one item of 50, for validation")
    task = TextTask(load_tokenizer(place.base_folder), training, validation, seed=settings.plan.seed)
    return _trained(name, "text", task, template, data, place, settings, restart, report)


def training_folder(name: str, adapters_dir: Path) -> Path:
    """Where an unfinished training keeps its checkpoints."""
    return adapters_dir / f".training-{check_name(name)}"


def _pairs(store: Store, pairs: Sequence[Pair]) -> list[Pair]:
    known = [summary.domain for summary in store.domains()]
    if missing := sorted({domain for pair in pairs for domain in pair} - set(known)):
        raise UsageError(f"the store has no domain {missing[0]!r}", hint=f"it has: {', '.join(known) or 'none'}")
    if same := [source for source, target in pairs if source == target]:
        raise UsageError(f"{same[0]}:{same[0]} is one domain", hint="name two different ones, as in films:books")
    if len(known) < 2:
        raise UsageError(f"the store has {len(known)} domain(s), lists need two", hint="xdrec ingest DOMAIN FILE")
    return list(pairs) or ordered_pairs(known)


def _trained(
    name: str,
    kind: Literal["list", "text"],
    task: Task,
    template: PromptTemplate,
    data: TrainingData,
    place: Place,
    settings: RunSettings,
    restart: bool,
    report: Report,
) -> AdapterManifest:
    folder = training_folder(name, place.adapters_dir)
    base = BaseModelId.of(place.base_name, place.base_folder)
    with _only_one(folder):
        if restart:
            shutil.rmtree(folder, ignore_errors=True)
        identity = _identity(kind, base, template, data, settings)
        model = open_for_training(place.base_folder, settings.lora, device=place.device, seed=settings.plan.seed)
        state = train(task, model, settings.plan, folder, identity, report)
        manifest = AdapterManifest(
            name=name,
            kind=kind,
            base=base,
            labels="".join(LABELS) if kind == "list" else "",
            prefix=PREFIX if kind == "list" else "",
            template=template.name,
            template_fingerprint=template.fingerprint,
            data=data,
            settings=_described(settings),
            before=state.before,
            metrics=state.best,
            steps=state.best_step,
            tokens=state.tokens,
            seconds=round(state.seconds, 1),
            seed=settings.plan.seed,
            created_at=datetime.now(UTC),
        )
        _finish(model, manifest, folder, place.adapters_dir)
    return manifest


def _finish(model: TrainedModel, manifest: AdapterManifest, folder: Path, adapters_dir: Path) -> None:
    target = save_adapter(model, manifest, adapters_dir)
    for file in (LOG, CURVE):
        shutil.copyfile(folder / file, target / file)
    shutil.rmtree(folder, ignore_errors=True)


def _described(settings: RunSettings) -> dict[str, Any]:
    """The settings without the names of files, which are nobody else's business."""
    return settings.model_dump(mode="json", exclude={"who": {"users_file"}})


def _identity(kind: str, base: BaseModelId, template: PromptTemplate, data: TrainingData, settings: RunSettings) -> str:
    fixed = settings.model_copy(update={"plan": settings.plan.model_copy(update={"checkpoint_s": 0})})
    parts = [kind, base.sha256, template.fingerprint, data.model_dump_json(), fixed.model_dump(mode="json")]
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
