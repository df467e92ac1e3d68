"""A language model of set latency, in a process of its own. Reads requests, produces log-probabilities and a reason.

It answers as an endpoint with OpenAI's own options does; what only vLLM knows is refused. So many requests at a time
are worked for, each for so long; the others wait their turn, as at a real server. Nothing else costs time.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
import string
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Final

from retrieval.errors import BackendError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

MODEL: Final = "simulated"
_START_S: Final = 60.0
_KNOWN: Final = {
    "model",
    "messages",
    "max_tokens",
    "temperature",
    "logprobs",
    "top_logprobs",
    "seed",
    "response_format",
}
_REASON: Final = '{"facts": ["F1"], "text": "It is like something that you liked."}'


@contextmanager
def simulated(count: int, latency_s: float, at_once: int) -> Iterator[tuple[str, ...]]:
    """The base URLs of `count` servers on this machine; each is a process, ended at the end.

    Raises:
        BackendError: one does not start.
    """
    # A process that is started anew takes no locks and threads of ours along.
    context = multiprocessing.get_context("spawn")
    processes = []
    try:
        urls = []
        for _ in range(count):
            here, there = context.Pipe(duplex=False)
            process = context.Process(target=_serve, args=(there, latency_s, at_once), daemon=True)
            process.start()
            processes.append(process)
            if not here.poll(_START_S):
                raise BackendError("a simulated server does not start", hint="pip install 'xdrec[service]'")
            urls.append(f"http://127.0.0.1:{here.recv()}/v1")
        yield tuple(urls)
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _serve(told: Connection, latency_s: float, at_once: int) -> None:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    turn = asyncio.Semaphore(at_once)

    async def chat(request: Request) -> Response:
        body = await request.json()
        if unknown := body.keys() - _KNOWN:
            return JSONResponse({"error": {"message": f"unknown: {', '.join(sorted(unknown))}"}}, 400)
        async with turn:
            await asyncio.sleep(latency_s)
        prompt = sum(len(message["content"]) for message in body["messages"]) // 4
        return JSONResponse(_reply(body.get("top_logprobs", 0), prompt, "response_format" in body))

    async def models(_request: Request) -> Response:
        return JSONResponse({"data": [{"id": MODEL}]})

    routes = [
        Route("/v1/chat/completions", chat, methods=["POST"]),
        Route("/v1/models", models),
    ]
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    told.send(listener.getsockname()[1])
    config = uvicorn.Config(Starlette(routes=routes), log_config=None, access_log=False)
    uvicorn.Server(config).run([listener])


def _reply(top: int, prompt: int, reason: bool) -> dict[str, object]:
    likely = [{"token": label, "logprob": -0.1 * n - 2.0} for n, label in enumerate(string.ascii_uppercase[:top])]
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": _REASON if reason else "A"},
        "finish_reason": "stop",
        "logprobs": {"content": [{"token": "A", "logprob": -2.0, "top_logprobs": likely}]},
    }
    usage = {"prompt_tokens": prompt, "completion_tokens": 1}
    return {"model": MODEL, "choices": [choice], "usage": usage}
