"""How much at a time. Reads requests, produces turns for them, or a 429 that says when to come again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from xdrec_agent.service.metrics import Metrics
from xdrec_agent.service.problems import Problem, TooMuch, headers_of, problem_of

_SOON_S: Final = 1


class Gate:
    """Lets `concurrency` pieces of work run and `queue` more wait; whoever comes then is turned away at once.

    A queue without a bound would only make everybody wait longer than they do.
    """

    def __init__(self, concurrency: int, queue: int, metrics: Metrics) -> None:
        self._turns = asyncio.Semaphore(concurrency)
        self._most = queue
        self._waiting = 0
        self._working = 0
        self.metrics = metrics

    @property
    def full(self) -> bool:
        """Whether the next one is turned away."""
        return self._turns.locked() and self._waiting >= self._most

    @property
    def occupied(self) -> bool:
        """Whether anything is at work."""
        return self._working > 0

    def refusal(self) -> TooMuch:
        """Count somebody who is turned away, and the error that tells them."""
        self.metrics.shed.inc()
        return TooMuch("too many requests wait already", after_s=_SOON_S, hint=f"come again in {_SOON_S} s")

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Work inside of it. Raises TooMuch."""
        if self.full:
            raise self.refusal()
        self._waiting += 1
        self.metrics.waiting.inc()
        try:
            await self._turns.acquire()
        finally:
            self._waiting -= 1
            self.metrics.waiting.dec()
        self._working += 1
        self.metrics.in_flight.inc()
        try:
            yield
        finally:
            self._working -= 1
            self.metrics.in_flight.dec()
            self._turns.release()


class Shed:
    """Turns requests away before anything is read of them while the gate is full: beyond saturation that must be cheap.

    Args:
        paths: of the routes whose work goes through the gate.
        shared: whether other processes listen on the same socket. Then a client that is answered while others wait here
            is asked to connect again: who has nothing to do is the first to accept.
    """

    def __init__(self, app: ASGIApp, gate: Gate, paths: frozenset[str], *, shared: bool = False) -> None:
        self._app = app
        self._gate = gate
        self._shared = shared
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection (ASGI)."""
        if scope["type"] == "http" and scope["path"] in self._paths and self._gate.full:
            error = self._gate.refusal()
            await problem_of(error).response(headers_of(error))(scope, receive, send)
            return
        if not self._shared or scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def passed_on(message: Message) -> None:
            if message["type"] == "http.response.start" and self._gate.occupied:
                message["headers"] = [*message["headers"], (b"connection", b"close")]
            await send(message)

        await self._app(scope, receive, passed_on)


class BodyLimit:
    """Refuses bodies that are larger than `most` bytes, whether they say so or not."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        said = dict(scope["headers"]).get(b"content-length", b"")
        if said.isdigit() and int(said) > self._most:
            await self._refuse(scope, receive, send)
            return
        body = await self._read(receive) if not said and scope["method"] in {"POST", "PUT", "PATCH"} else []
        if body is None:
            await self._refuse(scope, receive, send)
            return

        async def replayed() -> Message:
            return body.pop(0) if body else await receive()

        await self._app(scope, replayed, send)

    async def _read(self, receive: Receive) -> list[Message] | None:
        """The messages of a body of unknown length; None if it is too large."""
        messages: list[Message] = []
        size = 0
        while True:
            message = await receive()
            messages.append(message)
            size += len(message.get("body", b""))
            if size > self._most:
                return None
            if message["type"] != "http.request" or not message.get("more_body", False):
                return messages

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        problem = Problem(
            type="urn:xdrec:body-too-large",
            title="Body too large",
            status=413,
            detail=f"a request body may have {self._most} bytes",
            hint="send less, or raise service.body_kib",
        )
        await problem.response({"connection": "close"})(scope, receive, send)
