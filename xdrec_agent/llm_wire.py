"""One request to the LLM, with retries and a deadline. Reads a path and a body, produces a checked reply."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeVar

import httpx2
from pydantic import BaseModel, Field, ValidationError
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    stop_before_delay,
    wait_exponential,
    wait_random,
)

from xdrec_agent.endpoint import Endpoint
from xdrec_agent.errors import LLMError, LLMReplyInvalid, LLMTimeout
from xdrec_agent.settings import LLMSettings

if TYPE_CHECKING:
    import openai

T = TypeVar("T")
Logprob = Annotated[float, Field(allow_inf_nan=False, le=1e-3)]
"""A log-probability; rounding may lift it a little above zero."""

_backoff = wait_exponential(multiplier=0.25, max=8) + wait_random(0, 0.25)


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


class Wire:
    """Sends requests to one endpoint, `concurrency` at a time; an async context manager.

    A call's deadline starts when its turn has come and covers all its attempts and the pauses between them.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        settings: LLMSettings,
        http_client: httpx2.AsyncClient | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.endpoint = endpoint
        self._settings = settings
        self._http_client = http_client
        self._sleep = sleep
        self._turn = asyncio.Semaphore(settings.concurrency)
        self._openai: openai.AsyncOpenAI | None = None

    async def __aenter__(self) -> Self:
        import openai

        self._openai = openai.AsyncOpenAI(
            base_url=self.endpoint.base_url,
            api_key=self.endpoint.key or "none",
            organization="",
            project="",
            max_retries=0,
            timeout=self._settings.timeout_s,
            http_client=self._http_client or _http_client(self.endpoint, self._settings),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._openai is not None:
            await self._openai.close()

    async def post(self, path: str, body: Mapping[str, Any], parse: Callable[[bytes], T]) -> tuple[T, int]:
        """Send a body and parse the reply; returns it with the number of requests that were needed.

        `path` is relative to the base URL, or to the server's root if it begins with a slash. `parse` raises
        pydantic's ValidationError or `LLMReplyInvalid` for a reply that is not as promised: a failed attempt.

        Raises:
            LLMError: all attempts failed; the error is that of the last one.
        """
        return await self._call("POST", path, body, parse)

    async def get(self, path: str, parse: Callable[[bytes], T]) -> T:
        """As `post`, without a body; returns the parsed reply."""
        return (await self._call("GET", path, None, parse))[0]

    async def _call(
        self, method: str, path: str, body: Mapping[str, Any] | None, parse: Callable[[bytes], T]
    ) -> tuple[T, int]:
        deadline = self._settings.timeout_s
        attempts = AsyncRetrying(
            sleep=self._sleep,
            retry=retry_if_exception(lambda exc: isinstance(exc, LLMError) and exc.retryable),
            wait=_pause,
            stop=stop_after_attempt(self._settings.attempts) | stop_before_delay(deadline),
            reraise=True,
        )
        async with self._turn:
            try:
                async with asyncio.timeout(deadline):
                    reply: T = await attempts(self._attempt, method, path, body, parse)
            except TimeoutError as exc:
                raise LLMTimeout(
                    f"{self.endpoint.base_url}: no answer within {deadline:g} s",
                    hint="raise llm.timeout_s, or xdrec llm status",
                ) from exc
        return reply, attempts.statistics["attempt_number"]

    async def _attempt(self, method: str, path: str, body: Mapping[str, Any] | None, parse: Callable[[bytes], T]) -> T:
        from xdrec_agent.llm_errors import FOREIGN, translate

        if self._openai is None:
            msg = "the client must be entered first: `async with`"
            raise RuntimeError(msg)
        url = self.endpoint.root_url + path if path.startswith("/") else path
        try:
            if method == "GET":
                response = await self._openai.get(url, cast_to=httpx2.Response)
            else:
                response = await self._openai.post(url, cast_to=httpx2.Response, body=body)
        except FOREIGN as exc:
            raise translate(exc, self.endpoint.base_url) from exc
        try:
            return parse(response.content)
        except ValidationError as exc:
            first = exc.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise LLMReplyInvalid(
                f"{self.endpoint.base_url} sent a malformed reply: {place} {first['msg']}",
                hint="xdrec llm status",
            ) from exc


def _http_client(endpoint: Endpoint, settings: LLMSettings) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        # A proxy is for other machines, and a redirect could carry a history to one that nobody allowed.
        trust_env=not endpoint.loopback,
        follow_redirects=False,
        timeout=settings.timeout_s,
        limits=httpx2.Limits(max_connections=settings.concurrency),
    )


def _pause(state: RetryCallState) -> float:
    from xdrec_agent.llm_errors import retry_after

    asked = retry_after(state.outcome.exception()) if state.outcome else 0.0
    return max(asked, _backoff(state))
