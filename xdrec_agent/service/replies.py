"""What the service answers beside `Recommendations`. Reads nothing, produces the JSON of replies and stream events."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from retrieval.store import DomainSummary
from retrieval.types import Frozen, Item
from xdrec_agent.converse import DialogueSummary
from xdrec_agent.llm import Usage
from xdrec_agent.types import Explanation, Recommendations


class Domains(Frozen):
    """What can be recommended from and to."""

    domains: tuple[DomainSummary, ...]


class Found(Frozen):
    """Items whose titles could be meant, best first."""

    items: tuple[Item, ...]


class DialogueList(Frozen):
    """A person's dialogues, the latest first."""

    dialogues: tuple[DialogueSummary, ...]


class Noted(Frozen):
    """What became of feedback. `interaction`: it counts as the person's taste from the next recommendation on."""

    interaction: bool


class Health(Frozen):
    """Whether the service can work. `degraded`: it can, without a language model; `detail` says what is missing."""

    status: Literal["ok", "degraded"]
    detail: str = ""


class RankingEvent(Frozen):
    """First in a stream: the ranking; reasons follow."""

    type: Literal["ranking"] = "ranking"
    answer: Recommendations


class ExplanationEvent(Frozen):
    """The reason for one recommendation, as soon as it is written."""

    type: Literal["explanation"] = "explanation"
    rank: int = Field(ge=1)
    explanation: Explanation


class DoneEvent(Frozen):
    """Last in a stream: everything is there. `seconds` and `usage` are by stage."""

    type: Literal["done"] = "done"
    answer: str | None
    degraded: bool
    seconds: dict[str, float]
    usage: dict[str, Usage]
