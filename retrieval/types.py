"""The currency of XDRec: the few frozen types that every stage takes and returns.

Reads nothing, produces nothing; everything else imports it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

LIKED = 0.5
"""Smallest preference that counts as liked (4 of 5 stars, a purchase, a finished work)."""
DISLIKED = -0.5
"""Largest preference that counts as disliked (2 of 5 stars)."""

EVENT_WEIGHTS: Mapping[str, float] = {"view": 0.25, "play": 0.5, "purchase": 0.75, "finish": 1.0}
"""Preference that an implicit event stands for when the data names no weight, in (0, 1]."""

Preference = tuple[str, str, str, float, int | None]
"""User, domain, item id, preference in [-1, 1], and time (Unix seconds, None if unknown)."""

Attribute = str | int | float | bool | tuple[str, ...]
Text = Annotated[str, Field(min_length=1)]


class Frozen(BaseModel):
    """Base of all currency types: immutable, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Item(Frozen):
    """One work, product, course … of a domain's catalogue.

    `edition_of` is the id of the work that this is an edition of (items with the same one are never recommended
    together). `attributes` holds what the catalogue knows beyond the named fields; tuples are sets of tags.
    `available=False` withdraws the item: it stays in histories and is never recommended.
    """

    domain: Text
    id: Text
    title: Text
    aliases: tuple[str, ...] = ()
    creators: tuple[str, ...] = ()
    year: int | None = None
    language: str | None = None
    categories: tuple[str, ...] = ()
    series: str | None = None
    volume: float | None = None
    edition_of: str | None = None
    description: str = ""
    links: tuple[str, ...] = ()
    media: tuple[str, ...] = ()
    available: bool = True
    attributes: dict[str, Attribute] = Field(default_factory=dict)

    def content_hash(self) -> str:
        """SHA-256 (hex) of the item's whole content: equal hashes mean that nothing changed."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    @property
    def themes(self) -> tuple[str, ...]:
        """The `themes` attribute as a tuple, empty if the catalogue has none."""
        value = self.attributes.get("themes", ())
        return value if isinstance(value, tuple) else (str(value),)


class Interaction(Frozen):
    """What a user did with an item: a rating on a scale of 1 to 5, or an implicit event with a weight in (0, 1]."""

    user: Text
    domain: Text
    item: Text
    kind: Text = "rating"
    value: float
    timestamp: int | None = None
    """Unix seconds; None if unknown."""

    @model_validator(mode="after")
    def _value_in_range(self) -> Self:
        low, high = (1.0, 5.0) if self.kind == "rating" else (0.0, 1.0)
        if not low <= self.value <= high or (self.kind != "rating" and self.value == 0):
            msg = f"{self.kind} {self.value:g} is outside {low:g} to {high:g}"
            raise ValueError(msg)
        return self

    @property
    def preference(self) -> float:
        """In [-1, 1]: (rating - 3) / 2 for ratings, the weight for implicit events."""
        return (self.value - 3) / 2 if self.kind == "rating" else self.value


class HistoryEntry(Frozen):
    """An item that the user knows, their preference, and the time (Unix seconds, None if unknown)."""

    item: Item
    preference: float = Field(default=1.0, ge=-1, le=1)
    timestamp: int | None = None

    @property
    def liked(self) -> bool:
        """Whether the preference is at least `LIKED`."""
        return self.preference >= LIKED

    @property
    def disliked(self) -> bool:
        """Whether the preference is at most `DISLIKED`."""
        return self.preference <= DISLIKED


class History(Frozen):
    """What one user knows, in one or several domains, oldest first."""

    user: str | None = None
    entries: tuple[HistoryEntry, ...] = ()

    @property
    def last_seen(self) -> int | None:
        """The latest time of an entry; None if none has a time."""
        return max((e.timestamp for e in self.entries if e.timestamp is not None), default=None)

    @property
    def liked(self) -> tuple[HistoryEntry, ...]:
        """The liked entries, oldest first."""
        return tuple(e for e in self.entries if e.liked)

    @property
    def disliked(self) -> tuple[HistoryEntry, ...]:
        """The disliked entries, oldest first."""
        return tuple(e for e in self.entries if e.disliked)

    def within(self, *domains: str) -> History:
        """The part of the history that lies in these domains."""
        return History(user=self.user, entries=tuple(e for e in self.entries if e.item.domain in domains))


class Filter(Frozen):
    """What a recommended item must fulfil. All given fields must hold; within a field any value suffices.

    Texts are compared without regard to case. `attributes` compares an attribute (or any of its tags) to the values;
    an item with any of the values of `not_attributes` fails; so does one that has, of an attribute in
    `within_attributes`, any value that is not among those given (an item without the attribute fulfils both).
    """

    year_from: int | None = None
    year_to: int | None = None
    categories: tuple[str, ...] = ()
    not_categories: tuple[str, ...] = ()
    creators: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    attributes: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    not_attributes: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    within_attributes: dict[str, tuple[str, ...]] = Field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether nothing is asked for."""
        return self == Filter()


