"""How the service bears load. Reads a prepared dataset, produces figures, measured against a real `xdrec serve`.

Open loop: when each request is due was decided before the first one was sent, and its latency counts from that moment.
A server that falls behind is thereby charged for everything that had to wait, which a client that waits for its
answers before it asks again would hide (coordinated omission).
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import Figure, figure
from benchmarks.service.http_load import LoadClient
from benchmarks.service.load_figures import Measured, beyond_figures, memory_figures, overhead_figure, steady_figures
from benchmarks.service.process import Server, serving
from benchmarks.service.simulated_llm import MODEL, simulated
from eval.data import Dataset, Say

RATE: Final = 40.0
"""Recommendations a second."""
HISTORY: Final = 10
K: Final = 10
_OVERLOAD: Final = 4.0
"""How many times the rate is asked for beyond saturation."""
_OVERLOAD_S: Final = 20.0
_RECOVERY_S: Final = 20.0
_ALONE: Final = 100
_WITH_MODEL: Final = 60
_MODEL_S: Final = 0.3
"""How long the simulated model takes over a request."""
_SAMPLE_S: Final = 5.0
_PATIENCE_S: Final = 60.0
_SOURCE, _TARGET = "films", "books"
_EVERYWHERE: Final = {"XDREC_SERVICE__WORKERS": str(os.cpu_count() or 1)}
_WITHOUT: Final = _EVERYWHERE | {"XDREC_RERANK__STRATEGY": "identity"}


def measure_service(data: Dataset, models_dir: Path, minutes: float, say: Say) -> list[Figure]:
    """Latency at the rate, memory over `minutes`, what happens beyond saturation, and the service's own overhead.

    Raises:
        BackendError: the service or the simulated model does not start.
    """
    rng = np.random.default_rng(0)
    films = [item.id for _, item in zip(range(5_000), data.store.iter_items(_SOURCE), strict=False)]
    with serving(data.home, models_dir, _WITHOUT) as server:
        figures = asyncio.run(_without_model(server, films, minutes, rng, say))
    with simulated(1, _MODEL_S, at_once=1_000) as (url,):
        model = _EVERYWHERE | {"XDREC_LLM__BASE_URL": url, "XDREC_LLM__MODEL": MODEL, "XDREC_LLM__CACHE": "off"}
        more = {"XDREC_RERANK__STRATEGY": "listwise-logprob", "XDREC_LLM__CONCURRENCY": "100"}
        with serving(data.home, models_dir, model | more) as server:
            return [*asyncio.run(_with_model(server, films, rng, say)), *figures]


async def _without_model(
    server: Server, films: list[str], minutes: float, rng: np.random.Generator, say: Say
) -> list[Figure]:
    async with LoadClient(server.url, _PATIENCE_S) as client:
        load = Load(client, films, rng)
        await load.run(np.zeros(20))
        say(f"{_ALONE} recommendations, one after the other")
        alone = await load.one_by_one(_ALONE)
        say(f"{RATE:g} recommendations a second for {minutes:g} minutes")
        sampling = asyncio.create_task(_memory(server))
        used = server.cpu_s()
        steady = await load.run(arrivals(RATE, 60 * minutes, rng))
        used = server.cpu_s() - used
        sampling.cancel()
        seconds, mib = await sampling
        say(f"{_OVERLOAD * RATE:g} a second for {_OVERLOAD_S:g} s: more than it can")
        over = await load.run(arrivals(_OVERLOAD * RATE, _OVERLOAD_S, rng))
        say(f"{RATE:g} a second again")
        after = await load.run(arrivals(RATE, _RECOVERY_S, rng))
    what = f"{RATE:g}/s Poisson, {HISTORY} liked {_SOURCE}, k={K}"
    note = f"{what}, reasons without a model; a process for each processor"
    caller = "one caller, client and network included: latency less the answer's stages"
    return [
        overhead_figure("own overhead without a model, p50", alone, caller, target=False),
        *steady_figures(steady, used, note),
        *memory_figures(seconds, mib),
        *beyond_figures(over, after, _OVERLOAD_S, _OVERLOAD * RATE, RATE),
    ]


async def _with_model(server: Server, films: list[str], rng: np.random.Generator, say: Say) -> list[Figure]:
    async with LoadClient(server.url, _PATIENCE_S) as client:
        load = Load(client, films, rng)
        await load.one_by_one(5)
        say(f"{_WITH_MODEL} recommendations with a simulated model, one after the other")
        alone = await load.one_by_one(_WITH_MODEL)
    note = f"order and {K} reasons by a simulated model that takes {_MODEL_S:g} s a request; latency less the stages"
    twice = "each reason is refused by the check once, so that it is asked for twice"
    return [
        overhead_figure("own overhead, p50", alone, note, target=True),
        figure("latency with the model, p50", alone.percentile(50), "ms", len(alone.status), twice),
        figure("answered with the model", alone.share(200), "", len(alone.status), target="1"),
    ]


def arrivals(rate: float, seconds: float, rng: np.random.Generator) -> NDArray[np.float64]:
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
        return _measured(due, await asyncio.gather(*tasks))

    async def one_by_one(self, count: int) -> Measured:
        """Send each request when the one before was answered: what a single caller sees of an idle server."""
        start, due, found = perf_counter(), [], []
        for _ in range(count):
            due.append(perf_counter() - start)
            found.append(await self._ask(start + due[-1], self._body()))
        return _measured(np.array(due), found)

    async def _ask(self, due: float, body: bytes) -> tuple[int, float, float]:
        found = await self._client.post("/v1/recommend", body)
        latency = 1000 * (perf_counter() - due)
        return found.status, latency, latency - found.stages_ms

    def _body(self) -> bytes:
        chosen = self._rng.choice(len(self._films), HISTORY, replace=False)
        likes = [{"domain": _SOURCE, "id": self._films[i]} for i in chosen]
        ask: dict[str, Any] = {"sources": [_SOURCE], "target": _TARGET, "likes": likes, "k": K}
        return json.dumps(ask).encode()


def _measured(due: NDArray[np.float64], found: list[tuple[int, float, float]]) -> Measured:
    status, latency, _ = zip(*found, strict=True)
    return Measured(due, np.array(status), np.array(latency), np.array([o for s, _, o in found if s == 200]))


async def _memory(server: Server) -> tuple[list[float], list[float]]:
    """Seconds from the start and MiB of the server, every few seconds, until cancelled."""
    start, seconds, mib = perf_counter(), [], []
    try:
        while True:
            seconds.append(perf_counter() - start)
            mib.append(server.memory_mib())
            await asyncio.sleep(_SAMPLE_S)
    except asyncio.CancelledError:
        return seconds, mib
