"""What is said back. Reads states, questions and remarks, produces sentences of prompts/LANG/chat.yaml.

Titles and whatever users wrote are data: they are put into sentences as one visible line, bounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Final

from pydantic import BaseModel, ConfigDict

from retrieval.templates import plain, prompts_dir, read_yaml
from retrieval.types import Filter, Item
from xdrec_agent.converse.language import known_language
from xdrec_agent.converse.state import AnswerOption, ClarifyingQuestion, DialogueState, ItemRef
from xdrec_agent.converse.understanding import Note, Remark

_LONGEST_TITLE: Final = 80
_MOST_NAMED: Final = 8  # items that a summary names


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
def chat_sentences(language: str) -> ChatSentences:
    """The sentences of a language. Raises UsageError: there is no such language, TemplateError: its file is wrong."""
    return read_yaml(prompts_dir() / known_language(language) / "chat.yaml", ChatSentences)


def quoted_title(item: ItemRef | Item, language: str) -> str:
    """A title as the language quotes it."""
    return chat_sentences(language).title.format(title=plain(item.title, _LONGEST_TITLE))


def _quoted_titles(items: Sequence[ItemRef], language: str) -> str:
    return chat_sentences(language).comma.join(quoted_title(item, language) for item in items[-_MOST_NAMED:])


def remark_sentences(remarks: Iterable[Remark], language: str) -> list[str]:
    """The sentences of remarks, each once."""
    notes = chat_sentences(language).notes
    said = (notes[remark.note].format(text=plain(remark.text, _LONGEST_TITLE)) for remark in remarks)
    return list(dict.fromkeys(said))


def question_sentence(question: ClarifyingQuestion, language: str, domains: Sequence[str] = ()) -> str:
    """The sentence of a question, with its options or, for a target, with the domains."""
    sentences = chat_sentences(language)
    named = [option_text(option, language) for option in question.options]
    options = sentences.or_.join(named or (domains if question.kind == "target" else ()))
    alone = f"{question.kind}_alone"
    name = alone if not options and alone in sentences.asks else question.kind
    return sentences.asks[name].format(text=plain(question.text, _LONGEST_TITLE), options=options)


def option_text(option: AnswerOption, language: str) -> str:
    """An option as it is shown."""
    if option.item is not None:
        return f"{quoted_title(option.item, language)} ({option.item.domain})"
    return plain(option.creator or "", _LONGEST_TITLE)


def summary(state: DialogueState) -> str:
    """What a state comes to, in one line."""
    sentences, language = chat_sentences(state.language), state.language
    parts: list[tuple[str, dict[str, object]]] = []
    if state.target:
        parts.append(("direction", {"sources": sentences.comma.join(state.sources), "target": state.target}))
    mentioned = {
        "likes": [opinion.item for opinion in state.likes],
        "dislikes": [opinion.item for opinion in state.dislikes],
        "rejected": list(state.rejected),
    }
    parts += [(name, {"items": _quoted_titles(items, language)}) for name, items in mentioned.items() if items]
    parts += _limits(state.filter, sentences.comma)
    if state.wish:
        parts.append(("wish", {"text": plain(state.wish, 300)}))
    return "; ".join(sentences.state[name].format(**values) for name, values in parts)


def _limits(limits: Filter, comma: str) -> Iterable[tuple[str, dict[str, object]]]:
    given = [name for name in ("year_from", "year_to") if getattr(limits, name) is not None]
    if given:
        years: dict[str, object] = {"first": limits.year_from, "last": limits.year_to}
        yield given[0] if len(given) == 1 else "years", years
    for name in ("categories", "not_categories", "creators", "languages"):
        if values := getattr(limits, name):
            yield name, {"values": comma.join(plain(value, _LONGEST_TITLE) for value in values)}


def item_facts(item: Item, language: str) -> str:
    """What the catalogue says of an item."""
    sentences = chat_sentences(language)
    creators = sentences.comma.join(plain(name, _LONGEST_TITLE) for name in item.creators)
    title = sentences.facts["by" if creators else "alone"].format(title=quoted_title(item, language), creators=creators)
    parts = [title]
    if item.year is not None:
        parts.append(sentences.facts["year"].format(year=item.year))
    if item.series and item.volume is not None:
        series, volume = plain(item.series, _LONGEST_TITLE), f"{item.volume:g}"
        parts.append(sentences.facts["series"].format(series=series, volume=volume))
    if item.categories:
        parts.append(sentences.comma.join(plain(category, 40) for category in item.categories))
    facts = sentences.facts["comma"].join(parts)
    return sentences.facts["sentence"].format(facts=facts, description=plain(item.description, 300))
