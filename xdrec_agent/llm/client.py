"""Asking the LLM. Reads messages, produces text, a validated object, or the log-probabilities of labels."""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from pydantic import BaseModel, ValidationError

from retrieval.types import Frozen
from xdrec_agent.errors import LLMRefused, LLMReplyInvalid
from xdrec_agent.llm.endpoint import Capabilities, Endpoint, Notes, load_notes, read_notes, save_notes
from xdrec_agent.llm.label_tokens import label_ids
from xdrec_agent.llm.probe import probe
from xdrec_agent.llm.response_cache import Origin, ResponseCache
from xdrec_agent.llm.transport import ChatCompletion, Choice, TokenCounts, Wire
from xdrec_agent.settings import LLMSettings

if TYPE_CHECKING:
    import httpx2

Messages = Sequence[Mapping[str, str]]
M = TypeVar("M", bound=BaseModel)
R = TypeVar("R")


class Usage(Frozen):
    """What calls have cost; add them up with `+`.

    `requests` counts every attempt, `retries` those after the first, `cache_hits` the calls that the response cache
    answered without a request. Tokens are those of the replies, a kept one's too: a comparison of costs is the same
    when it is replayed. `cached_tokens` are the prompt tokens that the server's prefix cache saved. `seconds` is the
    time from asking to the answer, waiting for a turn included.
    """

    requests: int = 0
    cache_hits: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    retries: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(**{name: getattr(self, name) + getattr(other, name) for name in Usage.model_fields})


class Reply(Frozen):
    """What the model wrote (without the prefix it was given) and what it cost.

    `complete` is False if it was cut off at `max_tokens`.
    """

    text: str
    usage: Usage
    complete: bool = True


