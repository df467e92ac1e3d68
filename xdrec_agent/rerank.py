"""Reranking. Reads a query and the retriever's ranking, produces a permutation of it.

A language model is shown the history and the labelled candidates, once per shuffle, and begins its answer with "[": the
log-probabilities of the labels as its next token rank all candidates in one request that generates a single token. What
comes out is a permutation by construction; there is no text to parse or repair.
"""

from __future__ import annotations

import hashlib
import string
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from retrieval.templates import PromptTemplate
from retrieval.types import Candidate, Item, Query, Ranking
from xdrec_agent.concurrent import gathered
from xdrec_agent.fitted import hybrid_fit
from xdrec_agent.llm import LLMClient, Messages, Usage
from xdrec_agent.settings import RerankSettings

Scores = NDArray[np.float64]

LABELS: Final = tuple(string.ascii_uppercase + string.ascii_lowercase)
"""One token each in the tokenizers of the models in use; the client checks it against the served one."""
PREFIX: Final = "["


@dataclass(frozen=True)
class Labelled:
    """A candidate as the prompt shows it."""

    label: str
    item: Item


@dataclass(frozen=True)
class RerankContext:
    """What every strategy may use. `client` is None where the strategy needs no model."""

    settings: RerankSettings
    template: PromptTemplate
    client: LLMClient | None


Reranker = Callable[[RerankContext, Query, Ranking], Awaitable[tuple[Ranking, Usage]]]
"""A strategy: the same candidates in another order, and what that cost. Raises LLMError if the model fails; never
returns a part of the candidates."""


async def identity(_context: RerankContext, _query: Query, ranking: Ranking) -> tuple[Ranking, Usage]:
    """The retriever's order."""
    return ranking, Usage()


async def listwise_logprob(context: RerankContext, query: Query, ranking: Ranking) -> tuple[Ranking, Usage]:
    """Order by the labels' log-probabilities, averaged over shuffles."""
    head, tail = _split(context, ranking)
    scores, usage = await label_scores(context, query, head)
    scored = [_scored(c, s, float(s)) for c, s in zip(head, scores, strict=True)]
    return Ranking(candidates=(*_sorted(scored), *tail), source="listwise-logprob"), usage


async def hybrid(context: RerankContext, query: Query, ranking: Ranking) -> tuple[Ranking, Usage]:
    """Order by (1-w)·retrieval + w·model, each standardised over the candidates.

    The weight w is the setting, else the one fitted for the model on validation users, else 0. At 0 the model has
    nothing to say and is not asked.
    """
    weight = weight_of(context)
    if weight == 0:
        return ranking.model_copy(update={"source": "hybrid"}), Usage()
    head, tail = _split(context, ranking)
    scores, usage = await label_scores(context, query, head)
    retrieval = np.array([c.score for c in head])
    fused = (1 - weight) * standardised(retrieval) + weight * standardised(scores)
    scored = [_scored(c, s, float(f)) for c, s, f in zip(head, scores, fused, strict=True)]
    return Ranking(candidates=(*_sorted(scored), *tail), source="hybrid"), usage


RERANKERS: Mapping[str, Reranker] = {
    "identity": identity,
    "listwise-logprob": listwise_logprob,
    "hybrid": hybrid,
}
"""The strategies by the name that settings, CLI and API use."""


def weight_of(context: RerankContext) -> float:
    """The model's weight in `hybrid`, in [0, 1]."""
    if context.settings.weight is not None:
        return context.settings.weight
    fit = hybrid_fit(context.client.endpoint.model, context.template.fingerprint) if context.client else None
    return fit.weight if fit else 0.0


async def label_scores(context: RerankContext, query: Query, candidates: Sequence[Candidate]) -> tuple[Scores, Usage]:
    """Mean log-probability of each candidate's label over the shuffles, in the order of `candidates`.

    Per shuffle the log-probabilities are normalised over the labels shown. A label that an endpoint without exact
    log-probabilities leaves out counts as one nat less likely than the least likely reported one.
    """
    if context.client is None:
        msg = "this strategy needs an LLM client"
        raise ValueError(msg)
    client, labels = context.client, LABELS[: len(candidates)]
    orders = shuffles(len(candidates), context.settings.shuffles, seed_of(query, context.settings.seed))
    prompts = [rerank_messages(context, query, [candidates[i].item for i in order]) for order in orders]
    answers = await gathered(client.label_logprobs(p, PREFIX, labels) for p in prompts)
    total = np.zeros(len(candidates))
    usage = Usage()
    for order, (logprobs, spent) in zip(orders, answers, strict=True):
        total[order] += _normalised(np.array([logprobs[label] for label in labels]))
        usage += spent
    return total / len(orders), usage


def rerank_messages(context: RerankContext, query: Query, items: Sequence[Item]) -> Messages:
    """The prompt of one shuffle: history first, so that all shuffles share it as a prefix; candidates last."""
    history = [e for e in query.history.entries if e.item.domain != query.target]
    sources = dict.fromkeys(e.item.domain for e in history)
    return context.template.messages(
        liked=[e for e in history if e.liked][-context.settings.max_history :],
        disliked=[e for e in history if e.disliked][-context.settings.max_history // 2 :],
        text=query.text,
        candidates=[Labelled(label, item) for label, item in zip(LABELS, items, strict=False)],
        source=" and ".join(sources),
        target=query.target,
    )


def shuffles(n: int, count: int, seed: int) -> list[NDArray[np.int64]]:
    """`count` permutations of n; every second one is the reverse of the one before it.

    A model that favours early labels favours each candidate and then its mirror image, so that the linear part of the
    position bias cancels within a pair.
    """
    rng = np.random.default_rng(seed)
    orders: list[NDArray[np.int64]] = []
    while len(orders) < count:
        order = rng.permutation(n)
        orders += [order, order[::-1]]
    return orders[:count]


def seed_of(query: Query, seed: int) -> int:
    """A seed of the person's own, so that a result does not depend on who was served before."""
    mark = query.history.user or ",".join(e.item.id for e in query.history.entries)
    return int.from_bytes(hashlib.sha256(f"{seed} {query.target} {mark}".encode()).digest()[:8])


def standardised(scores: Scores) -> Scores:
    """Zero mean and unit deviation; all zero if the scores are equal."""
    deviation = scores.std()
    return (scores - scores.mean()) / deviation if deviation > 0 else np.zeros_like(scores)


def _normalised(logprobs: Scores) -> Scores:
    finite = logprobs[np.isfinite(logprobs)]
    filled = np.where(np.isfinite(logprobs), logprobs, finite.min() - 1)
    return np.asarray(filled - np.logaddexp.reduce(filled))


def _split(context: RerankContext, ranking: Ranking) -> tuple[tuple[Candidate, ...], tuple[Candidate, ...]]:
    """Those the model is shown, and the rest, which keep their places below."""
    shown = min(context.settings.candidates, len(LABELS))
    return ranking.candidates[:shown], ranking.candidates[shown:]


def _scored(candidate: Candidate, llm: float, final: float) -> Candidate:
    stages = {**candidate.stages, "llm": float(llm)}
    return candidate.model_copy(update={"score": final, "stages": stages})


def _sorted(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Best first; equal scores keep the retriever's order (the sort is stable)."""
    return sorted(candidates, key=lambda c: -c.score)
