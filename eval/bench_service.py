"""How the service bears load. Reads a prepared dataset, produces figures, measured against a real `xdrec serve`.

Open loop: when each request is due was decided before the first one was sent, and its latency counts from that moment.
A server that falls behind is thereby charged for everything that had to wait, which a client that waits for its
answers before it asks again would hide (coordinated omission).
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import httpx2
import numpy as np
import psutil
from numpy.typing import NDArray

from eval.bench_report import Figure
from eval.datasets import Dataset, Say
from eval.http_load import LoadClient
from retrieval.errors import BackendError

RATE: Final = 40.0
"""Recommendations a second."""
HISTORY: Final = 10
K: Final = 10
_OVERLOAD: Final = 4.0
"""How many times the rate is asked for beyond saturation."""
_OVERLOAD_S: Final = 20.0
_RECOVERY_S: Final = 20.0
_ALONE: Final = 100
_LIMIT_MS: Final = 250.0
_OVERHEAD_MS: Final = 10.0
_GROWTH: Final = 0.05
_SAMPLE_S: Final = 5.0
_PATIENCE_S: Final = 60.0
_SOURCE, _TARGET = "films", "books"


@dataclass(frozen=True)
class Measured:
    """What became of requests: status (0: no answer) and latency in milliseconds of each, and of those answered the
    part of the latency that was none of the answer's stages."""

    status: NDArray[np.int64]
    latency: NDArray[np.float64]
    overhead: NDArray[np.float64]

    def answered(self) -> NDArray[np.float64]:
        """Latencies of the recommendations."""
        found: NDArray[np.float64] = self.latency[self.status == 200]
        return found

    def share(self, status: int) -> float:
        """The share of requests that ended so."""
        return float((self.status == status).mean())


@dataclass(frozen=True)
class Server:
    """A running service."""

    url: str
    process: psutil.Process


def measure_service(data: Dataset, models_dir: Path, minutes: float, say: Say) -> list[Figure]:
    """Latency at the rate, memory over `minutes`, what happens beyond saturation, and the service's own overhead."""
    rng = np.random.default_rng(0)
    films = [item.id for _, item in zip(range(5_000), data.store.iter_items(_SOURCE), strict=False)]
    with _serving(data.home, models_dir) as server:
        return asyncio.run(_measure(server, films, minutes, rng, say))


async def _measure(
    server: Server, films: list[str], minutes: float, rng: np.random.Generator, say: Say
) -> list[Figure]:
    async with LoadClient(server.url, _PATIENCE_S) as client:
        load = Load(client, films, rng)
        await load.run(np.zeros(20))
        say(f"{_ALONE} recommendations, one after the other")
        alone = await load.one_by_one(_ALONE)
        say(f"{RATE:g} recommendations a second for {minutes:g} minutes")
        sampling = asyncio.create_task(_memory(server.process))
        steady = await load.run(_arrivals(RATE, 60 * minutes, rng))
        sampling.cancel()
        memory = (await asyncio.gather(sampling, return_exceptions=False))[0]
        say(f"{_OVERLOAD * RATE:g} a second for {_OVERLOAD_S:g} s: more than it can")
        over = await load.run(_arrivals(_OVERLOAD * RATE, _OVERLOAD_S, rng))
        say(f"{RATE:g} a second again")
        after = await load.run(_arrivals(RATE, _RECOVERY_S, rng))
    return [*_alone(alone), *_steady(steady), *_memory_figures(memory), *_beyond(over, after)]


