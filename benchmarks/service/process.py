"""A real service to be measured. Reads a prepared dataset, produces the URL and the process of an `xdrec serve`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Final

import httpx2
import psutil

from retrieval.errors import BackendError

_PATIENCE_S: Final = 60.0
_PROGRAM: Final = "from xdrec_agent.cli import main; main()"


@dataclass(frozen=True)
class Server:
    """A running service; with several processes, `process` is the one that watches over the others."""

    url: str
    process: psutil.Process

    def memory_mib(self) -> float:
        """Resident memory less what is mapped from files: pages of the index come and go with the system's leave."""
        memory = [process.memory_info() for process in self._processes()]
        return float(sum(one.rss - getattr(one, "shared", 0) for one in memory)) / 2**20

    def cpu_s(self) -> float:
        """Seconds of processor that its processes have used so far."""
        times = [process.cpu_times() for process in self._processes()]
        return float(sum(one.user + one.system for one in times))

    def _processes(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]


@contextmanager
def serving(home: Path, models_dir: Path, settings: Mapping[str, str]) -> Iterator[Server]:
    """A service over a copy of the store, as it keeps its answers; the index is only read.

    Args:
        settings: variables of its environment.

    Raises:
        BackendError: it does not start.
    """
    with tempfile.TemporaryDirectory() as folder:
        own = Path(folder)
        shutil.copy(home / "store.sqlite", own / "store.sqlite")
        (own / "index").symlink_to((home / "index").resolve())
        env = os.environ | {"XDREC_MODELS_DIR": str(models_dir), "XDREC_SERVICE__KEYS": "off"} | dict(settings)
        command = [sys.executable, "-P", "-c", _PROGRAM, "--home", folder, "serve", "--port", "0"]
        log = own / "log"
        with log.open("wb") as sink:
            process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=sink)
        try:
            yield Server(_ready(process, log), psutil.Process(process.pid))
        finally:
            process.terminate()
            process.wait(_PATIENCE_S)


def _ready(process: subprocess.Popen[bytes], log: Path) -> str:
    """The URL of the service, once it answers."""
    deadline = perf_counter() + _PATIENCE_S
    while perf_counter() < deadline and process.poll() is None:
        named = re.search(r'"url": "([^"]+)"', log.read_text(encoding="utf-8"))
        if named:
            try:
                httpx2.get(f"{named[1]}/health/live", timeout=_PATIENCE_S).raise_for_status()
            except httpx2.HTTPError:
                continue
            return named[1]
    raise BackendError(f"the service did not start: {log.read_text(encoding='utf-8')[-500:]}", hint="xdrec serve")
