"""What the model knows of an item. Reads an item, produces facets on which two answers agree.

A model that does not know a work makes something up, and makes up something else when it is asked in other words. What
the two answers do not share is dropped. Mood, period and audience come from short lists, where two guesses may meet by
chance, so they count only where a theme or the setting is shared as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import BaseModel, Field

from retrieval.index import Facets
from retrieval.templates import PromptTemplate, load_template, plain
from retrieval.types import Item
from xdrec_agent.errors import LLMReplyInvalid
from xdrec_agent.llm import LLMClient, Origin, Usage, gathered

Mood = Literal[
    "dark", "light", "funny", "sad", "tense", "hopeful", "romantic", "dreamy", "violent", "calm", "energetic",
    "melancholic", "scary", "thoughtful", "inspiring",
]  # fmt: skip
Period = Literal["ancient", "medieval", "early modern", "19th century", "20th century", "present", "future"]
Audience = Literal["children", "teenagers", "adults", "specialists", "everybody"]

MAX_TOKENS: Final = 200
_THEMES: Final = 5
_MOODS: Final = 2
_WORDS: Final = 3
"""Words of a theme or setting; a longer one is a sentence, and no facet."""


class FacetReply(BaseModel):
    """What the model answers, in the order in which it must: whether it knows the work comes first."""

    known: bool
    themes: Annotated[list[str], Field(max_length=_THEMES)] = []
    mood: Annotated[list[Mood], Field(max_length=_MOODS)] = []
    setting: str = ""
    period: Period | Literal[""] = ""
    audience: Audience | Literal[""] = ""


@dataclass(frozen=True)
class FacetAnswer:
    """Facets, what they cost, and whether one of the two replies could not be read (its facets count as empty)."""

    facets: Facets
    usage: Usage
    unreadable: bool = False


def load_wordings() -> tuple[PromptTemplate, PromptTemplate]:
    """The two wordings of the question."""
    return load_template("enrich"), load_template("enrich_again")


def template_variables(item: Item) -> Mapping[str, Any]:
    """What both templates are given."""
    return {"item": item, "moods": get_args(Mood), "periods": get_args(Period), "audiences": get_args(Audience)}


async def ask_twice(client: LLMClient, wordings: Sequence[PromptTemplate], item: Item) -> FacetAnswer:
    """Ask about an item in each wording at the same time.

    Raises:
        LLMError: the model does not answer. A reply that is no such object is no error: nothing is known then.
    """
    replies = await gathered(_ask(client, wording, item) for wording in wordings)
    usage = sum((usage for _, usage in replies), Usage())
    said = [reply for reply, _ in replies if reply is not None]
    if len(said) < len(replies):
        return FacetAnswer(Facets(), usage, unreadable=True)
    return FacetAnswer(agreed(*said), usage)


async def _ask(client: LLMClient, wording: PromptTemplate, item: Item) -> tuple[FacetReply | None, Usage]:
    messages = wording.messages(**template_variables(item))
    try:
        return await client.structured(
            messages, FacetReply, max_tokens=MAX_TOKENS, origin=Origin(template=wording.fingerprint)
        )
    except LLMReplyInvalid:
        return None, Usage(requests=1)


def agreed(one: FacetReply, other: FacetReply) -> Facets:
    """What both answers say, in the words and order of the first."""
    themes = _shared(map(_tidy, one.themes), map(_tidy, other.themes))
    setting = _shared([_tidy(one.setting)], [_tidy(other.setting)])
    if not (one.known and other.known and (themes or setting)):
        return Facets()
    return Facets(
        themes=themes,
        mood=_shared(one.mood, other.mood),
        setting=next(iter(setting), None),
        period=next(iter(_shared([one.period], [other.period])), None),
        audience=next(iter(_shared([one.audience], [other.audience])), None),
    )


def _shared(one: Iterable[str], other: Iterable[str]) -> tuple[str, ...]:
    theirs = {_key(text) for text in other} - {""}
    ours: dict[str, str] = {}
    for text in one:
        ours.setdefault(_key(text), text)
    return tuple(text for key, text in ours.items() if key in theirs)


def _tidy(text: str) -> str:
    """A facet as it is kept: harmless, in small letters; empty if it is a sentence."""
    tidy = plain(text, 60).casefold().strip(" .,;:!?-'")
    return tidy if 0 < len(tidy.split()) <= _WORDS else ""


def _key(text: str) -> str:
    """What two ways to write the same facet share: "The Seas" and "sea"."""
    words = re.findall(r"\w+", text.casefold())
    return " ".join(word.removesuffix("s") for word in words if word not in {"the", "a", "an", "of", "and"})
