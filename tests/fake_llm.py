"""A scriptable LLM at the HTTP transport. Reads requests, produces what vLLM or a plain endpoint would reply.

`FakeLLM().http_client()` goes into `LLMClient(…, http_client=…)`. Chat requests first use up the behaviours that were
queued with `then`, then they are answered properly; every chat request is kept in `calls`.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import httpx2

from xdrec_agent.llm import Endpoint

Body = Mapping[str, Any]
Behaviour = Callable[["FakeLLM", Body], httpx2.Response | Awaitable[httpx2.Response]]

BASE_URL = "http://127.0.0.1:9/v1"
SPECIFIC_TO_VLLM = {
    "continue_final_message",
    "add_generation_prompt",
    "logprob_token_ids",
    "return_tokens_as_token_ids",
}


WORDS = {"Yes": 0xE000, "No": 0xE001}
"""Words that are one token, all else is a token a character."""


def uniform(body: Body) -> Mapping[str, float]:
    """Every capital letter equally likely."""
    return {chr(code): -3.3 for code in range(ord("A"), ord("Z") + 1)}


def undecided(body: Body) -> Sequence[float]:
    """Every item as likely as not."""
    return [0.5] * len(body["items"])


class FakeLLM:
    """Its tokenizer makes every character a token. `vllm=False` imitates an endpoint with OpenAI's own options only.

    `labels` gives the natural-log probabilities of next tokens, `text` the answer, `scores` those of
    /generative_scoring, all as functions of the request.
    """

    def __init__(
        self,
        *,
        model: str = "fake",
        labels: Callable[[Body], Mapping[str, float]] = uniform,
        text: Callable[[Body], str] = lambda body: "Hello there",
        scores: Callable[[Body], Sequence[float]] = undecided,
        vllm: bool = True,
    ) -> None:
        self.model = model
        self.labels = labels
        self.text = text
        self.scores = scores
        self.vllm = vllm
        self.calls: list[Body] = []
        self.paths: list[str] = []
        self.headers: list[httpx2.Headers] = []
        self._queue: deque[Behaviour] = deque()

    def then(self, *behaviours: Behaviour) -> None:
        """What the next chat requests meet, one behaviour each."""
        self._queue.extend(behaviours)

    def endpoint(self, **changes: Any) -> Endpoint:
        """The endpoint that this stands for."""
        values = {"base_url": BASE_URL, "key": "secret", "model": self.model, "managed": self.vllm}
        return Endpoint(**(values | changes))

    def http_client(self) -> httpx2.AsyncClient:
        """A client whose requests all come here."""
        return httpx2.AsyncClient(transport=httpx2.MockTransport(self.handle))

    async def handle(self, request: httpx2.Request) -> httpx2.Response:
        """Answer one request."""
        path = request.url.path
        self.paths.append(path)
        self.headers.append(request.headers)
        body = json.loads(request.content) if request.content else {}
        if path == "/v1/chat/completions":
            self.calls.append(body)
            reply = (self._queue.popleft() if self._queue else answer)(self, body)
            return reply if isinstance(reply, httpx2.Response) else await reply
        if path == "/v1/models":
            return httpx2.Response(200, json={"data": [{"id": self.model, "max_model_len": 4096}]})
        if self.vllm and path in ROUTES:
            return httpx2.Response(200, content=json.dumps(ROUTES[path](self, body)))
        return refusal(404, "no such route")


def tokens(body: Body) -> list[int]:
    """The prompt of a chat, a token a character."""
    turns = [f"<{m['role'][0]}>{m['content']}" for m in body["messages"]]
    prompt = "</>".join(turns)
    if not body.get("continue_final_message"):
        prompt += "</><a>"
    return [token(part) for part in re.split(f"({'|'.join(WORDS)}|.)", prompt, flags=re.S) if part]


def token(text: str) -> int:
    """The id of a single token."""
    return WORDS[text] if text in WORDS else ord(text)


def word(token_id: int) -> str:
    """The text of a token."""
    return next((text for text, known in WORDS.items() if known == token_id), chr(token_id))


def scored(fake: FakeLLM, body: Body) -> dict[str, Any]:
    """vLLM's reply to /generative_scoring."""
    data = [{"index": index, "score": score} for index, score in enumerate(fake.scores(body))]
    return {"model": fake.model, "data": data}


