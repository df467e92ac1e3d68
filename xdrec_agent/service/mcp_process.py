"""The MCP server's process. Reads settings, speaks MCP over stdin and stdout or over HTTP until it is told to end."""

from __future__ import annotations

import asyncio
import logging

import uvicorn

from xdrec_agent.service.access import keys_required
from xdrec_agent.service.app_state import open_engine, open_parts
from xdrec_agent.service.concurrency_limiter import BodyLimit, Gate
from xdrec_agent.service.http_process import configured, listening
from xdrec_agent.service.logs import Frame, log_to_stderr
from xdrec_agent.service.mcp_server import Keyed, make_server
from xdrec_agent.service.metrics import Metrics
from xdrec_agent.settings import Settings


def gate_of(settings: Settings) -> Gate:
    """The configured gate, with metrics of its own."""
    return Gate(settings.service.concurrency, settings.service.queue, Metrics())


def run_stdio(settings: Settings) -> None:
    """Serve the process that started this one, until it closes stdin. Raises: as `open_parts`."""
    log_to_stderr(logging.WARNING, log_text=settings.service.log_text)

    async def serve() -> None:
        async with open_engine(settings, open_parts, gate_of(settings), keys_required=False) as engine:
            await make_server(engine).run_stdio_async()

    asyncio.run(serve())


def run_http(settings: Settings) -> None:
    """Serve at /mcp until SIGINT or SIGTERM; keys are needed where `service.keys` says so.

    Raises:
        PortTaken: something else listens there.
        UsageError, SetupError, StoreError: as `keys_required` and `open_parts`.
    """
    service, gate = settings.service, gate_of(settings)
    needed = keys_required(service)
    log_to_stderr(log_text=service.log_text)

    async def serve() -> None:
        async with open_engine(settings, open_parts, gate, keys_required=needed) as engine:
            # Without sessions any request can be answered by any process, and none is left behind.
            app = make_server(engine).streamable_http_app(host=service.host, stateless_http=True, json_response=True)
            app.add_middleware(Keyed, engine=engine)
            app.add_middleware(BodyLimit, most=1024 * service.body_kib)
            app.add_middleware(Frame, metrics=gate.metrics, local=not needed, log_text=service.log_text)
            with listening(service) as listener:
                await uvicorn.Server(configured(app, service)).serve([listener])

    asyncio.run(serve())
