"""What the agent gives back: recommendations with reasons, and how they came about. All frozen."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from retrieval.types import Frozen, Item, Match
from xdrec_agent.llm import Usage

ExplanationSource = Literal["llm", "evidence"]


class Explanation(Frozen):
    """Why an item is recommended.

    `cites` are history items ("domain", "id"); a reason never cites an item that the person has not got. `source` is
    "llm" for a sentence that the model wrote and the checks let pass, "evidence" for one built from the metadata, and
    then `reason` says why.
    """

    text: str
    cites: tuple[Match, ...] = ()
    traits: tuple[str, ...] = ()
    source: ExplanationSource
    reason: str | None = None


class Recommendation(Frozen):
    """One recommended item. Ranks count from 1; `retrieval_rank` is where the retriever had put it."""

    rank: int = Field(ge=1)
    item: Item
    score: float
    retrieval_rank: int = Field(ge=1)
    stages: dict[str, float] = Field(default_factory=dict)
    matches: tuple[Match, ...] = ()
    confidence: float | None = None
    """Calibrated, in [0, 1] (`retrieval.types.Candidate`); None: not calibrated."""
    explanation: Explanation | None = None


class Recommendations(Frozen):
    """The answer to one query.

    Attributes:
        source: the stage that made the order.
        degraded, reason: a stage that should have taken part failed, and how.
        shuffles: in how many orders the model was shown the candidates; 0 if it was not asked for an order.
        tau: mean Kendall's tau between what the shuffles gave, in [-1, 1]: near 0 the model does not know.
        enough_evidence: whether the first item is told apart from a random one; None: not calibrated.
        notes: what the reader should know and that is no failure.
        seconds: wall time by stage.
        usage: what the language model was asked, by stage.
        templates: fingerprint (SHA-256) of each template that took part.
    """

    user: str | None
    sources: tuple[str, ...]
    target: str
    items: tuple[Recommendation, ...]
    source: str
    degraded: bool = False
    reason: str | None = None
    notes: tuple[str, ...] = ()
    shuffles: int = 0
    tau: float | None = None
    enough_evidence: bool | None = None
    model: str | None = None
    seconds: dict[str, float] = Field(default_factory=dict)
    usage: dict[str, Usage] = Field(default_factory=dict)
    templates: dict[str, str] = Field(default_factory=dict)
