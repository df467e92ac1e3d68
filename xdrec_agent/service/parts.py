"""The open parts of the service. Reads settings, produces store, index and a client that follows the model's server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from retrieval.errors import XDRecError
from retrieval.index import Index
from retrieval.store import Store
from xdrec_agent.app import open_client, open_index, open_store
from xdrec_agent.errors import ServerNotRunning
from xdrec_agent.llm import Endpoint, LLMClient, resolve_endpoint
from xdrec_agent.settings import Settings

_RECONNECT_EVERY_S: Final = 5.0
"""How often it is looked whether the model's server has come, gone or been started anew."""
_logger = logging.getLogger("xdrec.service")


@dataclass
class Parts:
    """Store and index, and the client of the model that runs now; `no_client` says why there is none."""

    store: Store
    index: Index
    client: LLMClient | None = None
    no_client: str = ""


OpenParts = Callable[[Settings], AbstractAsyncContextManager[Parts]]


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
