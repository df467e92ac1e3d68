"""What every strategy reads and produces: the context, a judgement of candidates, a reranking."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import UsageError
from retrieval.templates import PromptTemplate
from retrieval.types import Candidate, Query, Ranking
from xdrec_agent.llm import LLMClient, Origin, Usage
from xdrec_agent.rerank.fits import RerankFit, rerank_fits
from xdrec_agent.settings import RerankSettings

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class RerankContext:
    """What every strategy may use.

    Attributes:
        templates: by task: "rerank" shows a list, "judge" a single candidate.
        client: None where there is no model.
        bias: what the labels are favoured by, by place, in nats; None: what was fitted for the model.
        fits: what judges are worth; the shipped ones unless a home's are given (`rerank_fits`).
    """

    settings: RerankSettings
    templates: Mapping[str, PromptTemplate]
    client: LLMClient | None
    bias: Scores | None = None
    fits: tuple[RerankFit, ...] = field(default_factory=rerank_fits)

    @property
    def model(self) -> LLMClient:
        """The client. Raises UsageError if there is none."""
        if self.client is None:
            raise UsageError("this strategy needs a language model", hint="xdrec llm up, or rerank.strategy = identity")
        return self.client


@dataclass(frozen=True)
class Judgement:
    """What a model thinks of candidates.

    Attributes:
        scores: one for each, higher is better, comparable within the judgement only.
        shuffles: in how many orders the candidates were shown.
        tau: mean Kendall's tau between the orders that the shuffles gave, in [-1, 1]; None for fewer than two.
        left_out: how many candidates the model did not name; they score lowest, in the order they were given in.
    """

    scores: Scores
    usage: Usage
    shuffles: int = 1
    tau: float | None = None
    left_out: int = 0


Judge = Callable[[RerankContext, Query, Sequence[Candidate]], Coroutine[Any, Any, Judgement]]
"""Raises LLMError if the model fails; never judges a part of the candidates."""


@dataclass(frozen=True)
class Reranked:
    """The same candidates in another order, what that cost, and how sure it is.

    `shuffles` and `tau` are the judgement's; 0 and None where no model was asked. `enough_evidence` says whether the
    first candidate is told apart from chance; None where no calibration was fitted.
    """

    ranking: Ranking
    usage: Usage = field(default_factory=Usage)
    shuffles: int = 0
    tau: float | None = None
    left_out: int = 0
    enough_evidence: bool | None = None


Reranker = Callable[[RerankContext, Query, Ranking], Awaitable[Reranked]]
"""A strategy. Raises LLMError if the model fails; never returns a part of the candidates."""


def seed_of(query: Query, seed: int) -> int:
    """A seed of the person's own, so that a result does not depend on who was served before."""
    mark = query.history.user or ",".join(e.item.id for e in query.history.entries)
    return int.from_bytes(hashlib.sha256(f"{seed} {query.target} {mark}".encode()).digest()[:8])


def origin_of(template: PromptTemplate, query: Query) -> Origin:
    """For whom and with which template a request is made."""
    return Origin(template=template.fingerprint, user=query.history.user)


def standardised(scores: Scores) -> Scores:
    """Zero mean and unit deviation; all zero if the scores are equal."""
    deviation = scores.std()
    return (scores - scores.mean()) / deviation if deviation > 0 else np.zeros_like(scores)
