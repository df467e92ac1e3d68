"""What a reranking costs. Reads tasks, produces latency, throughput, tokens and our own share of the time.

Users are sorted by the length of their prompt and dealt to the parts like cards, so that every part has users alike and
none has a prompt that the server has seen.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Final

import httpx2
import numpy as np

from benchmarks.figures import Figure, figure
from eval.data import RerankTask, Say
from eval.systems import CONCURRENT_USERS, JudgedTask, judge_tasks
from xdrec_agent.llm import NO, YES, Endpoint, LLMClient
from xdrec_agent.rerank import LABELS, RerankContext, list_prompt
from xdrec_agent.settings import LLMSettings

_LISTWISE, _POINTWISE, _GENERATE = "listwise-logprob", "pointwise-logprob", "listwise-generate"
_OVERHEAD: Final = "listwise-logprob, one shuffle, after a first user: everything but waiting for the server"


@dataclass
class _Timed(httpx2.AsyncBaseTransport):
    """Counts the seconds that requests spend on the way and at the server, and keeps the chat requests."""

    inner: httpx2.AsyncBaseTransport
    seconds: float = 0.0
    chats: list[tuple[str, bytes]] = field(default_factory=list)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        began = perf_counter()
        response = await self.inner.handle_async_request(request)
        content = await response.aread()
        await response.aclose()
        self.seconds += perf_counter() - began
        if request.url.path.endswith("/chat/completions"):
            self.chats.append((str(request.url), request.content))
        return httpx2.Response(response.status_code, headers=response.headers, content=content, request=request)

    async def aclose(self) -> None:
        await self.inner.aclose()


@dataclass(frozen=True)
class _Costs:
    """One strategy, measured."""

    latency: float
    users_per_s: float


async def cost_figures(
    context: RerankContext,
    llm: LLMSettings,
    judges: Sequence[str],
    tasks: Sequence[RerankTask],
    latency: int,
    saturation: int,
    say: Say,
) -> list[Figure]:
    """Cost of these judges with the context's templates and endpoint, live: the response cache is not used.

    Args:
        tasks: at least 3 · (latency + saturation + 1).
    """
    transport = _Timed(httpx2.AsyncHTTPTransport(limits=httpx2.Limits(max_connections=CONCURRENT_USERS)))
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx2.AsyncClient(transport=transport, timeout=llm.timeout_s))
        client = await stack.enter_async_context(LLMClient(context.model.endpoint, llm, http_client=http))
        live = replace(context, client=client)
        await client.label_ids((*LABELS, YES, NO))
        parts = _dealt(live, judges, tasks, latency, saturation + 1)
        figures, costs = [], {}
        for judge in judges:
            first, *rest = parts[judge, saturation + 1]
            await judge_tasks(live, [judge], [first], 1, say)  # loads what all others find loaded
            transport.seconds, transport.chats = 0.0, []
            alone = (await judge_tasks(live, [judge], parts[judge, latency], 1, say))[judge]
            inside = transport.seconds
            transport.chats = []
            began = perf_counter()
            many = (await judge_tasks(live, [judge], rest, CONCURRENT_USERS, say))[judge]
            seconds = perf_counter() - began
            costs[judge] = _Costs(float(np.median([j.seconds for j in alone])), len(many) / seconds)
            figures += _measured(judge, costs[judge], alone, many)
            if judge == _LISTWISE:
                own = 1000 * (sum(j.seconds for j in alone) - inside) / len(alone)
                figures.append(figure("own overhead a user", own, "ms", len(alone), _OVERHEAD, "< 5"))
                raw = await _raw(transport.chats, client.endpoint, llm.timeout_s)
                share, note = (
                    costs[judge].users_per_s / raw,
                    f"the same bodies by a bare HTTP client: {raw:.2f} users/s",
                )
                figures.append(figure("throughput beside bare requests", share, "share", len(many), note, ">= .9"))
    return [*figures, *_ratios(costs, latency, saturation)]


def _dealt(
    context: RerankContext, judges: Sequence[str], tasks: Sequence[RerankTask], latency: int, saturation: int
) -> Mapping[tuple[str, int], Sequence[RerankTask]]:
    """The users of each part, by judge and number."""

    def length(task: RerankTask) -> int:
        items = [c.item for c in task.ranking.candidates]
        return sum(len(m["content"]) for m in list_prompt(context, task.query, items))

    # Evenly spread over all lengths, so that the parts are alike.
    by_length = sorted(tasks, key=length)
    spread = np.linspace(0, len(tasks) - 1, (latency + saturation) * len(judges)).astype(int)
    chosen = [by_length[at] for at in spread]
    few_at = set(np.linspace(0, len(chosen) - 1, latency * len(judges)).astype(int).tolist())
    few = [task for at, task in enumerate(chosen) if at in few_at]
    many = [task for at, task in enumerate(chosen) if at not in few_at]
    return {
        (judge, size): pool[at :: len(judges)]
        for at, judge in enumerate(judges)
        for size, pool in ((latency, few), (saturation, many))
    }


def _measured(judge: str, costs: _Costs, alone: Sequence[JudgedTask], many: Sequence[JudgedTask]) -> list[Figure]:
    usage = [j.judgement.usage for j in many if j.judgement is not None]
    tokens = {
        "prompt": [u.prompt_tokens for u in usage],
        "cached": [u.cached_tokens for u in usage],
        "generated": [u.completion_tokens for u in usage],
    }
    degraded = sum(j.judgement is None for j in (*alone, *many)) / (len(alone) + len(many))
    per_user = ", ".join(f"{np.mean(v):.0f} {name}" for name, v in tokens.items() if v)
    return [
        figure(f"{judge}, latency of one user", costs.latency, "s", len(alone), "median"),
        figure(f"{judge}, at saturation", costs.users_per_s, "users/s", len(many), f"tokens a user: {per_user}"),
        figure(f"{judge}, degraded when measured", degraded, "share", len(alone) + len(many)),
    ]


async def _raw(chats: Sequence[tuple[str, bytes]], endpoint: Endpoint, timeout_s: float) -> float:
    """Requests a second of the same bodies sent by a bare HTTP client; salted, so that no prefix is known."""
    bodies = [(url, json.dumps(json.loads(body) | {"cache_salt": "raw"}).encode()) for url, body in chats]
    headers = {"authorization": f"Bearer {endpoint.key}", "content-type": "application/json"}
    turn = asyncio.Semaphore(CONCURRENT_USERS)
    async with httpx2.AsyncClient(timeout=timeout_s, headers=headers) as client:

        async def send(url: str, body: bytes) -> None:
            async with turn:
                (await client.post(url, content=body)).raise_for_status()

        began = perf_counter()
        async with asyncio.TaskGroup() as group:
            for url, body in bodies:
                group.create_task(send(url, body))
    return len(bodies) / (perf_counter() - began)


def _ratios(costs: Mapping[str, _Costs], latency: int, saturation: int) -> Iterator[Figure]:
    """The judges beside each other, as far as they were measured."""
    listwise, pointwise, generate = (costs.get(judge) for judge in (_LISTWISE, _POINTWISE, _GENERATE))
    if listwise and generate:
        slower, third = listwise.latency / generate.latency, "<= 1/3, aim 1/5"
        name = "latency, listwise-logprob / generate"
        yield figure(name, slower, n=latency, target=third, met=slower <= 1 / 3)
        more = listwise.users_per_s / generate.users_per_s
        yield figure("throughput, listwise-logprob / generate", more, n=saturation, target=">= 1.5")
    if listwise and pointwise:
        dearer = listwise.users_per_s / pointwise.users_per_s
        note = f"at saturation; of one user {pointwise.latency / listwise.latency:.2f}"
        yield figure("cost, pointwise / one shuffle", dearer, "", saturation, note, "<= 1.5")
