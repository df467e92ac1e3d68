"""State update and policy. Reads an understanding and a state, produces the next state, what to do, and the query.

The latest word on an item counts: who likes what was disliked or rejected takes it from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from retrieval.types import Filter, History, HistoryEntry, Item, Query
from xdrec_agent.converse.lexicon import Lexicon
from xdrec_agent.converse.state import (
    MOST_ITEMS,
    MOST_WISH,
    ClarifyingQuestion,
    DialogueState,
    ItemRef,
    Length,
    Opinion,
    QuestionKind,
)
from xdrec_agent.converse.understanding import Act, FilterChange, Remark, Understanding

_LISTS: Final = ("categories", "not_categories", "creators", "languages")
_MOST_TEXT: Final = 600  # characters that liked items of the target may add to the query's text


@dataclass(frozen=True)
class DialogueDecision:
    """What a turn led to: the state after it and what is to be done."""

    state: DialogueState
    act: Act
    about: tuple[ItemRef, ...] = ()
    remarks: tuple[Remark, ...] = ()


def update_state(state: DialogueState, said: Understanding, domains: Sequence[str]) -> DialogueDecision:
    """Apply what a turn says, and decide what to do.

    Args:
        domains: the domains that there are: with two of them, one implies the other.
    """
    if said.restart:
        state = DialogueState(
            language=state.language, language_fixed=state.language_fixed, sources=state.sources, target=state.target
        )
    state = _with_opinions(_with_direction(_with_language(state, said), said, domains), said)
    state = state.model_copy(
        update={
            "filter": _filtered(state.filter, said.filter),
            "length": None if said.no_length else said.length or state.length,
            "wish": _wished(state.wish, said.wish),
            "k": said.k or state.k,
            "question": said.questions[0] if said.questions else None,
            "focus": said.about or state.focus,
        }
    )
    return _decide(state, said)


def _with_language(state: DialogueState, said: Understanding) -> DialogueState:
    if said.language is None or (state.language_fixed and not said.language_fixed):
        return state
    fixed = said.language_fixed or state.language_fixed
    return state.model_copy(update={"language": said.language, "language_fixed": fixed})


def _with_direction(state: DialogueState, said: Understanding, domains: Sequence[str]) -> DialogueState:
    """The directions: a new target's old place is taken by what it replaces."""
    target, sources = said.target or state.target, state.sources
    if target != state.target:
        left = tuple(domain for domain in sources if domain != target)
        sources = left or ((state.target,) if state.target else ())
        state = state.model_copy(update={"shown": (), "focus": ()})
    if target is None and said.likes:
        liked = tuple(dict.fromkeys(opinion.item.domain for opinion in said.likes))
        others = [domain for domain in domains if domain not in liked]
        sources = sources or liked
        target = others[0] if len(others) == 1 else None
    if target is not None and not sources:
        sources = tuple(domain for domain in domains if domain != target)
    return state.model_copy(update={"target": target, "sources": sources})


def _with_opinions(state: DialogueState, said: Understanding) -> DialogueState:
    likes, dislikes = list(state.likes), list(state.dislikes)
    if said.forget_last and likes and not said.forget:
        likes.pop()
    gone = {ref.key for ref in said.forget}
    likes = _latest(likes, said.likes, gone | {o.item.key for o in said.dislikes})
    dislikes = _latest(dislikes, said.dislikes, gone | {o.item.key for o in said.likes})
    now = {o.item.key for o in (*said.likes, *said.dislikes)} | gone
    refused = (*state.rejected, *said.known, *(state.shown if said.another_list else ()))
    rejected = [ref for key, ref in {ref.key: ref for ref in refused}.items() if key not in now]
    lists: dict[str, list[Opinion] | list[ItemRef]] = {"likes": likes, "dislikes": dislikes, "rejected": rejected}
    return state.model_copy(update={name: tuple(items[-MOST_ITEMS:]) for name, items in lists.items()})


def _latest(old: Iterable[Opinion], new: Sequence[Opinion], gone: set[tuple[str, str]]) -> list[Opinion]:
    """The old opinions that still hold, then the new ones; of the same item the last."""
    fresh = {opinion.item.key: opinion for opinion in new}
    kept = [opinion for opinion in old if opinion.item.key not in gone and opinion.item.key not in fresh]
    return [*kept, *fresh.values()]


