"""Schemas of requests, replies and stream events. Every text and list of a request has a bound."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, WithJsonSchema, model_validator

from retrieval.store import DomainSummary
from retrieval.templates import languages
from retrieval.types import Frozen, Item
from xdrec_agent.converse import DialogueSummary, chat_languages
from xdrec_agent.llm import Usage
from xdrec_agent.types import Explanation, Recommendations

# NUL is no character to Postgres, and nobody types it.
_NO_NUL = r"^[^\x00]*$"
ShortText = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=_NO_NUL)]
"""A domain, an id, a category: short, but anybody's."""
Title = Annotated[str, StringConstraints(min_length=1, max_length=300, pattern=_NO_NUL)]
UserText = Annotated[str, StringConstraints(min_length=1, max_length=2000, pattern=_NO_NUL)]
"""Something that a user wrote."""
Year = Annotated[int, Field(ge=-5000, le=9999)]


def _one_of(known: tuple[str, ...]) -> AfterValidator:
    def check(language: str) -> str:
        if language not in known:
            raise ValueError(f"no language {language!r}, one of: {', '.join(known)}")
        return language

    return AfterValidator(check)


Language = Annotated[str, _one_of(languages()), WithJsonSchema({"type": "string", "enum": list(languages())})]
"""That reasons are told in: a folder under prompts/."""
ChatLanguage = Annotated[
    str, _one_of(chat_languages()), WithJsonSchema({"type": "string", "enum": list(chat_languages())})
]
"""That conversations are held in."""


class ItemRef(Frozen):
    """An item of a catalogue by its id."""

    domain: ShortText
    id: ShortText


class FilterRequest(Frozen):
    """What a recommended item must fulfil (`Filter`)."""

    year_from: Year | None = None
    year_to: Year | None = None
    categories: tuple[ShortText, ...] = Field(default=(), max_length=50)
    not_categories: tuple[ShortText, ...] = Field(default=(), max_length=50)
    creators: tuple[ShortText, ...] = Field(default=(), max_length=50)
    languages: tuple[ShortText, ...] = Field(default=(), max_length=50)
    attributes: dict[ShortText, tuple[ShortText, ...]] = Field(default_factory=dict, max_length=50)


class RecommendRequest(Frozen):
    """A question: from what to what, for whom, and what is said now."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"sources": ["films"], "target": "books", "likes": ["Blade Runner", "Alien"], "k": 5},
                {"sources": ["films"], "target": "books", "user": "ada", "filter": {"year_from": 1990}},
                {"sources": ["books"], "target": "films", "about": "a quiet story about memory", "explain": False},
            ]
        }
    )

    sources: tuple[ShortText, ...] = Field(min_length=1, max_length=20)
    target: ShortText
    user: ShortText | None = None
    """Whose history counts; with a key that is bound to a user it is that user."""
    likes: tuple[Title | ItemRef, ...] = Field(default=(), max_length=200)
    """Titles or items that were liked."""
    dislikes: tuple[Title | ItemRef, ...] = Field(default=(), max_length=200)
    about: UserText | None = None
    filter: FilterRequest = FilterRequest()
    k: int = Field(default=10, ge=1, le=100)
    explain: bool = True
    """Whether reasons are written; the ranking does not wait for them in a stream."""
    language: Language | None = None
    """Of the reasons; None: the configured one."""
    style: ShortText | None = None
    """Of the reasons; None: the configured one."""


class ExplainRequest(Frozen):
    """A question about an answer."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"answer": "k3m9x2v7q8w4e6rt", "rank": 1, "kind": "why"},
                {"answer": "k3m9x2v7q8w4e6rt", "rank": 1, "kind": "over", "other": 3},
                {"answer": "k3m9x2v7q8w4e6rt", "kind": "why-not", "item": "Dune"},
                {"answer": "k3m9x2v7q8w4e6rt", "kind": "without", "item": "Blade Runner"},
            ]
        }
    )

    answer: ShortText
    kind: Literal["why", "over", "why-not", "without"] = "why"
    rank: int | None = Field(default=None, ge=1, le=100)
    """Which recommendation; for "why" and "over"."""
    other: int | None = Field(default=None, ge=1, le=100)
    """"over": which other recommendation it is compared with."""
    item: Title | ItemRef | None = None
    """"why-not": an item of the target that is missing; "without": something liked, as if it were not known."""
    language: Language | None = None

    @model_validator(mode="after")
    def _has_what_its_kind_needs(self) -> Self:
        needed = {"why": ("rank",), "over": ("rank", "other"), "why-not": ("item",), "without": ("item",)}
        missing = [name for name in needed[self.kind] if getattr(self, name) is None]
        if missing:
            msg = f"kind {self.kind!r} needs {' and '.join(missing)}"
            raise ValueError(msg)
        return self


