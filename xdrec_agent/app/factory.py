"""Factories. Reads `Settings`, produces open parts (store, log, encoder, index, client) and an open `Recommender`.

async with open_recommender(load_settings()) as recommender:
    query = build_query(recommender.store, sources=["films"], target="books", likes=["Alien"])
    answer = await recommender.recommend(query)
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from retrieval.errors import SetupError, TemplateError, UsageError
from retrieval.index import Index
from retrieval.ranking import Retriever, fusion_fit
from retrieval.relations import RelationGraph
from retrieval.store import RelationStore, Store, Tables
from retrieval.templates import PromptTemplate, load_template
from xdrec_agent.app.keys import Keys
from xdrec_agent.errors import ServerNotRunning
from xdrec_agent.explain import load_locale
from xdrec_agent.llm import LLMClient, ResponseCache, resolve_endpoint
from xdrec_agent.recommend import RecommendationLog, Recommender
from xdrec_agent.rerank import rerank_fits
from xdrec_agent.settings import Settings

if TYPE_CHECKING:
    from retrieval.encoder import SentenceEncoder
    from xdrec_agent.converse import Dialogues
    from xdrec_agent.enrich import FacetStore

_T = TypeVar("_T", bound=Tables)


def open_store(settings: Settings, *, create: bool = True) -> Store:
    """The store, its tables made where missing.

    Args:
        create: False: make nothing, as befits what only reads or deletes.

    Raises:
        SetupError: `create` is False and there is no store yet.
        StoreError: the database fails.
    """
    return _open_tables(Store, settings, create=create)


def open_recommendation_log(
    settings: Settings, *, create: bool = True, store: Store | None = None
) -> RecommendationLog:
    """The log of recommendations, in the store's database, without those that are too old.

    Args:
        store: an open store whose connections are shared; None: open a database.

    Other arguments and errors: as `open_store`.
    """
    log = _open_tables(RecommendationLog, settings, create=create, store=store)
    if create:
        log.forget_old(settings.answers.days, settings.answers.most)
    return log


def open_dialogues(settings: Settings, *, create: bool = True, store: Store | None = None) -> Dialogues:
    """The dialogues, in the store's database, without those that are too old. As `open_recommendation_log`."""
    from xdrec_agent.converse import Dialogues

    dialogues = _open_tables(Dialogues, settings, create=create, store=store)
    if create:
        dialogues.forget_old(settings.chat.days, settings.chat.most)
    return dialogues


def open_relations(settings: Settings, *, create: bool = True) -> RelationStore:
    """The relations, in the store's database. Arguments and errors: as `open_store`."""
    return _open_tables(RelationStore, settings, create=create)


def open_keys(settings: Settings, *, create: bool = True) -> Keys:
    """The API keys, in the store's database.

    Args:
        create: whether their table is made where it is missing.

    Raises: as `open_facets`.
    """
    _require_store(settings)
    return Keys.open(settings.store_url) if create else Keys(settings.store_url)


def open_facets(settings: Settings) -> FacetStore:
    """The generated facets, in the store's database; their table is made where missing.

    Raises:
        SetupError: there is no store yet.
        StoreError: the database fails.
    """
    from xdrec_agent.enrich import FacetStore

    _require_store(settings)
    return FacetStore.open(settings.store_url)


def _open_tables(kind: type[_T], settings: Settings, *, create: bool, store: Store | None = None) -> _T:
    if create:
        return kind.open(store.database if store else settings.store_url)
    _require_store(settings)
    return kind(settings.store_url)


def _require_store(settings: Settings) -> None:
    url = settings.store_url
    file = Path(url.removeprefix("sqlite:///").partition("?")[0])
    if url.startswith("sqlite:///") and not file.is_file():
        hint = "xdrec ingest DOMAIN FILE makes it; if it is elsewhere: xdrec --home FOLDER …"
        raise SetupError(f"there is no store at {file}", hint=hint)


def open_encoder(settings: Settings, *, threads: int = 0) -> SentenceEncoder:
    """The configured encoder; its weights load at first use.

    Args:
        threads: how many compute in 8 bits; 0: one for each core.

    Raises:
        ModelMissing: it is not on this machine.
        UsageError: 8 bits on a GPU.
    """
    from retrieval.encoder import Int8Encoder, SentenceEncoder
    from xdrec_agent.models import find_model

    name, batch_size, device = settings.encoder.model, settings.encoder.batch_size, settings.device
    folder: Path = find_model(name, settings.models_dir)
    if settings.encoder.backend == "onnx-int8":
        if device == "cuda":
            raise UsageError("encoder.backend = onnx-int8 is for the CPU", hint='set device to "auto" or "cpu"')
        return Int8Encoder(name, folder, batch_size=batch_size, threads=threads)
    return SentenceEncoder(name, folder, batch_size=batch_size, device=None if device == "auto" else device)


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
    locale = load_locale(settings.explain.language, settings.explain.style)
    own = settings.explain.template
    return templates | {"explain": _template(own, "explain") if own else locale.template}


def _template(name: str, task: str) -> PromptTemplate:
    template = load_template(name)
    if template.task != task:
        raise TemplateError(f"template {template.name!r} is for task {template.task!r}, not {task!r}")
    return template


@asynccontextmanager
async def open_recommender(settings: Settings) -> AsyncIterator[Recommender]:
    """A recommender with its store, index, client and log open; all are closed at the end.

    Without a running model it recommends all the same, degraded and marked. It logs if `answers.keep` is set.

    Raises:
        RemoteNotAllowed, UsageError: the configured endpoint must not be used.
        SetupError: there is no store yet.
        StoreError: the store cannot be opened.
    """
    async with AsyncExitStack() as stack:
        store = stack.enter_context(open_store(settings, create=False))
        client, no_client = None, ""
        try:
            client = await stack.enter_async_context(open_client(settings))
        except ServerNotRunning as exc:
            no_client = f"{exc} (start it with: {exc.hint})"
        log = open_recommendation_log(settings, store=store) if settings.answers.keep else None
        retriever = open_retriever(settings, store, RelationGraph(RelationStore.open(store.database)))
        yield make_recommender(settings, retriever, client, no_client, log=log)


def make_recommender(
    settings: Settings,
    retriever: Retriever,
    client: LLMClient | None,
    no_client: str = "",
    *,
    log: RecommendationLog | None = None,
) -> Recommender:
    """A recommender of open parts.

    Raises:
        TemplateError, UsageError: the settings name what does not exist.
        DataError: the home's fits cannot be read.
    """
    return Recommender(
        retriever,
        client,
        rerank=settings.rerank,
        explain=settings.explain,
        templates=load_templates(settings),
        no_client=no_client,
        exclusions=settings.exclusions,
        fits=rerank_fits(settings.fits_dir),
        log=log,
    )