def _filtered(old: Filter, change: FilterChange) -> Filter:
    """The filter after a change; of years that contradict one another the newer stay."""
    values = old.model_dump()
    for name in change.clear:
        values[name] = Filter.model_fields[name].get_default(call_default_factory=True)
    if change.year_from is not None or change.year_to is not None:
        values |= _years(values, change)
    for name in _LISTS:
        if said := getattr(change, name):
            before = values[name] if name in change.add else ()
            values[name] = tuple(dict.fromkeys((*before, *said)))
    values["categories"] = tuple(c for c in values["categories"] if c not in change.not_categories)
    if wanted := {*change.allow, *map(str.casefold, change.categories)}:
        values["not_categories"] = tuple(c for c in values["not_categories"] if c.casefold() not in wanted)
    values["attributes"] = values["attributes"] | change.attributes
    return Filter(**values)


def _years(values: dict[str, int | None], change: FilterChange) -> dict[str, int | None]:
    first = values["year_from"] if change.year_from is None else change.year_from
    last = values["year_to"] if change.year_to is None else change.year_to
    if first is not None and last is not None and first > last:
        first = first if change.year_from is not None else None
        last = last if change.year_to is not None else None
    return {"year_from": first, "year_to": last}


def _wished(old: str | None, new: str | None) -> str | None:
    """The wishes joined; the oldest words go where there are too many."""
    if new is None or (old and new in old):
        return old
    joined = f"{old}; {new}" if old else new
    return joined if len(joined) <= MOST_WISH else joined[-MOST_WISH:].partition(" ")[2]


def _decide(state: DialogueState, said: Understanding) -> DialogueDecision:
    """The policy: ask what is unclear, do what is asked for, ask for what is missing, else rank."""
    act: Act | None = "ask" if said.questions else said.act
    if act is not None:
        return DialogueDecision(state, act, said.about, said.remarks)
    missing: QuestionKind
    if state.target is None:
        missing = "target"
    elif not (state.wish or state.likes):
        missing = "likes"
    else:
        return DialogueDecision(state, "rank", (), said.remarks)
    return DialogueDecision(
        state.model_copy(update={"question": ClarifyingQuestion(kind=missing)}), "ask", (), said.remarks
    )


def query_of(state: DialogueState, lexicon: Lexicon, user: str | None = None, past: History | None = None) -> Query:
    """The question to the recommender that a state comes to.

    Rejected items and those of the target that were rated are part of the history, and so are never recommended. Liked
    items of the target cannot be matched (nothing of the target is): what the catalogue says of them joins the text.

    Args:
        past: what the store knows of the user; what was said in the dialogue replaces it.

    Raises:
        StoreError: the catalogue cannot be read.
    """
    target = state.target or ""
    opinions = {o.item.key: o.preference for o in (*state.likes, *state.dislikes)}
    for ref in state.rejected:
        opinions.setdefault(ref.key, 0.0)
    items = lexicon.items_of(opinions)
    before = [e for e in past.entries if (e.item.domain, e.item.id) not in opinions] if past else []
    entries = [HistoryEntry(item=items[key], preference=p) for key, p in opinions.items() if key in items]
    near = [e.item for e in entries if e.item.domain == target and e.liked]
    words = [*([state.wish] if state.wish else []), *map(_described, near)]
    return Query(
        history=History(user=user, entries=(*before, *entries)),
        target=target,
        text=" ".join(words)[:_MOST_TEXT] or None,
        filter=_with_length(state.filter, state.length, lexicon, target),
        k=state.k,
    )


def _described(item: Item) -> str:
    return f"{item.title}: {', '.join((*item.categories, *item.themes))}."


def _with_length(filter_: Filter, length: Length | None, lexicon: Lexicon, target: str) -> Filter:
    """The limit on length as a filter: the catalogue's values that keep to it, none if there is none."""
    if length is None or not target:
        return filter_
    least = length.least if length.least is not None else float("-inf")
    most = length.most if length.most is not None else float("inf")
    values = [value for value in lexicon.of(target).numbers.get(length.attribute, ()) if least <= value <= most]
    forms = ({f"{value:g}", str(value), str(int(value) if value == int(value) else value)} for value in values)
    written = tuple(text for texts in forms for text in texts)
    return filter_.model_copy(update={"attributes": filter_.attributes | {length.attribute: written or ("",)}})
