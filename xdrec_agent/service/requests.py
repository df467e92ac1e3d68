"""What can be asked of the service. Reads JSON, produces validated requests; every text and list has a bound."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from retrieval.types import Filter, Frozen

# NUL is no character to Postgres, and nobody types it.
_NO_NUL = r"^[^\x00]*$"
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=_NO_NUL)]
"""A domain, an id, a category: short, but anybody's."""
Title = Annotated[str, StringConstraints(min_length=1, max_length=300, pattern=_NO_NUL)]
Said = Annotated[str, StringConstraints(min_length=1, max_length=2000, pattern=_NO_NUL)]
"""Something that a person wrote."""
Year = Annotated[int, Field(ge=-5000, le=9999)]
Language = Literal["en", "zh"]


class ItemRef(Frozen):
    """An item of a catalogue by its id."""

    domain: Name
    id: Name


class FilterRequest(Frozen):
    """What a recommended item must fulfil (`Filter`)."""

    year_from: Year | None = None
    year_to: Year | None = None
    categories: tuple[Name, ...] = Field(default=(), max_length=50)
    not_categories: tuple[Name, ...] = Field(default=(), max_length=50)
    creators: tuple[Name, ...] = Field(default=(), max_length=50)
    languages: tuple[Name, ...] = Field(default=(), max_length=50)
    attributes: dict[Name, tuple[Name, ...]] = Field(default_factory=dict, max_length=50)

    def filter(self) -> Filter:
        """The same, as the retriever takes it."""
        return Filter.model_validate(self.model_dump())


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

    sources: tuple[Name, ...] = Field(min_length=1, max_length=20)
    target: Name
    user: Name | None = None
    """Whose history counts; with a key that is bound to a user it is that user."""
    likes: tuple[Title | ItemRef, ...] = Field(default=(), max_length=200)
    """Titles or items that were liked."""
    dislikes: tuple[Title | ItemRef, ...] = Field(default=(), max_length=200)
    about: Said | None = None
    filter: FilterRequest = FilterRequest()
    k: int = Field(default=10, ge=1, le=100)
    explain: bool = True
    """Whether reasons are written; the ranking does not wait for them in a stream."""
    language: Language | None = None
    """Of the reasons; None: the configured one."""
    style: Name | None = None
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

    answer: Name
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
    answer: Name | None = None
    """The answer that showed the item, so that its arm gets the credit."""
    user: Name | None = None

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

    text: Said
    dialogue: Name | None = None
    """The conversation that goes on; None: a new one."""
    user: Name | None = None
    sources: tuple[Name, ...] = Field(default=(), max_length=20)
    """Of a new conversation; what is said can change them."""
    target: Name | None = None
    language: Language = "en"
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

    model: Name
    messages: tuple[ChatMessage, ...] = Field(min_length=1, max_length=400)
    stream: bool = False
    stream_options: StreamOptions | None = None
    user: Name | None = None
