"""What a language model reads in a turn. Reads a turn and the rules' understanding, produces it completed.

The model answers with an object; nothing of it counts that the catalogue and the person's own words do not bear out.
Where it and the rules differ, what can be verified wins: a title that both the turn and the catalogue have.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Final, Literal

from pydantic import BaseModel, Field
from rapidfuzz import fuzz

from retrieval.errors import UsageError
from retrieval.templates import PromptTemplate, load_template
from retrieval.titles import normalise
from xdrec_agent.converse.lexicon import Lexicon
from xdrec_agent.converse.rules.disambiguation import Chooser
from xdrec_agent.converse.rules.mentions import Mention
from xdrec_agent.converse.rules.sentiment_cues import Role, Said
from xdrec_agent.converse.rules.titles_in_text import look_up
from xdrec_agent.converse.state import DialogueState, ItemRef, Opinion
from xdrec_agent.converse.understanding import FilterChange, Remark, Understanding
from xdrec_agent.llm import LLMClient, Origin

MAX_TOKENS: Final = 300
_NAMED: Final = 8  # items of each list that the prompt shows
_OCCURS: Final = 85.0  # similarity from which a title is in the person's words
Short = Annotated[str, Field(max_length=120)]
Shorts = Annotated[list[Short], Field(max_length=8)]


class Intent(BaseModel):
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


async def ask_model(
    client: LLMClient, text: str, state: DialogueState, domains: Sequence[str], *, user: str | None, deadline_s: float
) -> Intent:
    """What the model reads in the turn.

    Raises:
        LLMError: it gives no usable answer.
        TimeoutError: it gives none in time.
    """
    template: PromptTemplate = load_template("converse")
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
        intent, _usage = await client.structured(messages, Intent, max_tokens=MAX_TOKENS, origin=origin)
    return intent


def completed(
    read: Understanding, intent: Intent, text: str, state: DialogueState, lexicon: Lexicon, domains: Sequence[str]
) -> Understanding:
    """The rules' understanding with what of the model's can be verified. Raises StoreError."""
    found = _Verified(text, state, lexicon, domains)
    mine = {o.item.key: o for o in (*read.likes, *read.dislikes)}
    taken = {*mine, *(ref.key for ref in (*read.known, *read.forget, *read.about))}
    likes, dislikes, known = list(read.likes), list(read.dislikes), list(read.known)
    for titles, role, into in ((intent.likes, "like", likes), (intent.dislikes, "dislike", dislikes)):
        for item in found.items(titles, role):  # type: ignore[arg-type]
            opinion = mine.get(item.key)
            if opinion is not None and opinion.cued:
                continue
            if opinion is None and item.key in taken:
                continue
            likes[:] = [o for o in likes if o.item.key != item.key]
            dislikes[:] = [o for o in dislikes if o.item.key != item.key]
            into.append(Opinion(item=item, preference=1.0 if role == "like" else -1.0))
    known += [item for item in found.items(intent.known, "known") if item.key not in taken]
    changes = found.filter(intent, read.filter)
    left = tuple(q for q in read.questions if q.kind != "unknown" or not found.answers(q.text))
    adds = bool(set(likes) - set(read.likes) or set(dislikes) - set(read.dislikes) or len(known) > len(read.known))
    understood = adds or changes != read.filter or left != read.questions
    remarks = read.remarks + ((Remark(note="model_disagreed"),) if found.dropped else ())
    act, wish = read.act, read.wish
    if understood and act == "say" and "off_topic" in read.notes():
        act, remarks = None, tuple(remark for remark in remarks if remark.note != "off_topic")
    # Where the rules have read something, what a model calls a wish is mostly that again, in the person's words.
    if read.empty and not adds and found.occurs(intent.wish):
        wish = intent.wish.strip() or None
    return read.model_copy(
        update={
            "likes": tuple(likes),
            "dislikes": tuple(dislikes),
            "known": tuple(known),
            "filter": changes,
            "questions": left,
            "remarks": remarks,
            "act": act,
            "wish": wish,
        }
    )


class _Verified:
    """What of a model's words the turn and the catalogue bear out; `dropped` tells whether something was not."""

    def __init__(self, text: str, state: DialogueState, lexicon: Lexicon, domains: Sequence[str]) -> None:
        self.key = normalise(text)
        self.text = text
        self.lexicon = lexicon
        self.domains = domains
        self.chooser = Chooser(lexicon, domains, state)
        self.words = lexicon.of(state.target) if state.target else None
        self.dropped = False
        self._named: list[str] = []

    def occurs(self, words: str) -> bool:
        """Whether the person wrote this, give or take a letter."""
        key = normalise(words)
        return len(key) > 1 and fuzz.partial_ratio(key, self.key) >= _OCCURS and len(key) <= len(self.key) + 3

    def items(self, titles: Sequence[str], role: Role) -> list[ItemRef]:
        """The items of these titles; the rest is dropped."""
        out = []
        for title in titles:
            ids = look_up(title, self.lexicon, self.domains) if self.occurs(title) else ()
            said = Said(Mention(0, 0, title, ids), role, 0.0, self.text, "", 0)
            chosen = self.chooser.choose(said)[0] if ids else ()
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

    def filter(self, intent: Intent, rules: FilterChange) -> FilterChange:
        """The rules' change of the filter, and of the model's what they have not and the catalogue has."""
        words = self.words
        if words is None:
            return rules
        update: dict[str, object] = {}
        for name in ("categories", "not_categories"):
            known = [words.categories[c.casefold()] for c in getattr(intent, name) if c.casefold() in words.categories]
            known = [category for category in known if self.occurs(category)]
            taken = {*rules.categories, *rules.not_categories, *rules.allow}
            if extra := [category for category in known if category not in taken and not taken]:
                update[name] = tuple(extra)
        creators = [full for c in intent.creators if self.occurs(c) for full in words.creators.get(normalise(c), ())]
        if creators and not rules.creators and len(creators) == 1:
            update["creators"] = tuple(creators)
        if rules.year_from is None and rules.year_to is None:
            for name in ("year_from", "year_to"):
                year = getattr(intent, name)
                if year is not None and str(year) in self.text:
                    update[name] = year
        return rules.model_copy(update=update)