class LLMClient:
    """A client of one endpoint; an async context manager, for one event loop.

    Every method raises an `LLMError` for what the endpoint does wrong: `LLMUnreachable`, `LLMTimeout`,
    `LLMOverloaded` and `LLMReplyInvalid` after `attempts` tries or when the deadline `timeout_s` is over,
    `LLMRefused` at once, and `LLMLeftOut` if all servers failed too often a moment ago. Cancelling a call cancels its
    request. A call with an `origin` may be answered by the response cache; where only that may answer a miss is a
    `CacheMiss`.
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
        self.wire = Wire(endpoint, settings, cache=cache, http_client=http_client, sleep=sleep)
        self._notes: Notes | None = None
        self._learning = asyncio.Lock()

    async def __aenter__(self) -> Self:
        await self.wire.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.wire.__aexit__(kind, exc, trace)

    async def capabilities(self) -> Capabilities:
        """What the endpoint can do: from the home folder if it was asked before, else asked now and kept."""
        async with self._learning:
            return (await self._known()).capabilities

    async def chat(
        self,
        messages: Messages,
        *,
        max_tokens: int,
        temperature: float = 0.0,
        seed: int | None = None,
        json_schema: type[BaseModel] | None = None,
        origin: Origin | None = None,
    ) -> Reply:
        """Have the model answer."""
        body = self._body(messages, max_tokens, temperature, seed)
        if json_schema is not None:
            body["response_format"] = _response_format(json_schema)
        again_the_same = temperature == 0 or seed is not None
        choice, usage = await self._complete(body, _only_choice, origin if again_the_same else None)
        text = choice.message.content or ""
        return Reply(text=text, usage=usage, complete=choice.finish_reason != "length")

    async def structured(
        self, messages: Messages, schema: type[M], *, max_tokens: int, origin: Origin | None = None
    ) -> tuple[M, Usage]:
        """Have the model answer with an object of this type.

        Raises:
            LLMReplyInvalid: the answer was cut off at `max_tokens` or is no such object. Not tried again: at
                temperature 0 the model would say the same.
        """
        reply = await self.chat(messages, max_tokens=max_tokens, json_schema=schema, origin=origin)
        if not reply.complete:
            raise LLMReplyInvalid(f"the {schema.__name__} was cut off after {max_tokens} tokens")
        try:
            return schema.model_validate_json(reply.text), reply.usage
        except ValidationError as exc:
            raise LLMReplyInvalid(f"the answer is no {schema.__name__}: {reply.text[:200]!r}") from exc

    async def label_logprobs(
        self, messages: Messages, labels: Sequence[str], *, origin: Origin | None = None
    ) -> tuple[dict[str, float], Usage]:
        """Natural-log probability of each label as the answer's first token, over the whole vocabulary.

        Exact for all labels where the endpoint reports named tokens (vLLM, at most 128). Elsewhere it reports
        the most probable tokens only, and a label that is not among them is `-inf`.

        Raises:
            LLMRefused: a label is not exactly one token there, or the endpoint reports no log-probabilities.
            LLMReplyInvalid: a log-probability is missing or no number; or, without exact ones, no label is
                among the most probable tokens.
        """
        can = await self.capabilities()
        body = self._body(messages, max_tokens=1, temperature=0.0, seed=None) | {"logprobs": True}
        if can.exact_label_logprobs:
            ids = await self.label_ids(labels)
            body |= {"logprob_token_ids": list(ids.values()), "return_tokens_as_token_ids": True}
            tokens = {f"token_id:{token}": label for label, token in ids.items()}
        elif can.top_logprobs:
            body |= {"top_logprobs": can.top_logprobs}
            tokens = {label: label for label in labels}
        else:
            raise LLMRefused(
                f"{self.endpoint.base_url} reports no log-probabilities",
                hint="use our own server (unset llm.base_url), or a strategy that generates",
            )

        def read(reply: ChatCompletion) -> dict[str, float]:
            return _label_logprobs(reply, tokens, exact=can.exact_label_logprobs)

        return await self._complete(body, read, origin)

    async def _complete(
        self, body: Mapping[str, Any], read: Callable[[ChatCompletion], R], origin: Origin | None
    ) -> tuple[R, Usage]:
        def parse(content: bytes) -> tuple[R, ChatCompletion]:
            reply = ChatCompletion.model_validate_json(content)
            self.check_model(reply.model)
            return read(reply), reply

        began = time.perf_counter()
        answer = await self.wire.post("chat/completions", body, parse, origin)
        result, reply = answer.reply
        return result, usage_of(answer.requests, reply.usage, began)

    def _body(self, messages: Messages, max_tokens: int, temperature: float, seed: int | None) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.endpoint.model,
            "messages": [dict(message) for message in messages],
            "max_tokens": max_tokens,
            "temperature": temperature,
        }
        if seed is not None:
            body["seed"] = seed
        return body

    def check_model(self, answered: str) -> None:
        """Raise LLMReplyInvalid unless the model that answered is the one asked.

        An alias may answer under its dated name (`NAME-2026-01-31`); any other name is another model.
        """
        if not re.fullmatch(re.escape(self.endpoint.model) + r"(-\d[\d-]*)?", answered):
            raise LLMReplyInvalid(
                f"{self.endpoint.base_url} answered with {answered}, asked was {self.endpoint.model}",
                hint="check llm.model and llm.base_url",
            )

    async def _known(self) -> Notes:
        if self._notes is None:
            self._notes = self._remembered()
        if self._notes is None:
            self._notes = self._keep(
                Notes(
                    base_url=self.endpoint.base_url,
                    model=self.endpoint.model,
                    instance=self.endpoint.instance,
                    capabilities=await probe(self.wire),
                )
            )
        return self._notes

    def _remembered(self) -> Notes | None:
        cache = self.wire.cache
        if cache is not None and cache.only:
            return read_notes(cache.notes(self.endpoint.model) or b"")
        notes = load_notes(self.endpoint)
        if cache is not None and notes:
            cache.put_notes(self.endpoint.model, notes.model_dump_json().encode())
        return notes

    def _keep(self, notes: Notes) -> Notes:
        save_notes(self.endpoint, notes)
        if self.wire.cache is not None:
            self.wire.cache.put_notes(self.endpoint.model, notes.model_dump_json().encode())
        return notes

    async def label_ids(self, labels: Sequence[str]) -> dict[str, int]:
        """The id of each label's one token as an answer's first; all different.

        Raises:
            LLMRefused: a label is not exactly one token there, or two are the same one.
        """
        async with self._learning:
            notes = await self._known()
            known = notes.label_ids
            if new := [label for label in dict.fromkeys(labels) if label not in known]:
                known = known | await label_ids(self.wire, new)
                self._notes = self._keep(notes.model_copy(update={"label_ids": known}))
        ids = {label: known[label] for label in labels}
        if len(set(ids.values())) < len(ids):
            raise LLMRefused("two labels are the same token", hint="use other labels")
        return ids


def usage_of(requests: int, counts: TokenCounts | None, began: float) -> Usage:
    """What a call cost that began at `began` (`time.perf_counter`); `requests` 0: the response cache answered."""
    seconds = time.perf_counter() - began
    details = counts.prompt_tokens_details if counts else None
    return Usage(
        requests=requests,
        cache_hits=0 if requests else 1,
        prompt_tokens=counts.prompt_tokens if counts else 0,
        cached_tokens=(details.cached_tokens if details else None) or 0,
        completion_tokens=counts.completion_tokens if counts else 0,
        seconds=seconds,
        retries=max(0, requests - 1),
    )


def _only_choice(reply: ChatCompletion) -> Choice:
    return reply.choices[0]


def _response_format(schema: type[BaseModel]) -> dict[str, Any]:
    named = {"name": schema.__name__, "schema": schema.model_json_schema(), "strict": True}
    return {"type": "json_schema", "json_schema": named}


def _label_logprobs(reply: ChatCompletion, tokens: Mapping[str, str], *, exact: bool) -> dict[str, float]:
    logprobs = reply.choices[0].logprobs
    if logprobs is None or not logprobs.content:
        raise LLMReplyInvalid("the reply carries no log-probabilities", hint="xdrec llm status")
    first = logprobs.content[0]
    found = {tokens[t.token]: t.logprob for t in (first, *first.top_logprobs) if t.token in tokens}
    missing = [label for label in tokens.values() if label not in found]
    if not found or (exact and missing):
        raise LLMReplyInvalid(f"the reply lacks the log-probability of {', '.join(missing)}", hint="xdrec llm status")
    return {label: found.get(label, -math.inf) for label in tokens.values()}
