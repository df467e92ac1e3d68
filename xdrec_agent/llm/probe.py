"""Asking an endpoint what it can do. Reads its answers to a few tiny requests, produces `Capabilities`.

Nothing is concluded from names or versions, and an option that is accepted but ignored does not count.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from xdrec_agent.errors import LLMRefused, LLMReplyInvalid
from xdrec_agent.llm.endpoint import Capabilities
from xdrec_agent.llm.label_tokens import tokenize
from xdrec_agent.llm.transport import ChatCompletion, Wire

_HELLO = {"role": "user", "content": "Hello"}
_TOP = (128, 64, 20, 10, 5, 1)


class _Model(BaseModel):
    id: str
    max_model_len: int | None = None


class _Models(BaseModel):
    data: tuple[_Model, ...]


class _Version(BaseModel):
    version: str


class _Scores(BaseModel):
    data: tuple[dict[str, Any], ...]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    ok: bool


async def probe(wire: Wire) -> Capabilities:
    """Ask the endpoint now, whatever is known about it.

    Raises:
        LLMError: it does not answer a plain chat request, or stopped answering.
    """
    await _chat(wire, messages=[_HELLO])
    tokens = await _tokens(wire)
    return Capabilities(
        exact_label_logprobs=await _names_tokens(wire, tokens),
        top_logprobs=await _top_logprobs(wire),
        structured_output=await _keeps_schema(wire),
        tokenize=bool(tokens),
        generative_scoring=await _scores(wire, tokens),
        max_model_len=await _max_model_len(wire),
        server_version=await _version(wire),
    )


async def _chat(wire: Wire, **options: Any) -> ChatCompletion:
    body = {"model": wire.endpoint.model, "max_tokens": 1, "temperature": 0} | options
    return (await wire.post("chat/completions", body, ChatCompletion.model_validate_json)).reply


async def _tokens(wire: Wire) -> tuple[int, ...]:
    try:
        return await tokenize(wire, "")
    except (LLMRefused, LLMReplyInvalid):
        return ()


async def _names_tokens(wire: Wire, tokens: tuple[int, ...]) -> bool:
    asked = sorted(set(tokens))[:8]
    if not asked:
        return False
    named = {"logprobs": True, "logprob_token_ids": asked, "return_tokens_as_token_ids": True}
    got = await _reported(wire, named)
    return {f"token_id:{token}" for token in asked} <= set(got)


async def _top_logprobs(wire: Wire) -> int:
    for number in _TOP:
        if got := await _reported(wire, {"logprobs": True, "top_logprobs": number}):
            return min(len(got), number)
    return 0


async def _reported(wire: Wire, options: Mapping[str, Any]) -> list[str]:
    """The tokens that are reported beside the chosen one; none if the endpoint refuses."""
    try:
        reply = await _chat(wire, messages=[_HELLO], **options)
    except (LLMRefused, LLMReplyInvalid):
        return []
    logprobs = reply.choices[0].logprobs
    return [t.token for t in logprobs.content[0].top_logprobs] if logprobs and logprobs.content else []


async def _keeps_schema(wire: Wire) -> bool:
    schema = {"name": "Answer", "schema": _Answer.model_json_schema(), "strict": True}
    try:
        reply = await _chat(
            wire,
            messages=[_HELLO],
            max_tokens=48,
            response_format={"type": "json_schema", "json_schema": schema},
        )
        _Answer.model_validate_json(reply.choices[0].message.content or "")
    except (LLMRefused, LLMReplyInvalid, ValidationError):
        return False
    return True


async def _scores(wire: Wire, tokens: tuple[int, ...]) -> bool:
    labels = sorted(set(tokens))[:2]
    if not labels:
        return False
    body = {"model": wire.endpoint.model, "query": "Hello", "items": ["a", "b"], "label_token_ids": labels}
    try:
        scores = (await wire.post("/generative_scoring", body, _Scores.model_validate_json)).reply
    except (LLMRefused, LLMReplyInvalid):
        return False
    return len(scores.data) == 2


async def _max_model_len(wire: Wire) -> int | None:
    try:
        models = await wire.get("models", _Models.model_validate_json)
    except (LLMRefused, LLMReplyInvalid):
        return None
    return next((m.max_model_len for m in models.data if m.id == wire.endpoint.model), None)


async def _version(wire: Wire) -> str | None:
    try:
        return (await wire.get("/version", _Version.model_validate_json)).version
    except (LLMRefused, LLMReplyInvalid):
        return None
