"""The model NLU. Reads a turn and the rules' understanding, produces it completed by what a language model reads.

The model answers with slots; a slot counts only where the catalogue and the user's own words have it, too. Where
it and the rules differ, what can be verified wins: a title that both the turn and the catalogue have.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Final, Literal

from pydantic import BaseModel, Field
from rapidfuzz import fuzz

from retrieval.errors import UsageError
from retrieval.templates import load_template
from retrieval.titles import normalise
from xdrec_agent.converse.grammar import Role
from xdrec_agent.converse.language import grammar_of, languages_of
from xdrec_agent.converse.lexicon import Lexicon
from xdrec_agent.converse.rules.disambiguation import Disambiguator
from xdrec_agent.converse.rules.mention_masking import Mention
from xdrec_agent.converse.rules.sentiment_cues import MentionInContext
from xdrec_agent.converse.rules.titles import TitleFinder
from xdrec_agent.converse.state import DialogueState, ItemRef, Opinion
from xdrec_agent.converse.understanding import FilterChange, Remark, Understanding
from xdrec_agent.llm import LLMClient, Origin

MAX_TOKENS: Final = 300
_NAMED: Final = 8  # items of each list that the prompt shows
_OCCURS: Final = 85.0  # similarity from which a title is in the user's words
Short = Annotated[str, Field(max_length=120)]
Shorts = Annotated[list[Short], Field(max_length=8)]


class ModelSlots(BaseModel):
    """What the model answers; everything is checked before it counts."""

    likes: Shorts = []
    dislikes: Shorts = []
    known: Shorts = []
    categories: Shorts = []
    not_categories: Shorts = []
    creators: Shorts = []
    year_from: int | None = None
    year_to: int | None = None
    wish: Short = ""
    kind: Literal["recommend", "off_topic"] = "recommend"


async def ask_for_slots(
    client: LLMClient, text: str, state: DialogueState, domains: Sequence[str], *, user: str | None, deadline_s: float
) -> ModelSlots:
    """What the model reads in the turn.

    Raises:
        LLMError: it gives no usable answer.
        TimeoutError: it gives none in time.
    """
    template = load_template("converse")
    if template.task != "converse":
        raise UsageError(f"template converse is for task {template.task!r}", hint="reinstall xdrec")
    messages = template.messages(
        text=text,
        liked=[opinion.item for opinion in state.likes[-_NAMED:]],
        disliked=[opinion.item for opinion in state.dislikes[-_NAMED:]],
        shown=list(state.shown[:_NAMED]),
        domains=list(domains),
    )
    origin = Origin(template=template.fingerprint, user=user)
    async with asyncio.timeout(deadline_s):
        slots, _usage = await client.structured(messages, ModelSlots, max_tokens=MAX_TOKENS, origin=origin)
    return slots


def complete_understanding(
    read: Understanding, slots: ModelSlots, text: str, state: DialogueState, lexicon: Lexicon
) -> Understanding:
    """The rules' understanding with what of the model's can be verified. Raises StoreError."""
    verified = _Verified(text, state, lexicon)
    by_rules = {o.item.key: o for o in (*read.likes, *read.dislikes)}
    taken = {*by_rules, *(ref.key for ref in (*read.known, *read.forget, *read.about))}
    likes, dislikes, known = list(read.likes), list(read.dislikes), list(read.known)
    for titles, role, into in ((slots.likes, "like", likes), (slots.dislikes, "dislike", dislikes)):
        for item in verified.items(titles, role):  # type: ignore[arg-type]
            opinion = by_rules.get(item.key)
            if opinion is not None and opinion.cued:
                continue
            if opinion is None and item.key in taken:
                continue
            likes[:] = [o for o in likes if o.item.key != item.key]
            dislikes[:] = [o for o in dislikes if o.item.key != item.key]
            into.append(Opinion(item=item, preference=1.0 if role == "like" else -1.0))
    known += [item for item in verified.items(slots.known, "known") if item.key not in taken]
    changes = verified.filter(slots, read.filter)
    questions = tuple(q for q in read.questions if q.kind != "unknown" or not verified.answers(q.text))
    new_opinions = {*likes, *dislikes} - {*read.likes, *read.dislikes}
    adds_items = bool(new_opinions) or len(known) > len(read.known)
    understood = adds_items or changes != read.filter or questions != read.questions
    remarks = read.remarks + ((Remark(note="model_disagreed"),) if verified.dropped else ())
    act, wish = read.act, read.wish
    if understood and act == "say" and "off_topic" in read.notes():
        act, remarks = None, tuple(remark for remark in remarks if remark.note != "off_topic")
    # Where the rules have read something, what a model calls a wish is mostly that again, in the user's words.
    if read.empty and not adds_items and verified.occurs(slots.wish):
        wish = slots.wish.strip() or None
    return read.model_copy(
        update={
            "likes": tuple(likes),
            "dislikes": tuple(dislikes),
            "known": tuple(known),
            "filter": changes,
            "questions": questions,
            "remarks": remarks,
            "act": act,
            "wish": wish,
        }
    )


class _Verified:
    """Checks a model's slots against the turn and the catalogue; `dropped` tells whether one failed."""

    def __init__(self, text: str, state: DialogueState, lexicon: Lexicon) -> None:
        self.key = normalise(text)
        self.text = text
        grammar = grammar_of(languages_of(text, state.language))
        domains = lexicon.names()
        self.titles = TitleFinder(lexicon, domains, grammar)
        self.disambiguator = Disambiguator(lexicon, domains, state, grammar)
        self.words = lexicon.of(state.target) if state.target else None
        self.dropped = False
        self._named: list[str] = []

    def occurs(self, words: str) -> bool:
        """Whether the user wrote this, give or take a letter."""
        key = normalise(words)
        return len(key) > 1 and fuzz.partial_ratio(key, self.key) >= _OCCURS and len(key) <= len(self.key) + 3

    def items(self, titles: Sequence[str], role: Role) -> list[ItemRef]:
        """The items of these titles; the rest is dropped."""
        out = []
        for title in titles:
            ids = self.titles.look_up(title) if self.occurs(title) else ()
            said = MentionInContext(Mention(0, 0, title, ids), role, 0.0, before=self.text, after="")
            chosen = self.disambiguator.choose(said)[0] if ids else ()
            if len(chosen) == 1:
                out.append(chosen[0])
                self._named.append(normalise(title))
            else:
                self.dropped = True
        return out

    def answers(self, unknown: str) -> bool:
        """Whether an unknown title of the rules is one that the model has named and the catalogue has."""
        key = normalise(unknown)
        return any(fuzz.ratio(key, named) >= _OCCURS or named in key for named in self._named)

    def filter(self, slots: ModelSlots, rules: FilterChange) -> FilterChange:
        """The rules' change of the filter, and of the model's what they have not and the catalogue has."""
        words = self.words
        if words is None:
            return rules
        update: dict[str, object] = {}
        if not (rules.categories or rules.not_categories or rules.allow):
            for name in ("categories", "not_categories"):
                known = (words.categories.get(category.casefold()) for category in getattr(slots, name))
                if categories := tuple(category for category in known if category and self.occurs(category)):
                    update[name] = categories
        creators = [full for c in slots.creators if self.occurs(c) for full in words.creators.get(normalise(c), ())]
        if len(creators) == 1 and not rules.creators:
            update["creators"] = tuple(creators)
        if rules.year_from is None and rules.year_to is None:
            for name in ("year_from", "year_to"):
                year = getattr(slots, name)
                if year is not None and str(year) in self.text:
                    update[name] = year
        return rules.model_copy(update=update)
