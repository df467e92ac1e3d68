"""Trainings of the language model. Reads a store, a base model and settings, produces an adapter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from retrieval.adapt import ReportProgress, split_users
from retrieval.errors import UsageError
from retrieval.store import Store
from retrieval.templates import PromptTemplate
from xdrec_agent.adapt.adapter_training import TrainingRun, TrainingSettings, Workspace, known_domains, train_adapter
from xdrec_agent.adapt.list_task import ListTask
from xdrec_agent.adapt.lora_llm import LoraLLM, LoraSettings, open_llm_for_training
from xdrec_agent.adapt.prompts import ListwisePrompts, PointwisePrompts
from xdrec_agent.adapt.text_task import TextTask, item_texts
from xdrec_agent.adapt.training_lists import ListSettings, Pair, catalogues, ordered_pairs, training_cases
from xdrec_agent.models import AdapterManifest, TrainingData, load_tokenizer

TrainableJudge = Literal["listwise-logprob", "pointwise-logprob"]
"""The judges of the reranker that a model can be trained for."""
LIST_SETTINGS: Final[Mapping[TrainableJudge, ListSettings]] = {
    "listwise-logprob": ListSettings(),
    # A candidate takes a line, not a prompt: the history is computed once for all of them.
    "pointwise-logprob": ListSettings(fewest=16, most=16, positives=4, lists=1, history=10),
}


class LLMTrainingSettings(TrainingSettings):
    """Everything that decides what a training comes to, besides base model and data."""

    lora: LoraSettings = LoraSettings()
    lists: ListSettings = ListSettings()
    validation_lists: int = 100


def train_judge(
    name: str,
    store: Store,
    judge: TrainableJudge,
    template: PromptTemplate,
    workspace: Workspace,
    settings: LLMTrainingSettings,
    pairs: Sequence[Pair] = (),
    *,
    restart: bool = False,
    report: ReportProgress = lambda _: None,
) -> AdapterManifest:
    """Train an adapter that judges lists of candidates.

    Args:
        template: the judge's.
        pairs: (source, target); none: all ordered pairs of the store's domains.

    Raises:
        UsageError: one domain only, nobody known in two, a part of the split is empty, a domain is not there, or there
            is an unfinished training with other settings.
        SetupError: the same adapter is being trained.
        ModelMissing: the base model does not load.
        BackendError: the disk refuses; the last good checkpoint stays.
    """
    chosen = _known_pairs(store, pairs)
    split = split_users(store, settings.users)
    training, touched = training_cases(store, split.training, chosen)
    validation, _ = training_cases(store, split.validation, chosen)
    data = TrainingData(
        domains=tuple(sorted({domain for pair in chosen for domain in pair})),
        pairs=tuple(f"{source}:{target}" for source, target in chosen),
        users=len({case.user for case in training}),
        validation_users=len({case.user for case in validation}),
        examples=len(training),
        people=split.identity,
        left_out=split.left_out,
    )
    listwise = judge == "listwise-logprob"
    prompts: type[ListwisePrompts | PointwisePrompts] = ListwisePrompts if listwise else PointwisePrompts
    task = ListTask(
        prompts(load_tokenizer(workspace.base_folder), template, settings.lists.history),
        training,
        validation,
        catalogues(store, touched),
        settings.lists,
        seed=settings.plan.seed,
        validation_lists=settings.validation_lists,
    )
    run = TrainingRun("list" if listwise else "judge", template, data, settings)
    return train_adapter(
        name, run, workspace, lambda: (task, _open(workspace, settings)), restart=restart, report=report
    )


def train_on_texts(
    name: str,
    store: Store,
    domain: str,
    template: PromptTemplate,
    workspace: Workspace,
    settings: LLMTrainingSettings,
    *,
    restart: bool = False,
    report: ReportProgress = lambda _: None,
) -> AdapterManifest:
    """Train an adapter by continued pretraining on a domain's item texts. Raises as `train_judge`."""
    training, validation = item_texts(store, domain, template)
    data = TrainingData(domains=(domain,), examples=len(training), left_out="one item of 50, for validation")
    task = TextTask(load_tokenizer(workspace.base_folder), training, validation, seed=settings.plan.seed)
    run = TrainingRun("text", template, data, settings)
    return train_adapter(
        name, run, workspace, lambda: (task, _open(workspace, settings)), restart=restart, report=report
    )


def _open(workspace: Workspace, settings: LLMTrainingSettings) -> LoraLLM:
    return open_llm_for_training(workspace.base_folder, settings.lora, device=workspace.device, seed=settings.plan.seed)


def _known_pairs(store: Store, pairs: Sequence[Pair]) -> list[Pair]:
    domains = known_domains(store, sorted({domain for pair in pairs for domain in pair}))
    if same := [source for source, target in pairs if source == target]:
        raise UsageError(f"{same[0]}:{same[0]} is one domain", hint="name two different ones, as in films:books")
    if len(domains) < 2:
        raise UsageError(f"the store has {len(domains)} domain(s), lists need two", hint="xdrec ingest DOMAIN FILE")
    return list(pairs) or ordered_pairs(domains)
