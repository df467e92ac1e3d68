"""The server. Reads settings, runs uvicorn until it is told to end, and lets finish what runs by then."""

from __future__ import annotations

import logging
import math
import socket

import uvicorn
from starlette.types import ASGIApp

from retrieval.errors import XDRecError
from xdrec_agent.errors import PortTaken
from xdrec_agent.service.app import create_app
from xdrec_agent.service.app_state import OpenParts, open_parts
from xdrec_agent.service.gc_freeze import Settled
from xdrec_agent.service.logs import log_to_stderr
from xdrec_agent.service.workers import run_workers
from xdrec_agent.settings import ServiceSettings, Settings

_logger = logging.getLogger("xdrec.service")


def run(settings: Settings, opened: OpenParts = open_parts) -> None:
    """Serve until SIGINT or SIGTERM, with as many processes as are configured.

    Args:
        opened: opens store, index and client in each of them.

    Raises:
        PortTaken: something else listens there.
        UsageError: from `create_app`.
        SetupError, StoreError: the parts cannot be opened.
    """
    service = settings.service
    log_to_stderr(log_text=service.log_text)
    app = create_app(settings, opened)
    with listening(service) as listener:
        if service.workers > 1:
            run_workers(settings, opened, listener, configured(app, service))
            return
        uvicorn.Server(configured(Settled(app), service)).run([listener])
    failure: XDRecError | None = getattr(app.state, "failure", None)
    if failure is not None:
        raise failure


def configured(app: ASGIApp, service: ServiceSettings) -> uvicorn.Config:
    """How an application is served: our own logs, and time for what runs when the process is told to end."""
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=math.ceil(service.shutdown_s),
        workers=service.workers,
    )


def listening(service: ServiceSettings) -> socket.socket:
    """A socket at the configured address, whose URL goes to the log. Raises PortTaken."""
    listener = _listen(service.host, service.port)
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    _logger.info("listening", extra={"fields": {"url": f"http://{shown}:{port}"}})
    return listener


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as exc:
        hint = "choose another with --port, or 0 for any that is free"
        raise PortTaken(f"{host}:{port} cannot be listened on: {exc.strerror}", hint=hint) from exc
