"""Processes of the service. Reads settings, serves HTTP or MCP until told to end, and lets running requests finish.

Several workers answer on one socket. What they must agree on lies outside of them: answers, dialogues and keys in the
store, counted requests on disk (`limits.RateLimiter`). Metrics are added up when they are read.
"""

from __future__ import annotations

import asyncio
import logging
import math
import multiprocessing
import os
import signal
import socket
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvicorn
from prometheus_client.multiprocess import mark_process_dead
from starlette.types import ASGIApp
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from retrieval.errors import SetupError, XDRecError
from xdrec_agent.errors import PortTaken
from xdrec_agent.service.app import create_app
from xdrec_agent.service.app_state import AppState, keys_required, open_state
from xdrec_agent.service.logs import log_to_stderr
from xdrec_agent.service.middleware import BodyLimit, ConcurrencyLimiter, GcFreeze, Metrics, RequestMiddleware
from xdrec_agent.service.parts import OpenParts, open_parts
from xdrec_agent.settings import ServiceSettings, Settings

_UNRESPONSIVE_S: Final = 60
"""A worker that says nothing for so long is ended and replaced; starting on a busy machine takes some of it."""
_METRICS_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Tells prometheus_client, when a process imports it, that others count, too."""
_logger = logging.getLogger("xdrec.service")


def run(settings: Settings, opened: OpenParts = open_parts) -> None:
    """Serve until SIGINT or SIGTERM, with as many workers as are configured; one that dies is replaced.

    Args:
        opened: opens store, index and client in each of them; a function that can be pickled.

    Raises:
        PortTaken: something else listens there.
        UsageError: from `create_app`.
        SetupError, StoreError: the parts cannot be opened.
    """
    service = settings.service
    log_to_stderr(log_text=service.log_text)
    app = create_app(settings, opened)
    with _listen(service) as listener:
        if service.workers > 1:
            _run_workers(settings, opened, listener)
            return
        uvicorn.Server(_uvicorn_config(GcFreeze(app), service)).run([listener])
    failure: XDRecError | None = getattr(app.state, "failure", None)
    if failure is not None:
        raise failure


def run_mcp_stdio(settings: Settings) -> None:
    """Serve MCP to the process that started this one, until it closes stdin. Raises: as `open_parts`."""
    from xdrec_agent.service.mcp_server import make_server

    log_to_stderr(logging.WARNING, log_text=settings.service.log_text)

    async def serve() -> None:
        async with open_state(settings, open_parts, _limiter(settings.service), keys_required=False) as state:
            await make_server(state).run_stdio_async()

    asyncio.run(serve())


def run_mcp_http(settings: Settings) -> None:
    """Serve MCP at /mcp until SIGINT or SIGTERM; keys are needed where `service.keys` says so.

    Raises:
        PortTaken: something else listens there.
        UsageError, SetupError, StoreError: as `keys_required` and `open_parts`.
    """
    from xdrec_agent.service.mcp_server import RequireKey, make_server

    service, limiter = settings.service, _limiter(settings.service)
    needed = keys_required(service)
    log_to_stderr(log_text=service.log_text)

    async def serve() -> None:
        async with open_state(settings, open_parts, limiter, keys_required=needed) as state:
            # Without sessions any request can be answered by any process, and none is left behind.
            app = make_server(state).streamable_http_app(host=service.host, stateless_http=True, json_response=True)
            app.add_middleware(RequireKey, state=state)
            app.add_middleware(BodyLimit, limit=1024 * service.body_kib)
            app.add_middleware(RequestMiddleware, metrics=limiter.metrics, local=not needed, log_text=service.log_text)
            with _listen(service) as listener:
                await uvicorn.Server(_uvicorn_config(app, service)).serve([listener])

    asyncio.run(serve())


def _limiter(service: ServiceSettings) -> ConcurrencyLimiter:
    return ConcurrencyLimiter(service.concurrency, service.queue, Metrics())


def _uvicorn_config(app: ASGIApp, service: ServiceSettings) -> uvicorn.Config:
    """Our own logs, and time for what runs when the process is told to end."""
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=math.ceil(service.shutdown_s),
        workers=service.workers,
    )


def _listen(service: ServiceSettings) -> socket.socket:
    """A socket at the configured address, whose URL goes to the log. Raises PortTaken."""
    address = (service.host, service.port)
    try:
        family = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server(address, family=family, backlog=2048)
    except OSError as exc:
        hint = "choose another with --port, or 0 for any that is free"
        raise PortTaken(f"{service.host}:{service.port} cannot be listened on: {exc.strerror}", hint=hint) from exc
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    _logger.info("listening", extra={"fields": {"url": f"http://{shown}:{port}"}})
    return listener


def _run_workers(settings: Settings, opened: OpenParts, listener: socket.socket) -> None:
    asyncio.run(_check_parts(settings, opened))
    with tempfile.TemporaryDirectory(prefix="xdrec-metrics-") as folder:
        os.environ[_METRICS_FOLDER] = folder
        config = _uvicorn_config(_Worker(settings, opened, Path(folder)), settings.service)  # type: ignore[arg-type]
        config.factory = True
        config.timeout_worker_healthcheck = _UNRESPONSIVE_S
        supervisor = _Supervisor(config, [listener])
        supervisor.run()
        if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
            raise SetupError("a process of the service did not start", hint="see why above, or xdrec doctor")


async def _check_parts(settings: Settings, opened: OpenParts) -> None:
    """Report once, here, what would keep every worker from starting."""
    async with opened(settings) as parts:
        needed = keys_required(settings.service)
        AppState(settings, parts, _limiter(settings.service), keys_required=needed).rate.close()


@dataclass(frozen=True)
class _Worker:
    """Makes the application where uvicorn calls it: in a process of its own."""

    settings: Settings
    opened: OpenParts
    metrics_folder: Path

    def __call__(self) -> ASGIApp:
        log_to_stderr(log_text=self.settings.service.log_text)
        threading.Thread(target=_end_with_parent, daemon=True).start()
        return GcFreeze(create_app(self.settings, self.opened, Metrics(self.metrics_folder)))


class _Supervisor(Multiprocess):
    """Starts the workers and replaces those that die."""

    def keep_subprocess_alive(self) -> None:
        """Look after the workers; one that is gone has nothing in flight any more."""
        before = {process.pid for process in self.processes}
        super().keep_subprocess_alive()
        for pid in before - {process.pid for process in self.processes}:
            mark_process_dead(pid)  # type: ignore[no-untyped-call] # it has no types


def _end_with_parent() -> None:
    """Nobody holds the socket after the supervisor was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        _logger.warning("the process that started this one is gone")
        os.kill(os.getpid(), signal.SIGTERM)
