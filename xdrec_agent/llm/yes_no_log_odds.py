"""Yes or no. Reads conversations that end with a question, produces the log-odds of yes over no for each.

vLLM scores many continuations of one prompt in a single request (`/generative_scoring`); elsewhere it is one request a
conversation. In both cases the first goes ahead alone, so that the server has computed the shared beginning when the
others arrive.
"""

from __future__ import annotations

import os.path
import time
from collections.abc import Sequence
from typing import Annotated, Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from xdrec_agent.errors import LLMReplyInvalid
from xdrec_agent.llm.client import LLMClient, Messages, Usage, usage_of
from xdrec_agent.llm.concurrency import gathered
from xdrec_agent.llm.label_tokens import tokenize_chat
from xdrec_agent.llm.response_cache import Origin
from xdrec_agent.llm.transport import TokenCounts

YES, NO = "Yes", "No"
_PLACE: Final = "CANDIDATE"
_SURE: Final = 1e-9
"""Probabilities are kept this far from 0 and 1, where the odds have no logarithm."""

LogOdds = NDArray[np.float64]


class _Scored(BaseModel):
    index: int
    score: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class _Scores(BaseModel):
    """vLLM's reply to /generative_scoring: of each item the probability of the first label among the labels."""

    model: str
    data: tuple[_Scored, ...]
    usage: TokenCounts | None = None


class _Text(BaseModel):
    """vLLM's reply to /detokenize."""

    prompt: str


async def log_odds(client: LLMClient, prompts: Sequence[Messages], origin: Origin) -> tuple[LogOdds, Usage]:
    """ln P(yes) / P(no) as the next token of each conversation.

    Raises:
        LLMRefused: the endpoint reports no log-probabilities, or yes and no are not single tokens there.
        LLMReplyInvalid: a score is missing or no probability.
    """
    if (await client.capabilities()).generative_scoring and len(prompts) > 1:
        frame = await _frame(client, prompts, origin)
        if frame is not None:
            return await _scored(client, *frame, origin)
    first, *rest = prompts
    answers = [await _asked(client, first, origin), *await gathered(_asked(client, p, origin) for p in rest)]
    usage = Usage()
    for _, spent in answers:
        usage += spent
    return np.array([odds for odds, _ in answers]), usage


async def _asked(client: LLMClient, prompt: Messages, origin: Origin) -> tuple[float, Usage]:
    found, usage = await client.label_logprobs(prompt, (YES, NO), origin=origin)
    # Where only the most probable tokens are reported, an absent one is at most as probable as the least of them.
    floor = min(value for value in found.values() if np.isfinite(value)) - 1
    return max(found[YES], floor) - max(found[NO], floor), usage


async def _frame(client: LLMClient, prompts: Sequence[Messages], origin: Origin) -> tuple[str, list[str]] | None:
    """The server's own rendering of the conversations: their shared beginning, and how each goes on.

    None if the conversations differ elsewhere than in their last message, or the rendering cannot be taken apart.
    """
    texts = [prompt[-1]["content"] for prompt in prompts]
    # Cut at a line's beginning: tokens rarely reach across it.
    shared = os.path.commonprefix(texts).rpartition("\n")[0]  # noqa: RUF071 # by characters is what is meant
    if not shared or any(prompt[:-1] != prompts[0][:-1] for prompt in prompts):
        return None
    framed = [*prompts[0][:-1], {"role": prompts[0][-1]["role"], "content": f"{shared}\n{_PLACE}"}]
    tokens = await tokenize_chat(client.wire, framed, origin)
    body = {"model": client.endpoint.model, "tokens": list(tokens)}
    rendered = (await client.wire.post("/detokenize", body, _Text.model_validate_json, origin)).reply.prompt
    head, place, tail = rendered.rpartition(_PLACE)
    if not place or not head.endswith(f"{shared}\n"):
        return None
    return head, [text.removeprefix(f"{shared}\n") + tail for text in texts]


async def _scored(client: LLMClient, head: str, items: Sequence[str], origin: Origin) -> tuple[LogOdds, Usage]:
    ids = await client.label_ids((YES, NO))
    first, spent = await _score(client, head, items[:1], list(ids.values()), origin)
    rest, more = await _score(client, head, items[1:], list(ids.values()), origin)
    probabilities = np.clip(np.concatenate([first, rest]), _SURE, 1 - _SURE)
    return np.log(probabilities / (1 - probabilities)), spent + more


async def _score(
    client: LLMClient, head: str, items: Sequence[str], labels: list[int], origin: Origin
) -> tuple[LogOdds, Usage]:
    body: dict[str, Any] = {
        "model": client.endpoint.model,
        "query": head,
        "items": list(items),
        "label_token_ids": labels,
        "add_special_tokens": False,
    }

    def parse(content: bytes) -> _Scores:
        scores = _Scores.model_validate_json(content)
        client.check_model(scores.model)
        if [scored.index for scored in scores.data] != list(range(len(items))):
            raise LLMReplyInvalid(f"{len(items)} items were to be scored, not these", hint="xdrec llm status")
        return scores

    began = time.perf_counter()
    answer = await client.wire.post("/generative_scoring", body, parse, origin)
    scores = np.array([scored.score for scored in answer.reply.data])
    return scores, usage_of(answer.requests, answer.reply.usage, began)
