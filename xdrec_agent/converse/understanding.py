"""What one turn says. Reads nothing, produces the frozen frame that an NLU fills and the state update applies."""

from __future__ import annotations

from typing import Literal, Protocol

from pydantic import Field

from retrieval.types import Frozen
from xdrec_agent.converse.language import Language
from xdrec_agent.converse.state import ClarifyingQuestion, DialogueState, ItemRef, Length, Opinion

Act = Literal["rank", "ask", "why", "why_not", "tell", "save", "say"]
"""What a turn wants done; "say": nothing but a word back."""
Note = Literal[
    "off_topic", "greeting", "thanks", "bye", "help", "restarted", "dropped_question", "language", "no_length",
    "no_category", "not_language", "no_creator", "no_domain", "nothing_shown", "nothing_left", "bounded",
    "model_failed", "model_disagreed",
]  # fmt: skip
"""Remarks, by the name of their sentence in prompts/LANG/chat.yaml."""


class Remark(Frozen):
    """A remark, and the words that it is about."""

    note: Note
    text: str = Field(default="", max_length=200)


class FilterChange(Frozen):
    """What becomes of the filter.

    `add` names the fields whose values join those that are there instead of replacing them; `clear` the fields that are
    emptied first; `allow` categories that are no longer refused.
    """

    year_from: int | None = None
    year_to: int | None = None
    categories: tuple[str, ...] = ()
    not_categories: tuple[str, ...] = ()
    creators: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    attributes: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    add: frozenset[str] = frozenset()
    clear: frozenset[str] = frozenset()
    allow: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing changes."""
        return self == FilterChange()


class Understanding(Frozen):
    """What one turn changes.

    Attributes:
        act: what is wanted; None: whatever follows from the changes.
        known: items that are known or refused, without an opinion.
        forget: items whose opinion is taken back; `forget_last`: the latest like is.
        about: the items that the act is about.
        another_list: other items than the shown ones are wanted.
        no_length: drop the limit on length.
    """

    act: Act | None = None
    likes: tuple[Opinion, ...] = ()
    dislikes: tuple[Opinion, ...] = ()
    known: tuple[ItemRef, ...] = ()
    forget: tuple[ItemRef, ...] = ()
    forget_last: bool = False
    about: tuple[ItemRef, ...] = ()
    another_list: bool = False
    restart: bool = False
    target: str | None = None
    filter: FilterChange = FilterChange()
    length: Length | None = None
    no_length: bool = False
    wish: str | None = None
    k: int | None = None
    language: Language | None = None
    language_fixed: bool = False
    questions: tuple[ClarifyingQuestion, ...] = ()
    remarks: tuple[Remark, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing was understood, but for the language."""
        return self == Understanding(language=self.language)

    def notes(self) -> frozenset[Note]:
        """The names of the remarks."""
        return frozenset(remark.note for remark in self.remarks)


class NLU(Protocol):
    """Natural language understanding."""

    def understand(self, text: str, state: DialogueState) -> Understanding:
        """What a turn changes, read in the state that it is said in. Raises StoreError."""
        ...
