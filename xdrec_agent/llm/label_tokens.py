"""The token ids of labels. Reads labels, produces the one token that an answer begins with which is the label."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from pydantic import BaseModel

from xdrec_agent.errors import LLMRefused
from xdrec_agent.llm.response_cache import Origin
from xdrec_agent.llm.transport import Wire


class Tokens(BaseModel):
    """vLLM's reply to /tokenize."""

    tokens: tuple[int, ...]


async def tokenize(wire: Wire, assistant: str) -> tuple[int, ...]:
    """The tokens of a short chat in which the assistant has begun to say `assistant`.

    Raises:
        LLMError: the endpoint cannot, among others `LLMRefused` if it does not know how.
    """
    messages = [{"role": "user", "content": "Hello"}]
    if assistant:
        messages.append({"role": "assistant", "content": assistant})
    return await tokenize_chat(wire, messages)


async def tokenize_chat(
    wire: Wire, messages: Sequence[Mapping[str, str]], origin: Origin | None = None
) -> tuple[int, ...]:
    """The tokens of a chat as the endpoint would read it; a last message of the assistant's is gone on with.

    Raises:
        LLMError: as `tokenize`.
    """
    begun = messages[-1]["role"] == "assistant"
    body = {
        "model": wire.endpoint.model,
        "messages": list(messages),
        "continue_final_message": begun,
        "add_generation_prompt": not begun,
    }
    return (await wire.post("/tokenize", body, Tokens.model_validate_json, origin)).reply.tokens


async def label_ids(wire: Wire, labels: Sequence[str]) -> dict[str, int]:
    """The id of each label's token as an answer's first, asked of the endpoint's own tokenizer and chat template.

    Raises:
        LLMRefused: a label is not exactly one token there, or the endpoint has no /tokenize.
    """
    base = await tokenize(wire, "")
    with_label = await asyncio.gather(*(tokenize(wire, label) for label in labels))
    for label, tokens in zip(labels, with_label, strict=True):
        if tokens[:-1] != base:
            raise LLMRefused(
                f"the label {label!r} is not exactly one token for {wire.endpoint.model}",
                hint="use other labels, for example A, B, C …",
            )
    return {label: tokens[-1] for label, tokens in zip(labels, with_label, strict=True)}
