"""What a reply consists of. Reads nothing, produces the events of a conversation, told apart by `type`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from retrieval.types import Frozen
from xdrec_agent.converse.state import ClarifyingQuestion, DialogueState
from xdrec_agent.converse.understanding import Act, Remark
from xdrec_agent.types import Recommendation, Recommendations


class Understood(Frozen):
    """What the dialogue has come to after the turn; `text` says it in one line.

    `nlu` names who read the turn; `degraded` that a model should have and could not, and `reason` says how.
    `dialogue` is the id under which the dialogue is kept by now, None if it is not.
    """

    type: Literal["understood"] = "understood"
    dialogue: str | None = None
    state: DialogueState
    act: Act
    remarks: tuple[Remark, ...] = ()
    text: str
    nlu: Literal["rules", "rules+model"] = "rules"
    degraded: bool = False
    reason: str | None = None


class Asked(Frozen):
    """A question to the user; `options` are the answers as they are shown, in the order of `question.options`."""

    type: Literal["asked"] = "asked"
    question: ClarifyingQuestion
    text: str
    options: tuple[str, ...] = ()


class Ranked(Frozen):
    """A ranking without reasons; they follow."""

    type: Literal["ranked"] = "ranked"
    answer: Recommendations


class Explained(Frozen):
    """An item of the last ranking with its reason."""

    type: Literal["explained"] = "explained"
    item: Recommendation


class Said(Frozen):
    """A sentence."""

    type: Literal["said"] = "said"
    text: str


class Done(Frozen):
    """The end of a reply; `dialogue` is the id under which the dialogue is kept, None if it is not."""

    type: Literal["done"] = "done"
    dialogue: str | None


Event = Annotated[Understood | Asked | Ranked | Explained | Said | Done, Field(discriminator="type")]
"""One part of a reply. In order: understood; asked, or said, or ranked and its explained; done."""
