"""The parts, made from settings. Reads `Settings`, produces store, encoder, index, retriever, client and templates."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

from retrieval.encoder import Int8Encoder, SentenceEncoder
from retrieval.errors import SetupError, TemplateError, UsageError
from retrieval.index import Index
from retrieval.ranking import Retriever, fusion_fit
from retrieval.relations import RelationGraph
from retrieval.store import RelationStore, Store
from retrieval.templates import PromptTemplate, load_template
from xdrec_agent.converse import Dialogues
from xdrec_agent.enrich import FacetStore
from xdrec_agent.explain import load_voice
from xdrec_agent.llm import LLMClient, ResponseCache, resolve_endpoint
from xdrec_agent.models import library as models
from xdrec_agent.recommend import Answers
from xdrec_agent.settings import Settings


def open_store(settings: Settings, *, create: bool = True) -> Store:
    """The store, its tables made where missing.

    Args:
        create: False: make nothing, as befits what only reads or deletes.

    Raises:
        SetupError: `create` is False and there is no store yet.
        StoreError: the database fails.
    """
    url = settings.store_url
    if create:
        return Store.open(url)
    file = Path(url.removeprefix("sqlite:///").partition("?")[0])
    if url.startswith("sqlite:///") and not file.is_file():
        hint = "xdrec ingest DOMAIN FILE makes it; if it is elsewhere: xdrec --home FOLDER …"
        raise SetupError(f"there is no store at {file}", hint=hint)
    return Store(url)


def open_answers(settings: Settings, *, create: bool = True) -> Answers:
    """The kept answers, in the store's database, without those that are too old. Arguments, errors: as `open_store`."""
    open_store(settings, create=create).close()
    if not create:
        return Answers(settings.store_url)
    answers = Answers.open(settings.store_url)
    answers.forget_old(settings.answers.days, settings.answers.most)
    return answers


def open_dialogues(settings: Settings, *, create: bool = True) -> Dialogues:
    """The kept dialogues, in the store's database, without the long forgotten. Arguments, errors: as `open_store`."""
    open_store(settings, create=create).close()
    if not create:
        return Dialogues(settings.store_url)
    dialogues = Dialogues.open(settings.store_url)
    dialogues.forget_old(settings.chat.days, settings.chat.most)
    return dialogues


def open_relations(settings: Settings, *, create: bool = True) -> RelationStore:
    """The relations, in the store's database. Arguments and errors: as `open_store`."""
    open_store(settings, create=create).close()
    return RelationStore.open(settings.store_url) if create else RelationStore(settings.store_url)


def open_facets(settings: Settings) -> FacetStore:
    """The generated facets, in the store's database; their table is made where missing.

    Raises:
        SetupError: there is no store yet.
        StoreError: the database fails.
    """
    open_store(settings, create=False).close()
    return FacetStore.open(settings.store_url)


def open_encoder(settings: Settings, *, threads: int = 0) -> SentenceEncoder:
    """The configured encoder; its weights load at first use.

    Args:
        threads: how many compute in 8 bits; 0: one for each core.

    Raises:
        ModelMissing: it is not on this machine.
        UsageError: 8 bits on a GPU.
    """
    folder: Path = models.find(settings.encoder.model, settings.models_dir)
    name, size = settings.encoder.model, settings.encoder.batch_size
    if settings.encoder.backend == "onnx-int8":
        if settings.device == "cuda":
            raise UsageError("encoder.backend = onnx-int8 is for the CPU", hint='set device to "auto" or "cpu"')
        return Int8Encoder(name, folder, batch_size=size, threads=threads)
    return SentenceEncoder(name, folder, batch_size=size, device=None if settings.device == "auto" else settings.device)


def open_index(settings: Settings) -> Index:
    """The indexes of all domains, with the configured encoder and item template. Raises ModelMissing, TemplateError."""
    name, facets = settings.index.template, open_facets(settings) if settings.encoder.facets else None
    template = _template("item_facets" if facets and name == "item" else name, "item")
    return Index(settings.index_dir, open_encoder(settings), template, settings.index, facets)


def open_retriever(settings: Settings, store: Store, graph: RelationGraph | None = None) -> Retriever:
    """A retriever over an open store and the graph of its relations. Raises DataError: the fits cannot be read."""
    fusion = fusion_fit(settings.encoder.model, settings.fits_dir)
    return Retriever(store, open_index(settings), settings.retriever, fusion=fusion, graph=graph)


@asynccontextmanager
async def open_client(settings: Settings) -> AsyncIterator[LLMClient]:
    """A client of the configured endpoint, with the response cache if that is on.

    Raises:
        ServerNotRunning, RemoteNotAllowed, UsageError: from `resolve_endpoint`.
        BackendError: the response cache cannot be opened.
    """
    endpoint = resolve_endpoint(settings)
    with nullcontext() if settings.llm.cache == "off" else open_responses(settings) as cache:
        async with LLMClient(endpoint, settings.llm, cache=cache) as client:
            yield client


def open_responses(settings: Settings) -> ResponseCache:
    """The response cache. Raises BackendError."""
    size = int(settings.llm.cache_gib * 2**30)
    return ResponseCache(settings.responses_dir, size, only=settings.llm.cache == "only")


def load_templates(settings: Settings) -> dict[str, PromptTemplate]:
    """The configured templates by task: "rerank", "judge" and "explain".

    Raises:
        TemplateError: one cannot be loaded, or is for another task.
        UsageError: there are no templates for the configured language or style.
    """
    names = {"rerank": settings.rerank.template, "judge": settings.rerank.judge_template}
    templates = {task: _template(name, task) for task, name in names.items()}
    voice = load_voice(settings.explain.language, settings.explain.style)
    own = settings.explain.template
    return templates | {"explain": _template(own, "explain") if own else voice.template}


def _template(name: str, task: str) -> PromptTemplate:
    template = load_template(name)
    if template.task != task:
        raise TemplateError(f"template {template.name!r} is for task {template.task!r}, not {task!r}")
    return template
