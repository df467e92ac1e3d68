"""Ray. Reads an address, produces a connection to a cluster; translates Ray's errors at one place."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any, Final

from retrieval.errors import BackendError, XDRecError, optional_packages

LOCAL: Final = "local"
_STORE: Final = 256 * 2**20
"""Bytes of object store of a cluster of our own: parts on their way from stage to stage."""
_REACH_S: Final = 10.0


class ClusterError(BackendError):
    """Ray failed or cannot be reached."""


@contextmanager
def cluster(address: str) -> Iterator[None]:
    """Around work on a cluster: an address (`HOST:PORT`, `auto`), or "local" for one on this machine alone.

    Raises:
        SetupError: Ray is not installed.
        ClusterError: there is no such cluster, or it failed in a way that it did not mend itself.
        XDRecError: what an actor raised, as itself; of what a stage raised a ClusterError has the text.
    """
    # Ray reads these while it is imported; what is set already stands.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # people's histories are nobody's business
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # it would remark on the actors of Ray Data
    if address == LOCAL:
        # Ray listens on all interfaces; with a token nobody else gets in.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    with optional_packages("work on a cluster", "batch"):
        import ray
        from ray.data import DataContext

    # Ray's remarks on workers that died go to stdout, where data alone belongs.
    with redirect_stdout(sys.stderr), translated(address):
        _join(address)
        try:
            context = DataContext.get_current()
            context.enable_progress_bars = False
            context.print_on_execution_start = False
            logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what goes wrong is raised as well
            yield
        finally:
            ray.shutdown()


def _join(address: str) -> None:
    """Connect. Raises ConnectionError: there is no such cluster, or its address is none."""
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == LOCAL:
        ray.init(address=LOCAL, include_dashboard=False, object_store_memory=_STORE, **quiet)
        return
    host = _reached(address)
    # Ray takes the machine's address for its own, where a cluster on loopback does not listen.
    own = {"_node_ip_address": host} if host.startswith("127.") else {}
    try:
        ray.init(address=address, **own, **quiet)
    except (RuntimeError, ValueError) as exc:
        raise ConnectionError(str(exc)) from exc


def _reached(address: str) -> str:
    """The host of HOST:PORT, where something listens: Ray itself would try for minutes. Empty for "auto" and the like.

    Raises:
        ConnectionError: nothing listens there.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        return ""
    try:
        socket.create_connection((host, int(port)), timeout=_REACH_S).close()
    except OSError as exc:
        raise ConnectionError(f"nothing listens there ({exc})") from exc
    return host


@contextmanager
def translated(address: str) -> Iterator[None]:
    """Around calls of Ray."""
    from ray.exceptions import RayError

    try:
        yield
    except (RayError, ConnectionError) as exc:
        if own := _own(exc):
            raise own from exc
        # Of what stages raise Ray Data keeps the text alone: a traceback, whose last line says what it was.
        first = (str(exc).partition("\n\n")[0].strip() or type(exc).__name__).splitlines()[-1]
        hint = "ray status --address HOST:PORT; the same command goes on where it stopped"
        raise ClusterError(f"Ray at {address}: {first}", hint=hint) from exc


def _own(error: BaseException | None) -> XDRecError | None:
    """The error of ours that Ray has wrapped, if any."""
    while error is not None and not isinstance(error, XDRecError):
        error = getattr(error, "cause", None) or error.__cause__
    return error
