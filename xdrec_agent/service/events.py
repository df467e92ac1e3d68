"""Server-sent events. Reads an async generator of events, produces a response that stops it when the client goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import aclosing
from typing import Any, Final, Protocol, TypeVar

from fastapi import Request
from pydantic import BaseModel
from sse_starlette import EventSourceResponse, ServerSentEvent

from retrieval.errors import XDRecError
from xdrec_agent.service.app_state import AppState
from xdrec_agent.service.problems import log_error, problem_of

T = TypeVar("T")
_PING_S: Final = 15
SEPARATOR: Final = "\n"


class ClientGone(XDRecError):
    """The client has closed the connection; nobody sees this answer."""

    http_status = 499


class StreamEvent(Protocol):
    """An event: a pydantic model with its `type`."""

    @property
    def type(self) -> str:
        """The event's name in the stream."""
        ...

    def model_dump_json(self) -> str:
        """The event's data."""
        ...


async def unless_gone(request: Request, work: Awaitable[T]) -> T:
    """The result of the work, which is cancelled if the client goes away meanwhile. Raises ClientGone."""
    task = asyncio.ensure_future(work)
    gone = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGone("the client has gone")
        return task.result()
    finally:
        task.cancel()
        gone.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def stream(request: Request, events: AsyncGenerator[StreamEvent, None]) -> EventSourceResponse:
    """The events as a response, which begins with the first one: what fails before that is an answer of its own."""
    first = await unless_gone(request, anext(events))
    return respond(request, _sent(first, events))


def respond(request: Request, sent: AsyncIterator[ServerSentEvent]) -> EventSourceResponse:
    """A response of events; when the service is told to end, it may go on for `service.shutdown_s`."""
    state: AppState = request.app.state.xdrec
    grace = state.settings.service.shutdown_s
    return EventSourceResponse(sent, ping=_PING_S, sep=SEPARATOR, shutdown_grace_period=grace)


async def _sent(first: StreamEvent, events: AsyncGenerator[StreamEvent, None]) -> AsyncIterator[ServerSentEvent]:
    async with aclosing(events):
        yield _event(first)
        try:
            async for event in events:
                yield _event(event)
        except XDRecError as exc:
            log_error(exc)
            yield ServerSentEvent(problem_of(exc).model_dump_json(), event="error", sep=SEPARATOR)


def _event(event: StreamEvent) -> ServerSentEvent:
    return ServerSentEvent(event.model_dump_json(), event=event.type, sep=SEPARATOR)


def documented_stream(*events: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """The 200 response of a route that streams these events, as FastAPI takes it; `app` describes the events."""
    shapes = [{"$ref": f"#/components/schemas/{name}"} for name in (*(e.__name__ for e in events), "Problem")]
    names = [event.model_fields["type"].default for event in events]
    data = {"type": "string", "contentMediaType": "application/json", "contentSchema": {"oneOf": shapes}}
    properties = {"event": {"enum": [*names, "error"]}, "data": data}
    schema = {"type": "object", "required": ["event", "data"], "properties": properties}
    description = "Server-sent events; `data` is JSON, and of `error` a `Problem`."
    return {200: {"description": description, "content": {"text/event-stream": {"schema": schema}}}}
