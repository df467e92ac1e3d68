"""Trainings of the encoder. Reads a store, an encoder and settings, produces an adapter."""

from __future__ import annotations

from collections.abc import Sequence

from retrieval.adapt import (
    ContrastiveSettings,
    ContrastiveTask,
    EncoderLoraSettings,
    ItemViewTask,
    LoraEncoder,
    ReportProgress,
    TrainingPlan,
    open_encoder_for_training,
    read_item_views,
    read_preferences,
    split_users,
)
from retrieval.encoder import Vectors
from retrieval.store import Store
from retrieval.templates import PromptTemplate
from xdrec_agent.adapt.adapter_training import TrainingRun, TrainingSettings, Workspace, known_domains, train_adapter
from xdrec_agent.adapt.training_lists import Pair, ordered_pairs
from xdrec_agent.models import AdapterManifest, TrainingData, read_adapter_manifest


class EncoderTrainingSettings(TrainingSettings):
    """Everything that decides what a training of the encoder comes to, besides base model and data."""

    plan: TrainingPlan = TrainingPlan(accumulation=1, learning_rate=1e-4)
    lora: EncoderLoraSettings = EncoderLoraSettings()
    contrastive: ContrastiveSettings = ContrastiveSettings()


def train_on_preferences(
    name: str,
    store: Store,
    pairs: Sequence[Pair],
    template: PromptTemplate,
    workspace: Workspace,
    settings: EncoderTrainingSettings,
    *,
    restart: bool = False,
    report: ReportProgress = lambda _: None,
) -> AdapterManifest:
    """Train an adapter by which items that a user liked in one domain find items that they liked in another.

    Args:
        pairs: (source, target); none: all ordered pairs of the store's domains. Each domain is paired with itself, too.

    Raises:
        UsageError: a domain is not there, nobody liked enough, a part of the split is empty, or there is an unfinished
            training with other settings.
        SetupError: the same adapter is being trained.
        ModelMissing: the base model does not load.
        BackendError: the disk refuses; the last good checkpoint stays.
    """
    domains = known_domains(store, sorted({domain for pair in pairs for domain in pair}))
    split = split_users(store, settings.users)
    preferences = read_preferences(store, template, domains, split.training, split.validation)
    data = TrainingData(
        domains=tuple(domains),
        pairs=tuple(f"{source}:{target}" for source, target in pairs or ordered_pairs(domains)),
        users=len(preferences.training),
        validation_users=len(preferences.validation),
        examples=sum(len(rows) for liked in preferences.training for rows in liked.values()),
        people=split.identity,
        left_out=split.left_out,
    )

    def prepare() -> tuple[ContrastiveTask, LoraEncoder]:
        model = _open(workspace, settings)
        return ContrastiveTask(model, preferences, settings.contrastive, pairs=pairs, seed=settings.plan.seed), model

    run = TrainingRun("taste", template, data, settings)
    return train_adapter(name, run, workspace, prepare, restart=restart, report=report)


def train_on_item_views(
    name: str,
    store: Store,
    domains: Sequence[str],
    template: PromptTemplate,
    workspace: Workspace,
    settings: EncoderTrainingSettings,
    *,
    restart: bool = False,
    report: ReportProgress = lambda _: None,
) -> AdapterManifest:
    """Train an adapter on the catalogues of some domains, without users. Raises as `train_on_preferences`."""
    chosen = tuple(known_domains(store, domains))
    catalogues = [read_item_views(store.iter_items(domain), template) for domain in chosen]
    examples = sum(len(training.titles) for training, _ in catalogues)
    data = TrainingData(domains=chosen, examples=examples, left_out="one item of 50, for validation")

    def prepare() -> tuple[ItemViewTask, LoraEncoder]:
        model = _open(workspace, settings)
        return ItemViewTask(model, catalogues, batch=settings.contrastive.batch, seed=settings.plan.seed), model

    run = TrainingRun("views", template, data, settings)
    return train_adapter(name, run, workspace, prepare, restart=restart, report=report)


def encode_with_adapter(name: str, workspace: Workspace, texts: Sequence[str]) -> Vectors:
    """Unit vectors of some texts by an adapter of the workspace, shape (texts, dims).

    Hidden states above the frozen layers are taken from the workspace's cache.

    Raises:
        UsageError: there is no such adapter.
        DataError: it cannot be read.
    """
    folder = workspace.adapters_dir / name
    lora = EncoderLoraSettings.model_validate(read_adapter_manifest(folder).settings["lora"])
    model = open_encoder_for_training(
        workspace.base_folder, lora, device=workspace.device, cache=workspace.cache, adapter=folder
    )
    vectors: Vectors = model.embed_all(model.tokens(texts)).numpy()
    return vectors


def _open(workspace: Workspace, settings: EncoderTrainingSettings) -> LoraEncoder:
    return open_encoder_for_training(
        workspace.base_folder,
        settings.lora,
        device=workspace.device,
        seed=settings.plan.seed,
        cache=workspace.cache,
    )
