"""What the program says by itself, in a language. Reads evidence and prompts/LANGUAGE, produces sentences and facts.

Everything that comes from a catalogue goes through `plain` or `visible` on its way into a sentence.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path as FilePath
from typing import Final, TypeVar

from pydantic import Field

from retrieval.errors import TemplateError, UsageError
from retrieval.templates import PromptTemplate, languages, load_template, load_yaml, plain, read_yaml, shipped_templates
from retrieval.types import Entity, Frozen, Item, Path
from xdrec_agent.grounding import Evidence, Fact, FactKind, LanguageRules, load_rules

SHORT: Final = "short"
_TITLE: Final = 80
_VALUE: Final = 60
_MOST: Final = 3

Shown = Callable[[object, int], str]
"""How untrusted text is made harmless: `plain` for prompts and grammars, a variant of `visible` for people."""


class Closed(Frozen):
    """Sentences of which a model only chooses the parts."""

    traits: str
    relation: str
    nearest: str
    asked: str
    text: str


class Fallback(Frozen):
    """Sentences from the catalogue's facts alone."""

    related: str
    shares: str
    with_: str
    also: str
    nearest: str
    text: str


class OwnSentences(Frozen):
    """A file of sentences for a field in which people do not "like" what they have; others stay the language's."""

    closed: dict[str, str] = Field(default_factory=dict)
    fallback: dict[str, str] = Field(default_factory=dict)


_Said = TypeVar("_Said", Closed, Fallback)


class Sentences(Frozen):
    """prompts/LANGUAGE/sentences.yaml: each value is a format with the names in braces that the English one has."""

    language: str
    title: str
    named: str
    decade: str
    comma: str
    and_: str
    then: str
    facts: dict[FactKind, str]
    relations: dict[str, str]
    other_relation: str
    closed: Closed
    fallback: Fallback


@dataclass(frozen=True)
class Phrased:
    """A fact as the model reads it."""

    id: str
    text: str


@dataclass(frozen=True)
class Voice:
    """A language and a style: how reasons are asked for and what is said without a model."""

    language: str
    style: str
    template: PromptTemplate
    sentences: Sentences
    rules: LanguageRules

    def title(self, item: Item) -> str:
        """What the item is called in this language: an alias in its script if there is one, else its title."""
        if not self.rules.own_script:
            return item.title
        own = [alias for alias in item.aliases if _in_script(alias, self.rules.script)]
        return own[-1] if own else item.title

    def quoted(self, item: Item, show: Shown) -> str:
        """The title as it stands in a sentence."""
        return self.sentences.title.format(title=show(self.title(item), _TITLE))

    def value(self, fact: Fact, value: str, show: Shown) -> str:
        """One of a fact's values in this language."""
        if fact.kind == "period":
            return self.sentences.decade.format(year=value)
        return self.trait(value, show) if fact.kind in {"theme", "category", "asked"} else show(value, _VALUE)

    def trait(self, trait: str, show: Shown) -> str:
        """A category or theme in this language."""
        return next(iter(self.rules.terms.get(trait.casefold(), ())), None) or show(trait, _VALUE)

    def joined(self, parts: Sequence[str]) -> str:
        """ "a", "a and b", "a, b and c"."""
        parts = list(dict.fromkeys(parts))
        if len(parts) < 2:
            return "".join(parts)
        return self.sentences.comma.join(parts[:-1]) + self.sentences.and_ + parts[-1]

    def fact(self, fact: Fact, evidence: Evidence, show: Shown = plain) -> str:
        """A fact as a sentence."""
        known = next((k for k in evidence.known if k.label == fact.label), None)
        if fact.path and known:
            text = self.chain(fact.path, evidence, show)
            return self.sentences.fallback.related.format(liked=self.quoted(known.item, show), relation=text)
        values = self.joined([self.value(fact, v, show) for v in fact.values[:_MOST]])
        item, liked = self.quoted(evidence.item, show), self.quoted(known.item, show) if known else ""
        if known and item == liked:
            item, liked = self._kind(evidence.item.domain, item), self._kind(known.item.domain, liked)
        return self.sentences.facts[fact.kind].format(item=item, liked=liked, values=values)

    def facts(self, evidence: Evidence) -> tuple[Phrased, ...]:
        """All facts as the model reads them."""
        return tuple(Phrased(fact.id, self.fact(fact, evidence)) for fact in evidence.facts)

    def chain(self, path: Path, evidence: Evidence, show: Shown = plain) -> str:
        """A path as clauses, each relation in its own direction."""
        entities = [e for r in path.relations for e in (r.subject, r.object)]
        called = {(e.domain, e.id): self._entity(e, evidence, show) for e in entities}
        clauses = [
            self.sentences.relations.get(r.predicate, self.sentences.other_relation).format(
                subject=self._told_apart(r.subject, called),
                object=self._told_apart(r.object, called),
                predicate=show(r.predicate.replace("_", " "), _VALUE),
            )
            for r in path.relations
        ]
        return self.sentences.then.join(clauses)

    def _entity(self, entity: Entity, evidence: Evidence, show: Shown) -> str:
        for item in evidence.items:
            if (item.domain, item.id) == (entity.domain, entity.id):
                return self.quoted(item, show)
        name = show(entity.name, _TITLE)
        if entity.is_item:
            namesake = next((i for i in evidence.items if i.title == entity.name), None)
            return self.quoted(namesake, show) if namesake else self.sentences.title.format(title=name)
        return name

    def _told_apart(self, entity: Entity, called: dict[tuple[str | None, str], str]) -> str:
        """With what it is ("the film …") where two things have one name."""
        name = called[entity.domain, entity.id]
        if sum(other == name for other in called.values()) < 2 or entity.domain is None:
            return name
        return self._kind(entity.domain, name)

    def _kind(self, domain: str, title: str) -> str:
        """A title with what it is the title of: "the film “Solaris”"."""
        noun = self.rules.noun(domain)
        return self.sentences.named.format(noun=noun, title=title) if noun else title


