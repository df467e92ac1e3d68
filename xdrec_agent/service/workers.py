"""Several processes that answer on one socket. Reads settings and the socket, runs until it is told to end.

What processes must agree on lies outside of them: answers, dialogues and keys in the store, counted requests on disk
(`service.rates`). Metrics are added up when they are read.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import signal
import socket
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prometheus_client.multiprocess import mark_process_dead
from starlette.types import ASGIApp
from uvicorn import Config
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from retrieval.errors import SetupError
from xdrec_agent.service.access import keys_required
from xdrec_agent.service.app import create_app
from xdrec_agent.service.app_state import Engine, OpenParts
from xdrec_agent.service.concurrency_limiter import Gate
from xdrec_agent.service.gc_freeze import Settled
from xdrec_agent.service.logs import log_to_stderr
from xdrec_agent.service.metrics import Metrics
from xdrec_agent.settings import Settings

_UNRESPONSIVE_S: Final = 60
"""A process that says nothing for so long is ended and replaced; starting on a busy machine takes some of it."""
_COUNTS: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Tells prometheus_client, when a process imports it, that others count, too."""


def run_workers(settings: Settings, opened: OpenParts, listener: socket.socket, config: Config) -> None:
    """Serve with `config.workers` processes; one that dies is replaced.

    Args:
        opened: opens the parts of a process; a function that can be pickled.
        config: how each process serves; each makes the application anew.

    Raises:
        UsageError: an arm or a rate makes no sense.
        SetupError, StoreError: the parts cannot be opened.
    """
    asyncio.run(_made_once(settings, opened))
    with tempfile.TemporaryDirectory(prefix="xdrec-metrics-") as folder:
        os.environ[_COUNTS] = folder
        config.app, config.factory = Worker(settings, opened, Path(folder)), True
        config.timeout_worker_healthcheck = _UNRESPONSIVE_S
        supervisor = _Supervisor(config, [listener])
        supervisor.run()
        if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
            raise SetupError("a process of the service did not start", hint="see why above, or xdrec doctor")


@dataclass(frozen=True)
class Worker:
    """Makes the application where uvicorn calls it: in a process of its own.

    Attributes:
        counts: folder in which the processes count for /metrics.
    """

    settings: Settings
    opened: OpenParts
    counts: Path

    def __call__(self) -> ASGIApp:
        """The application of this process."""
        log_to_stderr(log_text=self.settings.service.log_text)
        threading.Thread(target=_end_with_parent, daemon=True).start()
        return Settled(create_app(self.settings, self.opened, Metrics(self.counts)))


class _Supervisor(Multiprocess):
    """Starts the processes and replaces those that die."""

    def keep_subprocess_alive(self) -> None:
        """Look after the processes; one that is gone has nothing in flight any more."""
        before = {process.pid for process in self.processes}
        super().keep_subprocess_alive()
        for pid in before - {process.pid for process in self.processes}:
            mark_process_dead(pid)  # type: ignore[no-untyped-call] # it has no types


async def _made_once(settings: Settings, opened: OpenParts) -> None:
    """What would keep every process from starting is said once, here."""
    service = settings.service
    gate = Gate(service.concurrency, service.queue, Metrics())
    async with opened(settings) as parts:
        Engine(settings, parts, gate, keys_required=keys_required(service)).close()


def _end_with_parent() -> None:
    """A supervisor that was killed leaves nobody behind who holds the socket."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        logging.getLogger("xdrec.service").warning("the process that started this one is gone")
        os.kill(os.getpid(), signal.SIGTERM)
