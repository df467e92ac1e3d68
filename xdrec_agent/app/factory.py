"""Everything put together. Reads settings, produces an open `Recommender`.

async with open_recommender(load_settings()) as recommender:
    query = build_query(recommender.store, sources=["films"], target="books", likes=["Alien"])
    answer = await recommender.recommend(query)
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from retrieval.ranking import Retriever
from retrieval.relations import RelationGraph
from xdrec_agent.app.parts import load_templates, open_client, open_relations, open_retriever, open_store
from xdrec_agent.errors import ServerNotRunning
from xdrec_agent.llm import LLMClient
from xdrec_agent.recommend import Recommender
from xdrec_agent.rerank import rerank_fits
from xdrec_agent.settings import Settings


@asynccontextmanager
async def open_recommender(settings: Settings) -> AsyncIterator[Recommender]:
    """A recommender with its store, index and client open; all are closed at the end.

    Without a running model it recommends all the same, degraded and marked.

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
        graph = RelationGraph(stack.enter_context(open_relations(settings)))
        yield make_recommender(settings, open_retriever(settings, store, graph), client, no_client)


def make_recommender(
    settings: Settings,
    retriever: Retriever,
    client: LLMClient | None,
    no_client: str = "",
) -> Recommender:
    """A recommender of parts that are open.

    Raises:
        TemplateError, UsageError: the settings name what there is not.
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
    )
