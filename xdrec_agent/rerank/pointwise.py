"""Pointwise judging. Reads candidates, produces the log-odds of yes over no for each, asked alone.

A candidate is judged without the others, so there is no position to be biased by. The history is the prefix that all of
a person's prompts share.
"""

from __future__ import annotations

from collections.abc import Sequence

from retrieval.types import Candidate, Query
from xdrec_agent.llm import log_odds
from xdrec_agent.rerank.context import Judgement, RerankContext, origin_of
from xdrec_agent.rerank.prompt import single_prompt


async def pointwise_logprob(context: RerankContext, query: Query, candidates: Sequence[Candidate]) -> Judgement:
    """Judge each by the log-odds of "Yes" over "No" as the next token; any number of candidates."""
    prompts = [single_prompt(context, query, candidate.item) for candidate in candidates]
    scores, usage = await log_odds(context.model, prompts, origin_of(context.templates["judge"], query))
    return Judgement(scores, usage)
