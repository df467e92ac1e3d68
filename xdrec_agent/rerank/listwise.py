"""Listwise judging by log-probabilities. Reads candidates, produces their scores over several shuffles.

The model is shown the history and the labelled candidates, once per shuffle: the log-probabilities of the labels as its
answer's first token rank all candidates in one request that generates a single token. There is no text to parse or
repair.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from retrieval.types import Candidate, Query
from xdrec_agent.llm import Usage, gathered
from xdrec_agent.rerank.consistency import aggregated, kendall_tau, settled, shuffles
from xdrec_agent.rerank.context import Judgement, RerankContext, Scores, origin_of, seed_of
from xdrec_agent.rerank.fits import find_fit, position_bias
from xdrec_agent.rerank.prompt import LABELS, list_prompt

Order = NDArray[np.int64]
_NAME: Final = "listwise-logprob"


async def listwise_logprob(context: RerankContext, query: Query, candidates: Sequence[Candidate]) -> Judgement:
    """Judge by the labels' log-probabilities, aggregated over shuffles; at most as many candidates as labels.

    `min_shuffles` go out at once; two more follow while the top still moves more than noise would, up to `max_shuffles`
    (`consistency.settled`).
    """
    settings = context.settings
    n, most = len(candidates), settings.max_shuffles
    orders = shuffles(n, most, seed_of(query, settings.seed))
    fit = find_fit(context.fits, context.model.endpoint.model, context.templates["rerank"].fingerprint, _NAME)
    bias = position_bias(fit, n) if context.bias is None else context.bias[:n]
    seen, usage = np.empty((0, n)), Usage()
    take = min(settings.min_shuffles, most)
    while take:
        batch = orders[len(seen) : len(seen) + take]
        answers = await gathered(shuffle_scores(context, query, candidates, order) for order in batch)
        for order, (logprobs, spent) in zip(batch, answers, strict=True):
            by_candidate = np.empty(n)
            by_candidate[order] = logprobs - bias
            seen, usage = np.vstack([seen, by_candidate]), usage + spent
        enough = len(seen) == most or settled(seen, np.random.default_rng(len(seen)))
        take = 0 if enough else min(2, most - len(seen))
    return Judgement(aggregated(seen, settings.aggregate), usage, len(seen), kendall_tau(seen))


async def shuffle_scores(
    context: RerankContext, query: Query, candidates: Sequence[Candidate], order: Order
) -> tuple[Scores, Usage]:
    """Log-probabilities of the labels in the order of the prompt, normalised over the labels shown.

    A label that an endpoint without exact log-probabilities leaves out counts as one nat less likely than the least
    likely reported one.
    """
    labels = LABELS[: len(candidates)]
    prompt = list_prompt(context, query, [candidates[i].item for i in order])
    origin = origin_of(context.templates["rerank"], query)
    logprobs, usage = await context.model.label_logprobs(prompt, labels, origin=origin)
    found = np.array([logprobs[label] for label in labels])
    finite = found[np.isfinite(found)]
    filled = np.where(np.isfinite(found), found, finite.min() - 1)
    return np.asarray(filled - np.logaddexp.reduce(filled)), usage
