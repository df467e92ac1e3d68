"""Trainings of the language model. Reads a store, a base model and settings, produces an adapter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from retrieval.adapt import Plan, Report, WhoLearns, learners
from retrieval.errors import UsageError
from retrieval.settings import Section
from retrieval.store import Store
from retrieval.templates import PromptTemplate
from xdrec_agent.adapt.continued_pretraining import TextTask, item_texts
from xdrec_agent.adapt.list_task import ListTask
from xdrec_agent.adapt.listwise_prompts import ListPrompts
from xdrec_agent.adapt.pointwise_prompts import JudgePrompts
from xdrec_agent.adapt.run import Lesson, Place, trained
from xdrec_agent.adapt.training_lists import ListShape, Pair, catalogues, ordered_pairs, training_cases
from xdrec_agent.models import (
    AdapterKind,
    AdapterManifest,
    LoraShape,
    TrainedModel,
    TrainingData,
    load_tokenizer,
    open_for_training,
)

_VALIDATION_CANDIDATES: Final = 20


Judged = Literal["listwise-logprob", "pointwise-logprob"]
"""The judges of the reranker that a model can be trained for."""
SHAPES: Final[Mapping[Judged, ListShape]] = {
    "listwise-logprob": ListShape(),
    # A candidate takes a line, not a prompt: the history is computed once for all of them.
    "pointwise-logprob": ListShape(fewest=16, most=16, positives=4, lists=1, history=10),
}


class RunSettings(Section):
    """Everything that decides what a training comes to, besides base model and data."""

    plan: Plan = Plan()
    lora: LoraShape = LoraShape()
    lists: ListShape = ListShape()
    who: WhoLearns = WhoLearns()
    validation_lists: int = 100


def train_lists(
    name: str,
    store: Store,
    judge: Judged,
    template: PromptTemplate,
    place: Place,
    settings: RunSettings,
    pairs: Sequence[Pair] = (),
    *,
    restart: bool = False,
    report: Report = lambda _: None,
) -> AdapterManifest:
    """Train an adapter that judges lists of candidates, of all ordered pairs of the store's domains or the named ones.

    Args:
        template: the judge's.

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
        people=people.identity,
        left_out=people.left_out,
    )
    kind: AdapterKind
    written: type[ListPrompts | JudgePrompts]
    kind, written = ("list", ListPrompts) if judge == "listwise-logprob" else ("judge", JudgePrompts)
    task = ListTask(
        written(load_tokenizer(place.base_folder), template, settings.lists.history),
        training,
        validation,
        catalogues(store, touched),
        settings.lists,
        seed=settings.plan.seed,
        validation_lists=settings.validation_lists,
        candidates=_VALIDATION_CANDIDATES,
    )
    lesson = Lesson(kind, template, data, settings, settings.plan)
    return trained(name, lesson, place, lambda: (task, _opened(place, settings)), restart=restart, report=report)


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
    lesson = Lesson("text", template, data, settings, settings.plan)
    return trained(name, lesson, place, lambda: (task, _opened(place, settings)), restart=restart, report=report)


def _opened(place: Place, settings: RunSettings) -> TrainedModel:
    return open_for_training(place.base_folder, settings.lora, device=place.device, seed=settings.plan.seed)


def _pairs(store: Store, pairs: Sequence[Pair]) -> list[Pair]:
    known = [summary.domain for summary in store.domains()]
    if missing := sorted({domain for pair in pairs for domain in pair} - set(known)):
        raise UsageError(f"the store has no domain {missing[0]!r}", hint=f"it has: {', '.join(known) or 'none'}")
    if same := [source for source, target in pairs if source == target]:
        raise UsageError(f"{same[0]}:{same[0]} is one domain", hint="name two different ones, as in films:books")
    if len(known) < 2:
        raise UsageError(f"the store has {len(known)} domain(s), lists need two", hint="xdrec ingest DOMAIN FILE")
    return list(pairs) or ordered_pairs(known)
