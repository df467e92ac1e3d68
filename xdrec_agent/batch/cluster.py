"""Ray. Reads an address, produces a connection to a cluster; translates Ray's errors at one place."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Final

from retrieval.errors import BackendError, SetupError, XDRecError

LOCAL: Final = "local"
_STORE: Final = 256 * 2**20
"""Bytes of object store of a cluster of our own: parts on their way from stage to stage."""


class ClusterError(BackendError):
    """Ray failed or cannot be reached."""


@contextmanager
def cluster(address: str) -> Iterator[None]:
    """Around work on a cluster: an address (`HOST:PORT`, `auto`), or "local" for one on this machine alone.

    Raises:
        SetupError: Ray is not installed.
        ClusterError: there is no such cluster, or it failed in a way that it did not mend itself.
        XDRecError: what a stage raised, as itself.
    """
    # Ray reports usage by default; people's histories are nobody's business. It reads this while it is imported.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # its remarks on actors of Ray Data's own
    try:
        import ray
        from ray.data import DataContext
    except ModuleNotFoundError as exc:
        hint = "pip install 'xdrec[batch]'"
        raise SetupError(f"batches need a package that is not installed: {exc.name}", hint=hint) from exc
    # Ray's remarks on workers that died go to stdout, where data alone belongs.
    with redirect_stdout(sys.stderr), translated(address):
        if address == LOCAL:
            ray.init(
                address=LOCAL,
                include_dashboard=False,
                object_store_memory=_STORE,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _node_ip_address="127.0.0.1",
            )
        else:
            host = address.rpartition(":")[0]
            # Ray takes the machine's address for its own, where a cluster on loopback does not listen.
            own = {"_node_ip_address": host} if host.startswith("127.") else {}
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
        try:
            context = DataContext.get_current()
            context.enable_progress_bars = False
            context.print_on_execution_start = False
            logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what goes wrong is raised as well
            yield
        finally:
            ray.shutdown()


@contextmanager
def translated(address: str) -> Iterator[None]:
    """Around calls of Ray."""
    from ray.exceptions import RayError

    try:
        yield
    except (RayError, ConnectionError, RuntimeError, ValueError) as exc:
        if own := _own(exc):
            raise own from exc
        first = next(iter(str(exc).strip().splitlines()), type(exc).__name__)
        hint = "ray status --address HOST:PORT; the same command goes on where it stopped"
        raise ClusterError(f"Ray at {address}: {first}", hint=hint) from exc


def _own(error: BaseException) -> XDRecError | None:
    """The error of ours that Ray has wrapped, if any."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, XDRecError):
            return seen
        seen = getattr(seen, "cause", None) or seen.__cause__
    return None
