"""One request to the LLM, with retries and a deadline. Reads a path and a body, produces a checked reply.

Where there is a response cache it answers what was asked before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, Final, Generic, Self, TypeVar

from pydantic import BaseModel, Field, ValidationError

from xdrec_agent.errors import CacheMiss, LLMError, LLMReplyInvalid, LLMTimeout
from xdrec_agent.llm.endpoint import Endpoint
from xdrec_agent.llm.replicas import Replica, Replicas
from xdrec_agent.llm.response_cache import Origin, ResponseCache, key_of
from xdrec_agent.settings import LLMSettings

if TYPE_CHECKING:
    import httpx2
    from tenacity import AsyncRetrying, RetryCallState

T = TypeVar("T")
Logprob = Annotated[float, Field(allow_inf_nan=False, ge=-1e5, le=1e-3)]
"""A natural-log probability; rounding may lift it a little above zero, and vLLM writes -9999 for none at all."""

_LARGE: Final = 2**16
"""Bytes of a reply from which on it is parsed in a thread: others must not wait for it."""


class TokenLogprob(BaseModel):
    """A token and its log-probability."""

    token: str
    logprob: Logprob


class PositionLogprobs(TokenLogprob):
    """The token that was chosen at a position, and those that were reported beside it."""

    top_logprobs: tuple[TokenLogprob, ...] = ()


class ChoiceLogprobs(BaseModel):
    """The log-probabilities of a choice, a position after the other."""

    content: tuple[PositionLogprobs, ...] | None = None


class ReplyMessage(BaseModel):
    """What the model said; None if it said nothing."""

    content: str | None = None


class Choice(BaseModel):
    """One answer. `finish_reason` is "length" if it was cut off at `max_tokens`."""

    message: ReplyMessage
    finish_reason: str | None = None
    logprobs: ChoiceLogprobs | None = None


class PromptDetails(BaseModel):
    """How many of the prompt's tokens came from the prefix cache."""

    cached_tokens: int | None = None


