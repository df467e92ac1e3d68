"""The state of the application. Reads settings, produces the open parts and a recommender for every arm."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Final

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool
from threadpoolctl import threadpool_limits

from retrieval.errors import SetupError, StoreError, XDRecError
from retrieval.index import Index
from retrieval.ranking import Retriever, fusion_fit
from retrieval.relations import RelationGraph
from retrieval.store import RelationStore, Store
from retrieval.types import History, HistoryEntry, Query
from xdrec_agent.app import Keys, make_recommender, open_client, open_index, open_store
from xdrec_agent.converse import Conversation, Dialogues, Lexicon
from xdrec_agent.errors import ServerNotRunning
from xdrec_agent.llm import Endpoint, LLMClient, resolve_endpoint
from xdrec_agent.recommend import RecommendationLog, Recommender
from xdrec_agent.service.arms import arm_of, settings_by_arm
from xdrec_agent.service.limits import DialogueLocks, RateLimiter
from xdrec_agent.service.middleware import ConcurrencyLimiter
from xdrec_agent.service.title_search import TitleSearch
from xdrec_agent.settings import Settings

_RECONNECT_EVERY_S: Final = 5.0
"""How often it is looked whether the model's server has come, gone or been started anew."""
_FORGET_EVERY_S: Final = 60.0
"""How often what was kept for too long is deleted."""
_logger = logging.getLogger("xdrec.service")


@dataclass
class Parts:
    """Store and index, and the client of the model that runs now; `no_client` says why there is none."""

    store: Store
    index: Index
    client: LLMClient | None = None
    no_client: str = ""


OpenParts = Callable[[Settings], AbstractAsyncContextManager[Parts]]


class AppState:
    """The parts, and a recommender for every arm."""

    def __init__(self, settings: Settings, parts: Parts, limiter: ConcurrencyLimiter, *, keys_required: bool) -> None:
        database = parts.store.database
        self.settings = settings
        self.store = parts.store
        self.log = RecommendationLog.open(database)
        self.keys = Keys.open(database)
        self.dialogues = Dialogues.open(database)
        self.keys_required = keys_required
        self.limiter = limiter
        self.metrics = limiter.metrics
        self.rate = RateLimiter(settings.service.rate, settings.rates_dir)
        self.threads = max(1, (os.cpu_count() or 1) // settings.service.workers)
        self._computing = asyncio.Semaphore(self.threads)
        self.dialogue_locks = DialogueLocks()
        self.titles = TitleSearch(parts.store)
        self._parts = parts
        self._settings = settings_by_arm(settings)
        self._graph = RelationGraph(RelationStore.open(database))
        self._lexicon = Lexicon(parts.store)
        self._conversations: dict[str, Conversation] = {}
        self._client: LLMClient | None = None
        self._make_conversations()

    def arm(self, user: str | None) -> str:
        """The user's arm; empty if nothing is compared."""
        arms = self.settings.service.arms
        return arm_of(user, arms) if arms else ""

    def conversation(self, arm: str) -> Conversation:
        """The conversation of an arm, with the model that runs now; an arm that is gone gets the first one's."""
        if self._parts.client is not self._client:
            self._make_conversations()
        return self._conversations.get(arm) or next(iter(self._conversations.values()))

    def recommender(self, arm: str) -> Recommender:
        """The recommender of an arm, with the model that runs now."""
        return self.conversation(arm).recommender

    @property
    def model(self) -> str | None:
        """The name of the model that runs now."""
        return self._parts.client.endpoint.model if self._parts.client else None

    def computing(self, arm: str) -> AbstractAsyncContextManager[object]:
        """A turn to compute a whole answer of an arm, in order of arrival; open to all where a model is waited for.

        Answers that take turns at every stage all end late: one after the other most end early, and none later.
        """
        return self._computing if self.recommender(arm).client is None else nullcontext()

    def usable_domains(self) -> tuple[str, ...]:
        """The domains that can be recommended from and to: they have items and an index that fits.

        Raises:
            StoreError: the database fails.
        """
        usable = []
        for domain in self.store.domain_names():
            try:
                self._parts.index.snapshot(domain)
            except SetupError as exc:
                _logger.warning("%s (%s)", exc, exc.hint)
            else:
                usable.append(domain)
        return tuple(usable)

    def prepare(self) -> None:
        """Recommend once in every domain, so that nobody's request has to load what all need.

        Raises: as `usable_domains`.
        """
        usable = self.usable_domains()
        for target, source in pairwise((*usable, *usable[:1]) if len(usable) > 1 else ()):
            if known := next(self.store.iter_items(source), None):
                history = History(entries=(HistoryEntry(item=known, preference=1),))
                try:
                    self.recommender("").retrieve(Query(history=history, target=target, k=1))
                except XDRecError as exc:
                    _logger.warning("%s cannot be recommended", target, extra={"fields": {"error": type(exc).__name__}})

    def forget_old(self) -> int:
        """Delete some of the answers and dialogues that are too old or too many; how many. Raises StoreError."""
        answers, chat = self.settings.answers, self.settings.chat
        return self.log.forget_old(answers.days, answers.most) + self.dialogues.forget_old(chat.days, chat.most)

    def _make_conversations(self) -> None:
        parts, log = self._parts, self.log if self.settings.answers.keep else None
        for arm, chosen in self._settings.items():
            fusion = fusion_fit(parts.index.encoder.name, chosen.fits_dir)
            retriever = Retriever(parts.store, parts.index, chosen.retriever, fusion=fusion, graph=self._graph)
            recommender = make_recommender(chosen, retriever, parts.client, parts.no_client, log=log)
            self._conversations[arm] = Conversation(recommender, self.dialogues, chosen.chat, lexicon=self._lexicon)
        self._client = parts.client


async def _state(request: Request) -> AppState:
    """The state of the application that a request came to; a coroutine, as FastAPI sends functions to a thread."""
    state: AppState = request.app.state.xdrec
    return state


State = Annotated[AppState, Depends(_state)]
"""The parameter of a route."""


@asynccontextmanager
async def open_parts(settings: Settings) -> AsyncIterator[Parts]:
    """The configured parts. The model's server may come and go: it is looked for again and again.

    Raises:
        SetupError: there is no store yet, or the encoder's files are missing.
        StoreError: the store cannot be opened.
        RemoteNotAllowed, UsageError: the configured endpoint must not be used.
    """
    with open_store(settings, create=False) as store, open_index(settings) as index:
        async with connected(settings, store, index) as parts:
            yield parts


@asynccontextmanager
async def connected(settings: Settings, store: Store, index: Index) -> AsyncIterator[Parts]:
    """An open store and index as parts, with the client of the model that runs. Raises RemoteNotAllowed, UsageError."""
    async with AsyncExitStack() as stack:
        parts = Parts(store, index)
        await _connect(settings, parts, stack)
        watching = asyncio.create_task(_watch(settings, parts, stack))
        try:
            yield parts
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)


