"""Trainings of the encoder. Reads a store, an encoder and settings, produces an adapter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from retrieval.adapt import (
    EncoderShape,
    Plan,
    Report,
    SetShape,
    SetTask,
    TrainedEncoder,
    ViewTask,
    WhoLearns,
    learners,
    open_encoder_for_training,
    read_taste,
    read_views,
    take_additions,
)
from retrieval.encoder import Vectors
from retrieval.errors import UsageError
from retrieval.settings import Section
from retrieval.store import Store
from retrieval.templates import PromptTemplate
from xdrec_agent.adapt.run import Lesson, Place, trained
from xdrec_agent.adapt.training_lists import Pair, ordered_pairs
from xdrec_agent.models import AdapterManifest, TrainingData, read_manifest

_PART: Final = 4_096
"""Texts encoded at a time."""


class EncoderRunSettings(Section):
    """Everything that decides what a training of the encoder comes to, besides base model and data."""

    plan: Plan = Plan(groups=1, rate=1e-4)
    lora: EncoderShape = EncoderShape()
    sets: SetShape = SetShape()
    who: WhoLearns = WhoLearns()


def train_taste(
    name: str,
    store: Store,
    pairs: Sequence[Pair],
    template: PromptTemplate,
    place: Place,
    settings: EncoderRunSettings,
    *,
    restart: bool = False,
    report: Report = lambda _: None,
) -> AdapterManifest:
    """Train an adapter by which what people liked in one domain finds what they liked in the other of a pair.

    Args:
        pairs: (source, target); none: all ordered pairs of the store's domains. Each domain is paired with itself, too.

    Raises:
        UsageError: a domain is not there, nobody liked enough, an empty split, or an unfinished training with other
            settings.
        SetupError: the same adapter is being trained.
        ModelMissing: the base model does not load.
        BackendError: the disk refuses; the last good checkpoint stays.
    """
    chosen = _known(store, sorted({domain for pair in pairs for domain in pair}))
    people = learners(store, settings.who)
    taste = read_taste(store, template, chosen, people.training, people.validation)
    data = TrainingData(
        domains=tuple(chosen),
        pairs=tuple(f"{source}:{target}" for source, target in pairs or ordered_pairs(chosen)),
        users=len(taste.people),
        validation_users=len(taste.validation),
        examples=sum(len(rows) for person in taste.people for rows in person.values()),
        people=people.identity,
        left_out=people.left_out,
    )

    def begin() -> tuple[SetTask, TrainedEncoder]:
        model = _opened(place, settings)
        tokens = model.tokens(taste.texts)
        task = SetTask(taste, tokens, settings.sets, pairs=pairs, seed=settings.plan.seed)
        if settings.sets.hard:
            task.mine(model)
        return task, model

    lesson = Lesson("taste", template, data, settings, settings.plan)
    return trained(name, lesson, place, begin, restart=restart, report=report)


def train_views(
    name: str,
    store: Store,
    domains: Sequence[str],
    template: PromptTemplate,
    place: Place,
    settings: EncoderRunSettings,
    *,
    restart: bool = False,
    report: Report = lambda _: None,
) -> AdapterManifest:
    """Train an adapter that has read the catalogues of some domains; no user is needed. Raises as `train_taste`."""
    chosen = tuple(_known(store, domains))
    catalogues = [read_views(store.iter_items(domain), template) for domain in chosen]
    examples = sum(len(training.called) for training, _ in catalogues)
    data = TrainingData(domains=chosen, examples=examples, left_out="one item of 50, for validation")

    def begin() -> tuple[ViewTask, TrainedEncoder]:
        model = _opened(place, settings)
        return ViewTask(model, catalogues, batch=settings.sets.batch, seed=settings.plan.seed), model

    lesson = Lesson("views", template, data, settings, settings.plan)
    return trained(name, lesson, place, begin, restart=restart, report=report)


def encoded(name: str, place: Place, texts: Sequence[str]) -> Vectors:
    """Unit vectors of some texts by an adapter that was trained at this place, shape (texts, dims).

    What the layers below its additions say is taken from `place.kept`, so it costs what the upper layers cost.

    Raises:
        UsageError: there is no such adapter.
        DataError: it cannot be read.
    """
    import torch

    folder = place.adapters_dir / name
    shape = EncoderShape.model_validate(read_manifest(folder).settings["lora"])
    model = open_encoder_for_training(place.base_folder, shape, device=place.device, kept=place.kept)
    take_additions(model, folder)
    tokens = model.tokens(texts)
    with torch.no_grad():
        parts = [model.embed(tokens[start : start + _PART]) for start in range(0, len(tokens), _PART)]
    return torch.cat(parts).cpu().numpy()


def _known(store: Store, domains: Sequence[str]) -> list[str]:
    known = [summary.domain for summary in store.domains()]
    if missing := sorted(set(domains) - set(known)):
        raise UsageError(f"the store has no domain {missing[0]!r}", hint=f"it has: {', '.join(known) or 'none'}")
    if not known:
        raise UsageError("the store is empty", hint="xdrec ingest DOMAIN FILE")
    return list(domains) or known


def _opened(place: Place, settings: EncoderRunSettings) -> TrainedEncoder:
    return open_encoder_for_training(
        place.base_folder, settings.lora, device=place.device, seed=settings.plan.seed, kept=place.kept
    )