class Query(Frozen):
    """What to recommend in the domain `target` by `history` (its entries in other domains) and `text`.

    Entries of the history in the target domain are known already and never recommended.
    """

    history: History = History()
    target: Text
    text: str | None = None
    filter: Filter = Filter()
    k: int = Field(default=20, ge=1)

    @field_validator("text")
    @classmethod
    def _blank_text_is_none(cls, text: str | None) -> str | None:
        return text if text and text.strip() else None


class Match(Frozen):
    """How well one history item matches a candidate.

    `similarity` is the cosine of the domain-centred vectors in [-1, 1]; `share` the item's part of the score in [0, 1].
    """

    domain: str
    item: str
    similarity: float
    share: float


class Candidate(Frozen):
    """An item that was ranked, with its score (higher is better, comparable within one ranking only)."""

    item: Item
    score: float
    matches: tuple[Match, ...] = ()
    """The liked history items that match it, best first; empty for a query by text alone."""
    stages: dict[str, float] = Field(default_factory=dict)
    """What each signal adds to the score (`retrieval.ranking.SIGNALS`), and the model ("llm")."""
    confidence: float | None = Field(default=None, ge=0, le=1)
    """How often an item with such a score was the liked one among 20 of equal popularity; None: not calibrated."""


class Ranking(Frozen):
    """Candidates in order, best first, and what put them there.

    `source` names the stage that made the order ("retrieval", "listwise-logprob", "hybrid" …). `degraded` means that a
    better source failed and `reason` says how; an LLM failure is never a ranking of its own.
    """

    candidates: tuple[Candidate, ...]
    source: str
    degraded: bool = False
    reason: str | None = None

    @model_validator(mode="after")
    def _reason_when_degraded(self) -> Self:
        if self.degraded and not self.reason:
            msg = "a degraded ranking must say why"
            raise ValueError(msg)
        return self

    @property
    def ids(self) -> tuple[str, ...]:
        """The candidates' item ids, best first."""
        return tuple(c.item.id for c in self.candidates)


class Entity(Frozen):
    """One end of a relation: an item, or a person, place, award, series …, with `domain=None` and its name as `id`."""

    domain: str | None = None
    id: Text
    name: Text
    """An item's title, else the name itself."""

    @property
    def is_item(self) -> bool:
        """Whether it is an item of a catalogue."""
        return self.domain is not None


class Relation(Frozen):
    """One fact, `subject` `predicate` `object`: "Blade Runner" "based_on" "Do Androids Dream of Electric Sheep?"."""

    subject: Entity
    predicate: Text
    object: Entity


class Path(Frozen):
    """A connection of the history item `start` with the candidate `end`: one to three relations.

    Each relation shares an entity with the one before; it keeps its own direction, so a step may lead from its object
    to its subject.
    """

    start: Entity
    end: Entity
    relations: tuple[Relation, ...]
