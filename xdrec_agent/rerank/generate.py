"""Judging by a written permutation. Reads candidates, produces scores from the order in which the model names them.

The way of RankGPT (Sun et al. 2023), kept to compare with: `[B] > [A] > …`, constrained by a grammar so that it always
parses. The grammar cannot keep the model from naming a label twice; what it leaves out is counted, not hidden.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from pydantic import BaseModel, Field, create_model

from retrieval.types import Candidate, Query
from xdrec_agent.rerank.consistency import shuffles
from xdrec_agent.rerank.context import Judgement, RerankContext, origin_of, seed_of
from xdrec_agent.rerank.prompt import LABELS, list_prompt

_TOKENS_A_LABEL = 7
_TOKENS_AROUND = 24


async def listwise_generate(context: RerankContext, query: Query, candidates: Sequence[Candidate]) -> Judgement:
    """Judge by the permutation that the model writes for one shuffle; at most as many candidates as labels."""
    n = len(candidates)
    order = shuffles(n, 1, seed_of(query, context.settings.seed))[0]
    reply, usage = await context.model.structured(
        list_prompt(context, query, [candidates[i].item for i in order]),
        _written(n),
        max_tokens=_TOKENS_A_LABEL * n + _TOKENS_AROUND,
        origin=origin_of(context.templates["rerank"], query),
    )
    named = dict.fromkeys(re.findall(r"\w", str(reply.model_dump()["order"])))
    scores = -np.arange(n, 2 * n, dtype=np.float64)
    for place, label in enumerate(named):
        scores[order[LABELS.index(label)]] = n - place
    return Judgement(scores, usage, left_out=n - len(named))


@cache
def _written(n: int) -> type[BaseModel]:
    """An object with a permutation of n labels, as far as a regular expression can say so."""
    label = rf"\[({'|'.join(LABELS[:n])})\]"
    # Counted repetitions are avoided: xgrammar 0.2 fails on them.
    pattern = "^" + " > ".join([label] * n) + "$"
    fields: dict[str, Any] = {"order": (str, Field(pattern=pattern))}
    return create_model("Permutation", **fields)
