"""What is said back. Reads states, questions and remarks, produces sentences of prompts/LANGUAGE/chat.yaml.

Titles and whatever people wrote are data: they are put into sentences as one visible line, bounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Final

from pydantic import BaseModel, ConfigDict

from retrieval.templates import load_yaml, plain
from retrieval.types import Filter, Item
from xdrec_agent.converse.state import DialogueState, ItemRef, Language, Option, Question
from xdrec_agent.converse.understanding import Note, Remark

_TITLE: Final = 80
_NAMED: Final = 8  # items that a summary names


class ChatSentences(BaseModel):
    """The file chat.yaml of one language; names in braces are filled in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    comma: str
    or_: str
    title: str
    notes: dict[Note, str]
    asks: dict[str, str]
    state: dict[str, str]
    facts: dict[str, str]
    why_not_other: str
    why_none: str
    saved: str
    not_saved: str
    nothing_to_save: str


@cache
def sentences(language: Language) -> ChatSentences:
    """The sentences of a language. Raises TemplateError."""
    return load_yaml(language, "chat", ChatSentences)


def titled(ref: ItemRef | Item, language: Language) -> str:
    """A title as the language quotes it."""
    return sentences(language).title.format(title=plain(ref.title, _TITLE))


def noted(remarks: Iterable[Remark], language: Language) -> list[str]:
    """The sentences of remarks, each once."""
    words = sentences(language).notes
    return list(dict.fromkeys(words[remark.note].format(text=plain(remark.text, _TITLE)) for remark in remarks))


def asked(question: Question, language: Language, domains: Sequence[str] = ()) -> str:
    """The sentence of a question, with its options or, for a target, with the domains."""
    words = sentences(language)
    named = [option_text(option, language) for option in question.options]
    options = words.or_.join(named or (domains if question.kind == "target" else ()))
    name = question.kind if options or f"{question.kind}_alone" not in words.asks else f"{question.kind}_alone"
    return words.asks[name].format(text=plain(question.text, _TITLE), options=options)


def option_text(option: Option, language: Language) -> str:
    """An option as it is shown."""
    if option.item is not None:
        return f"{titled(option.item, language)} ({option.item.domain})"
    return plain(option.creator or "", _TITLE)


def summary(state: DialogueState) -> str:
    """What a state comes to, in one line."""
    words, language = sentences(state.language), state.language
    parts: list[tuple[str, Mapping[str, object]]] = []
    if state.target:
        parts.append(("direction", {"sources": words.comma.join(state.sources), "target": state.target}))
    for name in ("likes", "dislikes"):
        refs = [opinion.item for opinion in getattr(state, name)]
        if refs:
            parts.append((name, {"items": words.comma.join(titled(ref, language) for ref in refs[-_NAMED:])}))
    if state.rejected:
        items = words.comma.join(titled(ref, language) for ref in state.rejected[-_NAMED:])
        parts.append(("rejected", {"items": items}))
    parts += _limits(state.filter, words.comma)
    if state.wish:
        parts.append(("wish", {"text": plain(state.wish, 300)}))
    return "; ".join(words.state[name].format(**values) for name, values in parts)


def _limits(wanted: Filter, comma: str) -> Iterable[tuple[str, Mapping[str, object]]]:
    years = {"first": wanted.year_from, "last": wanted.year_to}
    if wanted.year_from is not None and wanted.year_to is not None:
        yield "years", years
    elif wanted.year_from is not None:
        yield "year_from", years
    elif wanted.year_to is not None:
        yield "year_to", years
    for name in ("categories", "not_categories", "creators", "languages"):
        if values := getattr(wanted, name):
            yield name, {"values": comma.join(plain(value, _TITLE) for value in values)}


def facts(item: Item, language: Language) -> str:
    """What the catalogue says of an item."""
    words = sentences(language)
    title = titled(item, language)
    creators = words.comma.join(plain(name, _TITLE) for name in item.creators)
    parts = [words.facts["by" if creators else "alone"].format(title=title, creators=creators)]
    if item.year is not None:
        parts.append(words.facts["year"].format(year=item.year))
    if item.series and item.volume is not None:
        parts.append(words.facts["series"].format(series=plain(item.series, _TITLE), volume=f"{item.volume:g}"))
    if item.categories:
        parts.append(words.comma.join(plain(category, 40) for category in item.categories))
    end = "。" if language == "zh" else ". "
    return ("，" if language == "zh" else ", ").join(parts) + end + plain(item.description, 300)
