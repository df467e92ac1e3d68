"""A process that only serves. Reads the start of an application, produces a garbage collector with less to do."""

from __future__ import annotations

import gc

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Settled:
    """An application after whose start what is there stays: the collector does not go through it again and again.

    Each time would be a pause of tenths of a second for everybody. It is for a process that does nothing else: whatever
    else it holds would stay, too.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection, or the start and end (ASGI)."""

        async def noticed(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                gc.collect()
                gc.freeze()
            await send(message)

        await self._app(scope, receive, noticed if scope["type"] == "lifespan" else send)