@cache
def load_voice(language: str, style: str) -> Voice:
    """The voice of prompts/LANGUAGE/explain.jinja ("short") or explain-STYLE.jinja.

    Raises:
        UsageError: there is no folder for the language, or no template for the style.
        TemplateError: a file of the folder is not what it should be.
    """
    if language not in languages():
        raise UsageError(f"no templates for language {language!r}", hint=f"one of: {', '.join(languages())}")
    name = f"{language}/explain" if style == SHORT else f"{language}/explain-{style}"
    if name not in shipped_templates():
        raise UsageError(f"no style {style!r} in {language!r}", hint=f"one of: {', '.join(styles(language))}")
    sentences = load_yaml(language, "sentences", Sentences)
    return Voice(language, style, load_template(name), sentences, load_rules(language))


@cache
def own_sentences(path: FilePath) -> OwnSentences:
    """A file that the setting `explain.sentences` names. Raises TemplateError."""
    return read_yaml(path, OwnSentences)


def reworded(voice: Voice, own: OwnSentences) -> Voice:
    """The voice with these sentences in the places of the language's own. Raises TemplateError: there are no such."""
    said = voice.sentences
    changes = {"closed": _reworded(said.closed, own.closed), "fallback": _reworded(said.fallback, own.fallback)}
    return replace(voice, sentences=said.model_copy(update=changes))


def _reworded(shipped: _Said, own: dict[str, str]) -> _Said:
    if unknown := sorted(own.keys() - type(shipped).model_fields.keys()):
        raise TemplateError(f"no sentences {', '.join(unknown)}", hint="compare it with prompts/en/sentences.yaml")
    return shipped.model_copy(update=own)


def styles(language: str) -> tuple[str, ...]:
    """The styles that there are templates for in a language."""
    start = f"{language}/explain-"
    return (SHORT, *(name.removeprefix(start) for name in shipped_templates() if name.startswith(start)))


def _in_script(text: str, script: str) -> bool:
    """Whether all letters of a text are of a script, by their Unicode names."""
    letters = [c for c in text if c.isalpha()]
    return bool(letters) and all(unicodedata.name(c, "").startswith(script) for c in letters)