ROUTES: Mapping[str, Callable[[FakeLLM, Body], dict[str, Any]]] = {
    "/version": lambda fake, body: {"version": "0.32.0"},
    "/tokenize": lambda fake, body: {"tokens": tokens(body)},
    "/detokenize": lambda fake, body: {"prompt": "".join(map(word, body["tokens"]))},
    "/generative_scoring": scored,
}
"""vLLM's own routes."""


def refusal(status: int, message: str, headers: Mapping[str, str] | None = None) -> httpx2.Response:
    """An error in OpenAI's form."""
    return httpx2.Response(status, json={"error": {"message": message}}, headers=dict(headers or {}))


def answer(fake: FakeLLM, body: Body) -> httpx2.Response:
    """The proper reply."""
    if not fake.vllm and SPECIFIC_TO_VLLM & body.keys():
        return refusal(400, "unknown option")
    if body["model"] != fake.model:
        return refusal(404, f"the model {body['model']} does not exist")
    if body.get("top_logprobs", 0) > 20:
        return refusal(400, "top_logprobs is at most 20")
    return httpx2.Response(200, json=completion(fake, body))


def completion(fake: FakeLLM, body: Body) -> dict[str, Any]:
    """The body of the proper reply; behaviours spoil copies of it."""
    text = fake.text(body)
    if "response_format" in body and text == "Hello there":
        text = '{"ok": true}'
    choice: dict[str, Any] = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": "stop",
    }
    if body.get("logprobs"):
        choice["logprobs"] = {"content": [_position(fake, body)]}
    prompt = len(tokens(body))
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": 1 if body["max_tokens"] == 1 else len(text),
        "prompt_tokens_details": {"cached_tokens": prompt // 2},
    }
    return {"model": fake.model, "choices": [choice], "usage": usage}


def _position(fake: FakeLLM, body: Body) -> dict[str, Any]:
    likely = dict(sorted(fake.labels(body).items(), key=lambda pair: -pair[1]))
    if named := body.get("logprob_token_ids"):
        wanted = {f"token_id:{token_id}": likely.get(word(token_id), -20.0) for token_id in named}
    else:
        wanted = dict(list(likely.items())[: body.get("top_logprobs", 0)])
    first = next(iter(likely))
    chosen = f"token_id:{token(first)}" if body.get("return_tokens_as_token_ids") else first
    top = [{"token": name, "logprob": logprob} for name, logprob in wanted.items()]
    return {"token": chosen, "logprob": likely[first], "top_logprobs": top}


def status(code: int, **headers: str) -> Behaviour:
    """An error status; `retry_after="2"` becomes the header Retry-After."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda fake, body: refusal(code, "scripted", named)


def says(content: str | bytes) -> Behaviour:
    """A body that is no chat completion."""
    return lambda fake, body: httpx2.Response(200, content=content, headers={"content-type": "application/json"})


def spoiled(spoil: Callable[[dict[str, Any]], object]) -> Behaviour:
    """The proper reply after `spoil` has changed it in place; numbers may become NaN."""

    def behave(fake: FakeLLM, body: Body) -> httpx2.Response:
        reply = completion(fake, body)
        spoil(reply)
        return httpx2.Response(200, content=json.dumps(reply))

    return behave


def truncated(fake: FakeLLM, body: Body) -> httpx2.Response:
    """The first half of the proper reply."""
    text = json.dumps(completion(fake, body))
    return httpx2.Response(200, text=text[: len(text) // 2], headers={"content-type": "application/json"})


def without_logprobs(fake: FakeLLM, body: Body) -> httpx2.Response:
    """The proper reply to a request that had not asked for log-probabilities."""
    return httpx2.Response(200, json=completion(fake, {**body, "logprobs": False}))


def of_model(name: str) -> Behaviour:
    """The proper reply of another model."""
    return spoiled(lambda reply: reply.update(model=name))


def raises(error: Exception) -> Behaviour:
    """The transport fails: `raises(httpx2.ConnectError("refused"))`, `raises(httpx2.ReadError("reset"))`."""

    def behave(fake: FakeLLM, body: Body) -> httpx2.Response:
        raise error

    return behave


class Hangs:
    """Never answers; `begun` is set when a request waits, `cancelled` when it was given up."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def __call__(self, fake: FakeLLM, body: Body) -> httpx2.Response:
        """Wait until cancelled."""
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()
        raise AssertionError
