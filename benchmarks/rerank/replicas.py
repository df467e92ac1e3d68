"""What several servers of one model give together. Reads a latency, produces figures: throughput by number of servers.

The servers are simulated (`benchmarks.service.simulated_llm`), the client is the real one with several base URLs. What
is measured is whether the client keeps all servers busy; `python -m benchmarks rerank` measures a real server.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from time import perf_counter
from typing import Final

from benchmarks.figures import Figure, figure
from benchmarks.service.simulated_llm import MODEL, simulated
from eval.data import Say
from xdrec_agent.llm import Endpoint, LLMClient, gathered
from xdrec_agent.settings import LLMSettings

REPLICAS: Final = (1, 2, 4)
LINEAR: Final = 0.9
"""Least share of linear growth."""
_LABELS: Final = tuple(string.ascii_uppercase[:20])


@dataclass(frozen=True)
class Load:
    """How long a request takes, how many a server works for at a time, and how often each of its places is filled."""

    latency_s: float = 0.5
    at_once: int = 4
    rounds: int = 40


async def bench_replicas(load: Load, say: Say) -> list[Figure]:
    """Requests a second of 1, 2 and 4 servers, and which share of linear that is.

    Raises:
        BackendError: a server does not start.
        LLMError: a server fails.
    """
    figures: list[Figure] = []
    one = 0.0
    for count in REPLICAS:
        n = count * load.at_once * load.rounds
        rate = await _rate(load, count, n)
        one = one or rate
        most = count * load.at_once / load.latency_s
        say(f"{count} servers: {rate:.1f} requests/s of at most {most:.0f}")
        note = f"at most {most:.0f}: {count} x {load.at_once} at a time, {load.latency_s:g} s each"
        figures.append(figure(f"{count} servers", rate, "requests/s", n, note))
        if count > 1:
            share = rate / (count * one)
            figures.append(figure(f"{count} servers, share of linear", share, n=n, target=f">= {LINEAR}"))
    return figures


async def _rate(load: Load, servers: int, requests: int) -> float:
    settings = LLMSettings(model=MODEL, concurrency=load.at_once)
    with simulated(servers, load.latency_s, load.at_once) as urls:
        endpoint = Endpoint(base_url=",".join(urls), model=MODEL, managed=False)
        async with LLMClient(endpoint, settings) as client:
            await client.capabilities()  # asked once, before the clock runs
            calls = (client.label_logprobs(_prompt(n), _LABELS) for n in range(requests))
            start = perf_counter()
            await gathered(calls)
            return requests / (perf_counter() - start)


def _prompt(n: int) -> list[dict[str, str]]:
    """As long as a list of 20 candidates is."""
    books = "\n".join(f"[{label}] The book {label}{n} by somebody, fiction, mystery, 1987" for label in _LABELS)
    return [{"role": "user", "content": f"A reader liked the films 1 to 10.\n{books}\nWhich book fits best?"}]
