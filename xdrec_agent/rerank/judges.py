"""The judges. Each reads a history and candidates, asks the model about them, produces their scores.

- `listwise_logprob`: the model sees the labelled candidates, once per shuffle; the log-probabilities of the labels as
  its answer's first token score all of them in one request that generates one token. Nothing is parsed or repaired.
- `pointwise_logprob`: the log-odds of yes over no for each candidate alone, so no position can bias it.
- `listwise_generate`: the permutation that the model writes, `[B] > [A] > …`, as RankGPT does (Sun et al. 2023); kept
  to compare with. A grammar makes it parse but cannot forbid to name a label twice; what is left out counts as last.

Instructions and history come first in every prompt and candidates last: all prompts of a user share a prefix, which the
server computes once.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, create_model

from retrieval.types import Candidate, Item, Query
from xdrec_agent.llm import Messages, Usage, gathered, log_odds
from xdrec_agent.rerank.consistency import aggregated, kendall_tau, shuffles, top_is_stable
from xdrec_agent.rerank.context import Judgement, RerankContext, Scores, origin_of, seed_of
from xdrec_agent.rerank.fits import find_fit, position_bias

LABELS: Final = tuple(string.ascii_uppercase + string.ascii_lowercase)
"""One token each in the tokenizers of the models in use; the client checks it against the served one."""

_TOKENS_PER_LABEL: Final = 7
_TOKENS_AROUND: Final = 24


@dataclass(frozen=True)
class LabelledItem:
    """A candidate as the prompt shows it."""

    label: str
    item: Item


def list_prompt(context: RerankContext, query: Query, items: Sequence[Item]) -> Messages:
    """The prompt that shows labelled candidates, in this order; at most as many as there are labels."""
    labelled = [LabelledItem(label, item) for label, item in zip(LABELS, items, strict=False)]
    return context.templates["rerank"].messages(candidates=labelled, **_history_variables(context, query))


def single_prompt(context: RerankContext, query: Query, item: Item) -> Messages:
    """The prompt that shows one candidate."""
    return context.templates["judge"].messages(candidate=item, **_history_variables(context, query))


async def listwise_logprob(context: RerankContext, query: Query, candidates: Sequence[Candidate]) -> Judgement:
    """Judge by the labels' log-probabilities, aggregated over shuffles; at most as many candidates as labels.

    `min_shuffles` go out at once; two more follow while the top still moves more than noise would, up to `max_shuffles`
    (`consistency.top_is_stable`).
    """
    settings = context.settings
    n, most = len(candidates), settings.max_shuffles
    orders = shuffles(n, most, seed_of(query, settings.seed))
    fit = find_fit(
        context.fits, context.model.endpoint.model, context.templates["rerank"].fingerprint, "listwise-logprob"
    )
    bias = position_bias(fit, n) if context.bias is None else context.bias[:n]
    scores, usage = np.empty((0, n)), Usage()
    take = min(settings.min_shuffles, most)
    while take:
        batch = orders[len(scores) : len(scores) + take]
        answers = await gathered(shuffle_scores(context, query, candidates, order) for order in batch)
        for order, (logprobs, spent) in zip(batch, answers, strict=True):
            by_candidate = np.empty(n)
            by_candidate[order] = logprobs - bias
            scores, usage = np.vstack([scores, by_candidate]), usage + spent
        enough = len(scores) == most or top_is_stable(scores, np.random.default_rng(len(scores)))
        take = 0 if enough else min(2, most - len(scores))
    return Judgement(aggregated(scores, settings.aggregate), usage, len(scores), kendall_tau(scores))


async def shuffle_scores(
    context: RerankContext, query: Query, candidates: Sequence[Candidate], order: NDArray[np.int64]
) -> tuple[Scores, Usage]:
    """Log-probabilities of the labels in the order of the prompt, normalised over the labels shown.

    A label that an endpoint without exact log-probabilities leaves out counts as one nat less likely than the least
    likely reported one.
    """
    labels = LABELS[: len(candidates)]
    prompt = list_prompt(context, query, [candidates[i].item for i in order])
    origin = origin_of(context.templates["rerank"], query)
    logprobs, usage = await context.model.label_logprobs(prompt, labels, origin=origin)
    reported = np.array([logprobs[label] for label in labels])
    finite = np.isfinite(reported)
    filled = np.where(finite, reported, reported[finite].min() - 1)
    return np.asarray(filled - np.logaddexp.reduce(filled)), usage


async def pointwise_logprob(context: RerankContext, query: Query, candidates: Sequence[Candidate]) -> Judgement:
    """Judge each by the log-odds of "Yes" over "No" as the next token; any number of candidates."""
    prompts = [single_prompt(context, query, candidate.item) for candidate in candidates]
    scores, usage = await log_odds(context.model, prompts, origin_of(context.templates["judge"], query))
    return Judgement(scores, usage)


async def listwise_generate(context: RerankContext, query: Query, candidates: Sequence[Candidate]) -> Judgement:
    """Judge by the permutation that the model writes for one shuffle; at most as many candidates as labels."""
    n = len(candidates)
    order = shuffles(n, 1, seed_of(query, context.settings.seed))[0]
    reply, usage = await context.model.structured(
        list_prompt(context, query, [candidates[i].item for i in order]),
        _permutation_type(n),
        max_tokens=_TOKENS_PER_LABEL * n + _TOKENS_AROUND,
        origin=origin_of(context.templates["rerank"], query),
    )
    named_labels = dict.fromkeys(re.findall(r"\w", str(reply.model_dump()["order"])))
    scores = -np.arange(n, 2 * n, dtype=np.float64)
    for place, label in enumerate(named_labels):
        scores[order[LABELS.index(label)]] = n - place
    return Judgement(scores, usage, left_out=n - len(named_labels))


@cache
def _permutation_type(n: int) -> type[BaseModel]:
    """An object with a permutation of n labels, as far as a regular expression can say so."""
    label = rf"\[({'|'.join(LABELS[:n])})\]"
    # Counted repetitions are avoided: xgrammar 0.2 fails on them.
    pattern = "^" + " > ".join([label] * n) + "$"
    fields: dict[str, Any] = {"order": (str, Field(pattern=pattern))}
    return create_model("Permutation", **fields)


def _history_variables(context: RerankContext, query: Query) -> dict[str, Any]:
    """What both templates are told of the user; the latest entries where there are more than `max_history`."""
    history = [e for e in query.history.entries if e.item.domain != query.target]
    limit = context.settings.max_history
    return {
        "liked": [e for e in history if e.liked][-limit:],
        "disliked": [e for e in history if e.disliked][-limit // 2 :],
        "text": query.text,
        "source": " and ".join(dict.fromkeys(e.item.domain for e in history)),
        "target": query.target,
    }