def _arrivals(rate: float, seconds: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """When requests are due, in seconds from the start: a Poisson process."""
    due = np.cumsum(rng.exponential(1 / rate, round(rate * seconds)))
    return np.asarray(due, dtype=np.float64)


class Load:
    """Sends recommendations with random ten-item histories."""

    def __init__(self, client: LoadClient, films: list[str], rng: np.random.Generator) -> None:
        self._client = client
        self._films = films
        self._rng = rng

    async def run(self, due: NDArray[np.float64]) -> Measured:
        """Send a request at each of these times (seconds from now, ascending), whatever becomes of the others."""
        bodies = [self._body() for _ in due]
        start = perf_counter() + 0.1
        tasks = []
        for when, body in zip((start + due).tolist(), bodies, strict=True):
            await asyncio.sleep(max(0.0, when - perf_counter()))
            tasks.append(asyncio.create_task(self._ask(when, body)))
        return _measured(await asyncio.gather(*tasks))

    async def one_by_one(self, count: int) -> Measured:
        """Send each request when the one before was answered: what a single caller sees of an idle server."""
        return _measured([await self._ask(perf_counter(), self._body()) for _ in range(count)])

    async def _ask(self, due: float, body: bytes) -> tuple[int, float, float]:
        found = await self._client.post("/v1/recommend", body)
        latency = 1000 * (perf_counter() - due)
        return found.status, latency, latency - found.stages_ms

    def _body(self) -> bytes:
        chosen = self._rng.choice(len(self._films), HISTORY, replace=False)
        likes = [{"domain": _SOURCE, "id": self._films[i]} for i in chosen]
        ask: dict[str, Any] = {"sources": [_SOURCE], "target": _TARGET, "likes": likes, "k": K}
        return json.dumps(ask).encode()


def _measured(found: list[tuple[int, float, float]]) -> Measured:
    status, latency, _ = zip(*found, strict=True)
    return Measured(np.array(status), np.array(latency), np.array([o for s, _, o in found if s == 200]))


async def _memory(process: psutil.Process) -> list[float]:
    """Resident MiB of the server every few seconds, until cancelled."""
    found: list[float] = []
    try:
        while True:
            found.append(process.memory_info().rss / 2**20)
            await asyncio.sleep(_SAMPLE_S)
    except asyncio.CancelledError:
        return found


def _alone(found: Measured) -> list[Figure]:
    overhead = float(np.median(found.overhead))
    note = "one caller, client and network included: latency less the answer's stages"
    return [
        Figure(
            name="own overhead, p50",
            value=overhead,
            unit="ms",
            target=f"< {_OVERHEAD_MS:g}",
            met=overhead < _OVERHEAD_MS,
            n=len(found.overhead),
            note=note,
        )
    ]


def _steady(found: Measured) -> list[Figure]:
    note = f"{RATE:g}/s Poisson, {HISTORY} liked {_SOURCE}, k={K}, reasons without a model"
    times = found.answered()
    figures = [
        Figure(
            name="answered at the rate",
            value=found.share(200),
            target="1",
            met=found.share(200) == 1,
            n=len(found.status),
            note=note,
        )
    ]
    for percent in (50, 95, 99):
        value = float(np.percentile(times, percent)) if len(times) else float("nan")
        bound = {"target": f"< {_LIMIT_MS:g}", "met": value < _LIMIT_MS} if percent == 99 else {}
        row = {"name": f"latency, p{percent}", "value": value, "unit": "ms", "n": len(times), "note": note, **bound}
        figures.append(Figure.model_validate(row))
    return figures


def _memory_figures(found: list[float]) -> list[Figure]:
    quarter = max(1, len(found) // 4)
    early, late = np.mean(found[quarter : 2 * quarter] or found), np.mean(found[-quarter:])
    growth = float(late / early - 1)
    return [
        Figure(name="memory", value=float(late), unit="MiB", n=len(found), note="resident, in the last quarter"),
        Figure(
            name="memory's growth",
            value=growth,
            target=f"< {_GROWTH:g}",
            met=growth < _GROWTH,
            n=len(found),
            note=f"last quarter over second; {len(found) * _SAMPLE_S / 60:.1f} minutes",
        ),
    ]


def _beyond(over: Measured, after: Measured) -> list[Figure]:
    note = f"{_OVERLOAD * RATE:g}/s for {_OVERLOAD_S:g} s"
    shed, lost = over.share(429), float(np.isin(over.status, (200, 429), invert=True).mean())
    slowest = float(np.percentile(over.answered(), 99))
    again = float(np.percentile(after.answered(), 99))
    return [
        Figure(name="turned away beyond saturation (429)", value=shed, target="> 0", met=shed > 0, n=len(over.status),
               note=note),
        Figure(name="neither answered nor turned away", value=lost, target="0", met=lost == 0, n=len(over.status),
               note=note),
        Figure(name="answered beyond saturation", value=len(over.answered()) / _OVERLOAD_S, unit="/s",
               n=len(over.status), note=note),
        Figure(name="latency beyond saturation, p99", value=slowest, unit="ms", n=len(over.answered()), note=note),
        Figure(name="latency afterwards, p99", value=again, unit="ms", target=f"< {_LIMIT_MS:g}",
               met=again < _LIMIT_MS and after.share(200) == 1, n=len(after.status), note=f"{RATE:g}/s"),
    ]  # fmt: skip


@contextmanager
def _serving(home: Path, models_dir: Path) -> Iterator[Server]:
    """A real service over a copy of the store, as it keeps its answers; the index is only read."""
    with tempfile.TemporaryDirectory() as folder:
        own = Path(folder)
        shutil.copy(home / "store.sqlite", own / "store.sqlite")
        (own / "index").symlink_to((home / "index").resolve())
        env = os.environ | {
            "XDREC_MODELS_DIR": str(models_dir),
            "XDREC_RERANK__STRATEGY": "identity",
            "XDREC_SERVICE__KEYS": "off",
        }
        command = [
            sys.executable,
            "-P",
            "-c",
            "from xdrec_agent.cli import main; main()",
            "--home",
            folder,
            "serve",
            "--port",
            "0",
        ]
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