async def _watch(settings: Settings, parts: Parts, stack: AsyncExitStack) -> None:
    while True:
        await asyncio.sleep(_RECONNECT_EVERY_S)
        try:
            await _connect(settings, parts, stack)
        except XDRecError as exc:
            _logger.warning("the model's server cannot be used: %s", exc)


async def _connect(settings: Settings, parts: Parts, stack: AsyncExitStack) -> None:
    try:
        endpoint: Endpoint | None = await asyncio.to_thread(resolve_endpoint, settings)
    except ServerNotRunning as exc:
        endpoint, parts.no_client = None, f"{exc} (start it with: {exc.hint})"
    if endpoint == (parts.client.endpoint if parts.client else None):
        return
    # The old client stays open until the end: answers under way may still use it.
    parts.client = None if endpoint is None else await stack.enter_async_context(open_client(settings))
    _logger.info("model: %s", endpoint.model if endpoint else parts.no_client)


@asynccontextmanager
async def open_state(
    settings: Settings, opened: OpenParts, limiter: ConcurrencyLimiter, *, keys_required: bool
) -> AsyncIterator[AppState]:
    """The state of an application; closed at the end.

    Retrieval runs in as many threads as there are processors for this process, each with one thread of arithmetic: more
    would only wait for one another. Raises: as `open_parts`.
    """
    with threadpool_limits(1, user_api="blas"):
        async with opened(settings) as parts:
            state = AppState(settings, parts, limiter, keys_required=keys_required)
            pool = ThreadPoolExecutor(state.threads, thread_name_prefix="xdrec")
            asyncio.get_running_loop().set_default_executor(pool)
            forgetting = asyncio.create_task(_forget_old(state))
            try:
                await asyncio.to_thread(state.prepare)
                yield state
            finally:
                forgetting.cancel()
                await asyncio.gather(forgetting, return_exceptions=True)
                state.rate.close()


async def _forget_old(state: AppState) -> None:
    while True:
        try:
            while await run_in_threadpool(state.forget_old):
                pass
        except StoreError as exc:  # the next round may find the database again
            _logger.warning("nothing could be tidied up", extra={"fields": {"error": type(exc).__name__}})
        await asyncio.sleep(_FORGET_EVERY_S)
