"""Which titles does a model know? Reads lists of items and a client, produces how expected each title is.

The proxy is the natural-log probability of the title after "Books by CREATOR:", the mean over its tokens. It is not
knowledge itself: a title of plain words is expected without being known, and the end of a long title is easier than its
beginning, so it is to be read beside the effect of the title's length.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from eval.data import Say
from eval.systems import CONCURRENT_USERS, run_concurrently
from retrieval.templates import plain
from retrieval.types import Item
from xdrec_agent.errors import LLMRefused, LLMReplyInvalid
from xdrec_agent.llm import LLMClient, Logprob, Origin

Values = NDArray[np.float64]
_TITLES: Final = 20
"""Titles asked about in one request."""


class _Logprobs(BaseModel):
    token_logprobs: tuple[Logprob | None, ...]


class _Choice(BaseModel):
    index: int
    logprobs: _Logprobs


class _Completion(BaseModel):
    """The part of a text completion that is used: the echoed prompts' log-probabilities; the first token has none."""

    model: str
    choices: Annotated[tuple[_Choice, ...], Field(min_length=1)]


async def title_log_probabilities(
    client: LLMClient, lists: Sequence[Sequence[Item]], say: Say, *, at_once: int = CONCURRENT_USERS
) -> list[Values] | None:
    """For each list the mean log-probability, in nats, of the tokens of its items' titles.

    None if the endpoint does not tell: it must echo a prompt with log-probabilities, as vLLM does.

    Raises:
        LLMError: it failed otherwise.
    """
    titles = {(item.domain, item.id): item for items in lists for item in items}
    every = list(titles.values())
    parts = [every[start : start + _TITLES] for start in range(0, len(every), _TITLES)]

    async def one(part: Sequence[Item]) -> list[float]:
        return await _log_probabilities(client, part)

    try:
        # The first goes ahead alone: an endpoint that cannot is asked once.
        found = [await one(part) for part in parts[:1]] + await run_concurrently(
            parts[1:], one, "titles", say, at_once, unit=f"lists of {_TITLES}"
        )
    except (LLMRefused, LLMReplyInvalid) as exc:
        say(f"title familiarity: {exc}")
        return None
    known = dict(zip(titles, (value for part in found for value in part), strict=True))
    return [np.array([known[item.domain, item.id] for item in items]) for items in lists]


async def _log_probabilities(client: LLMClient, items: Sequence[Item]) -> list[float]:
    prefixes = [_prefix(item) for item in items]
    texts = [f"{prefix} {plain(item.title, 80)}" for prefix, item in zip(prefixes, items, strict=True)]
    body = {
        "model": client.endpoint.model,
        "prompt": [*prefixes, *texts],
        "max_tokens": 0,
        "echo": True,
        "logprobs": 1,
        "temperature": 0,
    }

    def parse(content: bytes) -> list[float]:
        reply = _Completion.model_validate_json(content)
        client.check_model(reply.model)
        if [choice.index for choice in reply.choices] != list(range(2 * len(items))):
            raise LLMReplyInvalid(f"{2 * len(items)} prompts were to be echoed, not these", hint="xdrec llm status")
        logprobs = [choice.logprobs.token_logprobs for choice in reply.choices]
        pairs = zip(logprobs[: len(items)], logprobs[len(items) :], strict=True)
        return [_mean_log_probability(prefix, text) for prefix, text in pairs]

    return (await client.wire.post("completions", body, parse, Origin())).reply


def _prefix(item: Item) -> str:
    by = f" by {plain(', '.join(item.creators), 60)}" if item.creators else ""
    return f"{plain(item.domain, 40).capitalize()}{by}:"


def _mean_log_probability(prefix: Sequence[float | None], text: Sequence[float | None]) -> float:
    """Of the tokens that the text has beyond its beginning; as a difference of sums, wherever the tokens meet."""
    more = len(text) - len(prefix)
    if more < 1 or not prefix:
        raise LLMReplyInvalid("the prompt was not echoed with its log-probabilities", hint="xdrec llm status")
    return (sum(value or 0.0 for value in text) - sum(value or 0.0 for value in prefix)) / more
