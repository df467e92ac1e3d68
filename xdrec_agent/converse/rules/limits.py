"""What limits a choice. Reads nothing, produces the type that the files about single limits fill, and their words."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from xdrec_agent.converse.state import Length, Question
from xdrec_agent.converse.understanding import FilterChange, Remark

_REFUSED: Final = re.compile(
    r"(?:\b(?:no|not?|nothing|without|never|avoid|less|except|hate|skip|anything but|"
    r"(?:don['’]?t|do not|doesn['’]?t|can['’]?t) (?:want|recommend|suggest|like|need|show|give|be|have"
    r"|stand)(?: me| it| to be)?)\b"
    r"(?:\s+(?:any|more|too|a|an|much|of|the|really|into|in|be|that|is|so|very)\b)*[\s,]*)$"
    r"|(?:不要|别|不想|不看|不喜欢|讨厌|不是|不爱|除了|(?<!有)没有|拒绝|非)[^，。,.；]{0,6}$",
    re.I,
)
ADDS: Final = re.compile(r"^\s*(?:or|also|and|plus)\b|\b(?:too|as well|also)\s*[.!]*$|也行|也可以|也要|还要|或者", re.I)
"""Words that add to a limit instead of replacing it."""


@dataclass
class Limits:
    """What was found; `spans` are the characters that said it."""

    change: FilterChange = field(default_factory=FilterChange)
    length: Length | None = None
    no_length: bool = False
    refused_creators: tuple[str, ...] = ()
    questions: list[Question] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)

    def put(self, **changes: object) -> None:
        """Add to the change of the filter."""
        self.change = self.change.model_copy(update=changes)


def refused(text: str, start: int) -> bool:
    """Whether what begins at `start` is refused by the words before it."""
    return _REFUSED.search(text[:start]) is not None
