"""The state of the application. Reads open parts and requests, produces a recommender for every arm, and who calls."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Final

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.concurrency import run_in_threadpool
from threadpoolctl import threadpool_limits

from retrieval.errors import SetupError, StoreError, UsageError, XDRecError
from retrieval.ranking import Retriever, fusion_fit
from retrieval.relations import RelationGraph
from retrieval.store import RelationStore
from retrieval.types import History, HistoryEntry, Query
from xdrec_agent.app import Key, Keys, arm_of, make_recommender, settings_by_arm
from xdrec_agent.converse import Conversation, Dialogues, Lexicon
from xdrec_agent.llm import LLMClient
from xdrec_agent.recommend import RecommendationLog, Recommender
from xdrec_agent.service.limits import DialogueLocks, RateLimiter
from xdrec_agent.service.middleware import ConcurrencyLimiter
from xdrec_agent.service.parts import OpenParts, Parts
from xdrec_agent.service.problems import Forbidden, Unauthorised, not_found
from xdrec_agent.service.title_search import TitleSearch
from xdrec_agent.settings import ServiceSettings, Settings

_FORGET_EVERY_S: Final = 60.0
"""How often what was kept for too long is deleted."""
_bearer = HTTPBearer(auto_error=False, description="A key of `xdrec keys create`.")
_logger = logging.getLogger("xdrec.service")


def keys_required(service: ServiceSettings) -> bool:
    """Whether requests need a key.

    Raises:
        UsageError: keys are off although other machines can connect.
    """
    local = _is_loopback(service.host)
    if service.keys == "off" and not local:
        raise UsageError(
            f"without keys everybody who reaches {service.host} sees everybody's history",
            hint='set service.keys to "required", or service.host to 127.0.0.1',
        )
    return service.keys == "required" or not local


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True)
class Caller:
    """Who calls; `key` is None where keys are off, and then the caller is whoever the request names."""

    key: Key | None

    def acts_for(self, user: str | None) -> str | None:
        """The user that a request is about, when it names `user` (None: nobody).

        Raises:
            Forbidden: the key is bound to another user.
        """
        if self.key is None or self.key.role == "operator":
            return user
        if user is not None and user != self.key.user:
            raise Forbidden("this key is bound to another user", hint="leave the user out, or use an operator's key")
        return self.key.user

    def require_owner(self, what: str, name: str, owner: str | None) -> None:
        """Raises NotFound where the thing is another user's: that it exists is not said."""
        if self.key is not None and self.key.role == "user" and owner != self.key.user:
            raise not_found(what, name)


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


async def _caller(
    state: State, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Caller:
    if not state.keys_required:
        return Caller(None)
    return await run_in_threadpool(caller_with, state, credentials.credentials if credentials else None)


def caller_with(state: AppState, secret: str | None, *, count: bool = True) -> Caller:
    """The caller with this key (None: none was sent). `count`: whether it counts against the key's rate.

    Raises:
        Unauthorised: a key is needed and there is none, or none that is in use.
        TooManyRequests: the key has used up its rate.
    """
    if not state.keys_required:
        return Caller(None)
    key = state.keys.find(secret) if secret else None
    if key is None:
        message = "unknown or revoked key" if secret else "no key"
        raise Unauthorised(message, hint="send Authorization: Bearer KEY; xdrec keys create makes one")
    if count:
        state.rate.count(key.id)
    return Caller(key)


AnyCaller = Annotated[Caller, Depends(_caller)]
"""The parameter of a route that any caller with a good key may use; their request counts against the key's rate."""


async def _operator(request: Request, caller: AnyCaller) -> Caller:
    if caller.key is not None and caller.key.role != "operator":
        raise Forbidden(f"{request.url.path} is for operators", hint="xdrec keys create --operator")
    return caller


Operator = Annotated[Caller, Depends(_operator)]
"""The parameter of a route that is for operators alone where keys are needed."""


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