class FeedbackRequest(Frozen):
    """What somebody did with an item."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"answer": "k3m9x2v7q8w4e6rt", "item": {"domain": "books", "id": "b1"}, "kind": "rating", "value": 5},
                {"user": "ada", "item": {"domain": "books", "id": "b1"}, "kind": "known"},
            ]
        }
    )

    item: ItemRef
    kind: Literal["click", "rating", "conversion", "known"]
    """"known": it is known already; "conversion": it was bought, borrowed, watched …"""
    value: float | None = Field(default=None, ge=0, le=1e9, allow_inf_nan=False)
    """1 to 5 for a rating; what a conversion was worth, if that is counted."""
    answer: ShortText | None = None
    """The answer that showed the item, so that its arm gets the credit."""
    user: ShortText | None = None

    @model_validator(mode="after")
    def _value_fits(self) -> Self:
        if self.kind == "rating" and (self.value is None or not 1 <= self.value <= 5):
            msg = "a rating needs a value from 1 to 5"
            raise ValueError(msg)
        if self.kind in {"click", "known"} and self.value is not None:
            msg = f"a {self.kind} has no value"
            raise ValueError(msg)
        return self


class ChatRequest(Frozen):
    """One turn of a conversation."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"text": "I loved Blade Runner and Alien. What should I read?"},
                {"text": "something shorter, nothing after 1990", "sources": ["films"], "target": "books"},
            ]
        }
    )

    text: UserText
    dialogue: ShortText | None = None
    """The conversation that goes on; None: a new one."""
    user: ShortText | None = None
    sources: tuple[ShortText, ...] = Field(default=(), max_length=20)
    """Of a new conversation; what is said can change them."""
    target: ShortText | None = None
    language: ChatLanguage = "en"
    """Of a new conversation, until somebody writes in the other."""


class TextPart(BaseModel):
    """A part of an OpenAI message; only text is read."""

    type: Literal["text"]
    text: Annotated[str, StringConstraints(max_length=20_000, pattern=_NO_NUL)]


class ChatMessage(BaseModel):
    """A message as OpenAI's clients send it. Fields that are not named here are accepted and not looked at."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Annotated[str, StringConstraints(max_length=20_000, pattern=_NO_NUL)] | tuple[TextPart, ...] | None = None

    @property
    def text(self) -> str:
        """The text of all parts."""
        if isinstance(self.content, tuple):
            return "\n".join(part.text for part in self.content)
        return self.content or ""


class StreamOptions(BaseModel):
    """OpenAI's options of a stream."""

    include_usage: bool = False


class CompletionRequest(BaseModel):
    """A chat completion as OpenAI's clients ask for it; what sets how a model samples is not looked at."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"model": "xdrec", "messages": [{"role": "user", "content": "Books for somebody who loved Alien?"}]}
            ]
        }
    )

    model: ShortText
    messages: tuple[ChatMessage, ...] = Field(min_length=1, max_length=400)
    stream: bool = False
    stream_options: StreamOptions | None = None
    user: ShortText | None = None


class DomainList(Frozen):
    """What can be recommended from and to."""

    domains: tuple[DomainSummary, ...]


class ItemList(Frozen):
    """Items whose titles could be meant, best first."""

    items: tuple[Item, ...]


class DialogueList(Frozen):
    """A user's dialogues, the latest first."""

    dialogues: tuple[DialogueSummary, ...]


class FeedbackReply(Frozen):
    """What became of feedback. `interaction`: it counts as the user's taste from the next recommendation on."""

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
