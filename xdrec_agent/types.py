"""What the agent gives back: recommendations with reasons, and how they came about. All frozen."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from retrieval.types import Candidate, Frozen, Item, Match
from xdrec_agent.grounding import Claim
from xdrec_agent.llm import Usage

ExplanationSource = Literal["llm", "repaired", "evidence"]


class Explanation(Frozen):
    """Why an item is recommended.

    `cites` are history items ("domain", "id"); a reason never cites an item that the person has not got. `source` is
    "llm" for what the model wrote and the check let pass, "repaired" for what it wrote again or what is left of it
    without unsupported sentences, "evidence" for sentences built from the catalogue's facts; `reason` says why it is
    not the first. `claims` are all that the text says, each with what bears it out.
    """

    text: str
    cites: tuple[Match, ...] = ()
    traits: tuple[str, ...] = ()
    source: ExplanationSource
    reason: str | None = None
    claims: tuple[Claim, ...] = ()
    language: str = "en"
    style: str = "short"
    usage: Usage = Usage()
    """What writing it cost."""
    template: str | None = None
    """Fingerprint (SHA-256) of the template that the model was asked with; None: it was not asked."""


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

    @property
    def candidate(self) -> Candidate:
        """What it was before it was recommended."""
        return Candidate(
            item=self.item, score=self.score, matches=self.matches, stages=self.stages, confidence=self.confidence
        )


class Recommendations(Frozen):
    """The answer to one query.

    Attributes:
        id: under which it is kept (`xdrec explain ID`); None: it is not.
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

    id: str | None = None
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

    def completed(self, items: Iterable[Recommendation], seconds: float) -> Recommendations:
        """The same answer with these explained items in their ranks, and what explaining them cost.

        Args:
            items: from `Recommender.explain`, in any order; ranks that are not among them stay as they are.
            seconds: wall time of the explaining.
        """
        explained = {item.rank: item for item in items}
        reasons = [item.explanation for item in explained.values() if item.explanation]
        template = next((reason.template for reason in reasons if reason.template), None)
        return self.model_copy(
            update={
                "items": tuple(explained.get(item.rank, item) for item in self.items),
                "seconds": self.seconds | {"explain": seconds},
                "usage": self.usage | {"explain": sum((reason.usage for reason in reasons), Usage())},
                "templates": self.templates | ({"explain": template} if template else {}),
            }
        )
