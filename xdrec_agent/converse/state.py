"""Dialogue state. Reads nothing, produces the frozen slots that every turn changes."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from retrieval.types import Filter, Frozen, Item
from xdrec_agent.converse.language import DEFAULT_LANGUAGE, Language

QuestionKind = Literal["unknown", "ambiguous", "unknown_creator", "ambiguous_creator", "likes", "target"]

DEFAULT_SHOWN: Final = 5
"""Items of one answer unless the user asks for more."""
MOST_SHOWN: Final = 20
MOST_ITEMS: Final = 200
"""Most likes, dislikes or rejected items that a dialogue keeps; the oldest are forgotten."""
MOST_WISH: Final = 300
"""Most characters of the free wish."""


class ItemRef(Frozen):
    """An item of a catalogue, with the title that it had when the user spoke of it."""

    domain: str
    id: str
    title: str = Field(max_length=500)

    @classmethod
    def of(cls, item: Item) -> ItemRef:
        """The reference to an item."""
        return cls(domain=item.domain, id=item.id, title=item.title[:500])

    @property
    def key(self) -> tuple[str, str]:
        """Domain and id."""
        return self.domain, self.id


class Opinion(Frozen):
    """An item and how it was liked, in [-1, 1]; `cued`: words said so, it was not only mentioned."""

    item: ItemRef
    preference: float = Field(default=1.0, ge=-1, le=1)
    cued: bool = True


class Length(Frozen):
    """A limit on a numeric attribute of the target catalogue, as "pages" or "minutes"; both ends count."""

    attribute: str
    least: float | None = None
    most: float | None = None


class AnswerOption(Frozen):
    """One answer to a question: an item, or a creator's name."""

    item: ItemRef | None = None
    creator: str | None = None


class ClarifyingQuestion(Frozen):
    """What has to be asked, and what it was about.

    `text` is what the user wrote; `preference` the opinion that waits for the answer (None: the user gave none).
    """

    kind: QuestionKind
    text: str = Field(default="", max_length=200)
    options: tuple[AnswerOption, ...] = ()
    preference: float | None = None


class DialogueState(Frozen):
    """The slots of a dialogue.

    Attributes:
        sources, target: domains; empty and None until the user says or implies them.
        likes, dislikes: the latest opinion on each item, oldest first, of any domain.
        rejected: items that must not be shown: known already, or refused.
        filter, length: what a recommended item must fulfil.
        wish: what is wanted, in the user's words.
        shown: the last answer's items in order; `focus`: those spoken of last.
        k: how many to show.
        question: what was asked and not answered yet.
        language_fixed: whether the user asked for the reply's language, so that it does not follow theirs.
    """

    language: Language = DEFAULT_LANGUAGE
    language_fixed: bool = False
    sources: tuple[str, ...] = ()
    target: str | None = None
    likes: tuple[Opinion, ...] = ()
    dislikes: tuple[Opinion, ...] = ()
    rejected: tuple[ItemRef, ...] = ()
    filter: Filter = Filter()
    length: Length | None = None
    wish: str | None = Field(default=None, max_length=MOST_WISH)
    shown: tuple[ItemRef, ...] = ()
    focus: tuple[ItemRef, ...] = ()
    k: int = Field(default=DEFAULT_SHOWN, ge=1, le=MOST_SHOWN)
    question: ClarifyingQuestion | None = None