class TokenCounts(BaseModel):
    """Tokens of one request."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: PromptDetails | None = None


class ChatCompletion(BaseModel):
    """The part of a chat completion that is used; anything else is ignored, anything missing refused."""

    model: str
    choices: Annotated[tuple[Choice, ...], Field(min_length=1)]
    usage: TokenCounts | None = None


@dataclass(frozen=True)
class Answer(Generic[T]):
    """A parsed reply and how many requests it took; none if it came from the response cache."""

    reply: T
    requests: int


@dataclass(frozen=True)
class _Request(Generic[T]):
    method: str
    path: str
    body: Mapping[str, Any] | None
    parse: Callable[[bytes], T]


class Wire:
    """Sends requests to one endpoint, `concurrency` at a time to each of its servers; an async context manager.

    A call's deadline starts when its turn has come and covers all its attempts and the pauses between them. An attempt
    that failed is made again at another server where there is one.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        settings: LLMSettings,
        *,
        cache: ResponseCache | None = None,
        http_client: httpx2.AsyncClient | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.endpoint = endpoint
        self.cache = cache
        self._settings = settings
        self._http_client = http_client
        self._sleep = sleep
        self._turn = asyncio.Semaphore(settings.concurrency * len(endpoint.base_urls))
        self._replicas: Replicas | None = None

    async def __aenter__(self) -> Self:
        if self.cache is not None and self.cache.only:
            return self
        import openai

        clients = [
            openai.AsyncOpenAI(
                base_url=base_url,
                api_key=self.endpoint.key or "none",
                organization="",
                project="",
                max_retries=0,
                timeout=self._settings.timeout_s,
                http_client=self._http_client or _http_client(self.endpoint, base_url, self._settings),
            )
            for base_url in self.endpoint.base_urls
        ]
        recovery_s = self._settings.recovery_s
        self._replicas = Replicas(
            [Replica(url, client, recovery_s) for url, client in zip(self.endpoint.base_urls, clients, strict=True)]
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        for replica in self._replicas.all if self._replicas else ():
            await replica.client.close()

    async def post(
        self, path: str, body: Mapping[str, Any], parse: Callable[[bytes], T], origin: Origin | None = None
    ) -> Answer[T]:
        """Send a body and parse the reply.

        Args:
            path: relative to the base URL, or to the server's root if it begins with a slash.
            parse: raises pydantic's ValidationError or `LLMReplyInvalid` for a reply that is not as promised: a failed
                attempt.
            origin: what is asked for whom; None: the reply is neither kept nor taken from the response cache.

        Raises:
            LLMError: all attempts failed; the error is that of the last one.
            CacheMiss: nothing but the cache may answer.
        """
        key = key_of(self.endpoint.model, origin, path, body) if self.cache is not None and origin else ""
        kept = self.cache.get(key) if self.cache is not None and key else None
        if kept is not None:
            # What does not parse was kept by another version: asked again.
            with suppress(ValidationError, LLMReplyInvalid):
                return Answer(parse(kept), 0)
        content, answer = await self._call(_Request("POST", path, body, parse))
        if self.cache is not None and origin:
            self.cache.put(key, content, origin.user)
        return answer

    async def get(self, path: str, parse: Callable[[bytes], T]) -> T:
        """As `post`, without a body or a cache; returns the parsed reply."""
        return (await self._call(_Request("GET", path, None, parse)))[1].reply

    async def _call(self, request: _Request[T]) -> tuple[bytes, Answer[T]]:
        if self.cache is not None and self.cache.only:
            raise CacheMiss(
                f"the response cache {self.cache.folder} lacks a reply of {self.endpoint.model}",
                hint="run it once with llm.cache = on and a server",
            )
        attempts = _retrying(self._settings, self._sleep)
        tried: set[Replica] = set()
        async with self._turn:
            deadline = asyncio.get_running_loop().time() + self._settings.timeout_s
            made: tuple[bytes, T] = await attempts(self._attempt, request, tried, deadline)
        content, reply = made
        return content, Answer(reply, attempts.statistics["attempt_number"])

    async def _attempt(self, request: _Request[T], tried: set[Replica], deadline: float) -> tuple[bytes, T]:
        if self._replicas is None:
            msg = "the client must be entered first: `async with`"
            raise RuntimeError(msg)
        with self._replicas.one(tried) as replica:
            tried.add(replica)
            try:
                async with asyncio.timeout_at(deadline):
                    content = await _send(replica, request)
                    if len(content) < _LARGE:
                        return content, request.parse(content)
                    return content, await asyncio.to_thread(request.parse, content)
            except TimeoutError as exc:
                raise LLMTimeout(
                    f"{replica.base_url}: no answer within {self._settings.timeout_s:g} s",
                    hint="raise llm.timeout_s, or xdrec llm status",
                ) from exc
            except ValidationError as exc:
                first = exc.errors(include_url=False, include_input=False)[0]
                place = ".".join(map(str, first["loc"]))
                raise LLMReplyInvalid(
                    f"{replica.base_url} sent a malformed reply: {place} {first['msg']}",
                    hint="xdrec llm status",
                ) from exc


async def _send(replica: Replica, request: _Request[T]) -> bytes:
    import httpx2

    from xdrec_agent.llm.translation import FOREIGN, translate

    # Paths from the root are vLLM's own routes, beside the OpenAI-compatible ones under /v1.
    root = replica.base_url.rstrip("/").removesuffix("/v1")
    url = root + request.path if request.path.startswith("/") else request.path
    try:
        if request.method == "GET":
            response = await replica.client.get(url, cast_to=httpx2.Response)
        else:
            response = await replica.client.post(url, cast_to=httpx2.Response, body=request.body)
    except FOREIGN as exc:
        raise translate(exc, replica.base_url) from exc
    return bytes(response.content)


def _http_client(endpoint: Endpoint, base_url: str, settings: LLMSettings) -> httpx2.AsyncClient:
    import httpx2

    from xdrec_agent.llm.bounded import bound

    return httpx2.AsyncClient(
        auth=endpoint.passwords.get(base_url),
        headers={"accept-encoding": "gzip"},
        event_hooks={"response": [bound]},
        # A proxy is for other machines, and a redirect could carry a history to one that nobody allowed.
        trust_env=not endpoint.loopback,
        follow_redirects=False,
        timeout=settings.timeout_s,
        limits=httpx2.Limits(max_connections=settings.concurrency),
    )


def _retrying(settings: LLMSettings, sleep: Callable[[float], Awaitable[None]]) -> AsyncRetrying:
    """Repeats what may succeed the next time, after a growing pause or the one that the endpoint asks for."""
    from tenacity import (
        AsyncRetrying,
        retry_if_exception,
        stop_after_attempt,
        stop_before_delay,
        wait_exponential,
        wait_random,
    )

    from xdrec_agent.llm.translation import retry_after

    backoff = wait_exponential(multiplier=0.25, max=8) + wait_random(0, 0.25)

    def pause(state: RetryCallState) -> float:
        asked = retry_after(state.outcome.exception()) if state.outcome else 0.0
        return max(asked, backoff(state))

    return AsyncRetrying(
        sleep=sleep,
        retry=retry_if_exception(lambda exc: isinstance(exc, LLMError) and exc.retryable),
        wait=pause,
        stop=stop_after_attempt(settings.attempts) | stop_before_delay(settings.timeout_s),
        reraise=True,
    )
