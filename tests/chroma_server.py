"""A real Chroma server that tests start and stop. Reads a folder, produces the URL of a server of it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest

START_S = 120


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class ChromaServer:
    """`chroma run` in a process group of its own."""

    def __init__(self, folder, port=None):
        self.port = port = port or free_port()
        self.url = f"http://127.0.0.1:{port}"
        program = shutil.which("chroma", path=str(Path(sys.executable).parent)) or "chroma"
        self._process = subprocess.Popen(
            [program, "run", "--path", str(folder), "--host", "127.0.0.1", "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "ANONYMIZED_TELEMETRY": "False"},
            start_new_session=True,
        )
        self._wait()

    def _wait(self):
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            assert self._process.poll() is None, "chroma run ended"
            try:
                if httpx2.get(f"{self.url}/api/v2/heartbeat").is_success:
                    return
            except httpx2.TransportError:
                time.sleep(0.1)  # polls a process that has no other way to say that it is ready
        pytest.fail(f"chroma did not answer within {START_S} s")

    def stop(self):
        """End the whole group, if it still runs."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
