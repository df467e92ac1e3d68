"""Attacks on prompts. Reads a template and a hostile text, produces what the text does besides standing in its place.

Needs no model: the prompt with the hostile text is compared with the one in which a harmless word stands.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

from eval.studies.attacks import Attack, attacked
from eval.studies.llm_judge import Answered
from retrieval.index import Facets
from retrieval.templates import PromptTemplate, languages
from retrieval.types import Candidate, History, HistoryEntry, Item, Match
from xdrec_agent.enrich.facet_questions import template_variables as asked_about
from xdrec_agent.explain import load_locale
from xdrec_agent.grounding import gather
from xdrec_agent.llm import Messages
from xdrec_agent.rerank.judges import LabelledItem

BOUND: Final = 300
"""Characters of a prompt that one text may take: as much as a person's own words get, the longest field."""

_MARK: Final = "Marigold"
_PLACE: Final = re.compile(rf"(?:[^\n,:()]+, )*{_MARK}(?:, [^\n,:()]+)*")
"""The harmless word in a prompt, with what it is joined to: a long text may push its neighbours out."""
_DELIMITERS: Final = frozenset('[]<>{}|`"')
_INNOCENT: Final = Item(
    domain="books",
    id="innocent",
    title="Garden Days",
    creators=("A. Writer",),
    categories=("fiction", "novel"),
    description="A year in a garden.",
)
_OTHER: Final = _INNOCENT.model_copy(update={"id": "other", "title": "Quiet Evenings"})
"""Not the title that an invisible spoof would be shown as: namesakes are told apart in a reason."""
_LOCALES: Final = tuple(load_locale(language, "short") for language in languages())


def _person(item: Item) -> dict[str, Any]:
    entry, other = HistoryEntry(item=item), HistoryEntry(item=_INNOCENT)
    return {
        "liked": [other, entry, other],
        "disliked": [other, entry],
        "text": item.title,
        "source": "films",
        "target": "books",
    }


def _list(item: Item) -> dict[str, Any]:
    candidates = [LabelledItem("A", _INNOCENT), LabelledItem("B", item), LabelledItem("C", _INNOCENT)]
    return _person(item) | {"candidates": candidates}


def _reason(item: Item) -> dict[str, Any]:
    candidate = Candidate(item=item, score=1, matches=tuple(_match(i) for i in (item, _OTHER)))
    history = History(entries=tuple(HistoryEntry(item=i) for i in (item, _OTHER)))
    facts = [fact for locale in _LOCALES for fact in locale.facts(gather(candidate, history, item.title, 2))]
    person = {"text": item.title, "source": "films", "target": "books"}
    return person | {"item": item, "title": item.title, "facts": facts, "wrong": (item.title,)}


def _match(item: Item) -> Match:
    return Match(domain=item.domain, item=item.id, similarity=0.5, share=0.5)


def _turn(item: Item) -> dict[str, Any]:
    """A person who says all that the catalogue says of an item, of which the titles are spoken of already."""
    said = ", ".join((item.title, *item.creators, *item.categories))
    known = {"liked": [_INNOCENT, item], "disliked": [item], "shown": [item, _INNOCENT]}
    return {"text": said, "domains": ["films", "books"]} | known


def _answers(item: Item) -> dict[str, Any]:
    """Two answers that name the item, with reasons that repeat all that the catalogue says of it."""
    said = ", ".join((item.title, *item.creators, *item.categories))
    answer = [Answered(_INNOCENT, "A year in a garden."), Answered(item, said)]
    return {"liked": [_INNOCENT, item], "first": answer, "second": answer, "source": "films", "target": "books"}


VARIABLES: Final[Mapping[str, Callable[[Item], Mapping[str, Any]]]] = {
    "item": lambda item: {"item": item, "facets": Facets()},
    "rerank": _list,
    "converse": _turn,
    "judge": lambda item: _person(item) | {"candidate": item},
    "explain": _reason,
    "enrich": asked_about,
    "compare": _answers,
}
"""For each task of `retrieval.templates.TASKS` its variables, with the item in every place that an item's text, or
what a person says, can come to."""

ENCODED: Final = frozenset({"item"})
"""Tasks whose text goes to the encoder, which follows no instructions: there is no place to break out of."""


def breaches(template: PromptTemplate, attack: Attack) -> list[str]:
    """What the hostile text does to a prompt besides standing where a harmless word would; empty if nothing.

    The prompt must have the same roles; differ from the harmless one in at most `BOUND` characters of the lines that
    show the word, so that no line is added; and hold the same delimiters and no control or format characters.
    """
    marked = attack.model_copy(update={"text": _MARK, "times": 1})
    harmless, hostile = (_prompt(template, attacked(_INNOCENT, one)) for one in (marked, attack))
    if not harmless or [m["role"] for m in hostile] != [m["role"] for m in harmless]:
        return [f"{template.name}: the roles are {[m['role'] for m in hostile]}"]
    return [
        f"{template.name}, {now['role']}: {problem}"
        for was, now in zip(harmless, hostile, strict=True)
        for problem in _differences(was["content"], now["content"])
    ]


def _prompt(template: PromptTemplate, item: Item) -> Messages:
    return template.messages(**VARIABLES[template.task](item))


def _differences(was: str, now: str) -> list[str]:
    found = []
    before, after = was.split("\n"), now.split("\n")
    if len(now.splitlines()) != len(before):
        found.append(f"{len(now.splitlines())} lines instead of {len(before)}")
    elif not all(map(_fits, before, after)):
        found.append("more changed than the places of the text, or it is too long")
    if Counter(c for c in now if c in _DELIMITERS) != Counter(c for c in was if c in _DELIMITERS):
        found.append("delimiters were added")
    if odd := {f"U+{ord(c):04X}" for c in now if c != "\n" and unicodedata.category(c).startswith("C")}:
        found.append(f"control or format characters: {', '.join(sorted(odd))}")
    return found


def _fits(before: str, after: str) -> bool:
    """Whether a line is the harmless one with at most `BOUND` characters in each place of the word."""
    place = rf".{{0,{BOUND}}}"
    return bool(re.fullmatch(place.join(map(re.escape, _PLACE.split(before))), after))
