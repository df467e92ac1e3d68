"""Surface realisation. Reads evidence and prompts/LANGUAGE, produces sentences in that language without a model.

Everything that comes from a catalogue goes through `Locale.show` on its way into a sentence.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path as FilePath
from string import Formatter
from typing import Final, Literal, NamedTuple, Self, TypeVar

from pydantic import BaseModel, Field

from retrieval.errors import TemplateError, UsageError
from retrieval.templates import PromptTemplate, load_template, load_yaml, plain, read_yaml, shipped_templates, visible
from retrieval.types import Entity, Frozen, Item, Path
from xdrec_agent.grounding import Evidence, Fact, FactKind, LanguageRules, load_rules

B = TypeVar("B", bound=BaseModel)
EntityKey = tuple[str | None, str]
"""Domain (None: no item) and id."""

SHORT: Final = "short"
_REFERENCE: Final = "en"
_TITLE: Final = 80
_VALUE: Final = 60
_VALUES_TOLD: Final = 3
_ITEMS_TOLD: Final = 2


class OwnSentences(Frozen):
    """Some of a language's sentences in other words, for a field in which people do not "like" what they have."""

    constrained: dict[Literal["traits", "relation", "nearest", "asked", "text"], str] = Field(default_factory=dict)
    fallback: dict[Literal["related", "shares", "with", "also", "nearest", "text"], str] = Field(default_factory=dict)


class Sentences(OwnSentences):
    """prompts/LANGUAGE/sentences.yaml: each value is a format with the names in braces that the English one has.

    Attributes:
        language: how the language is called in it.
        constrained: sentences of which a model only chooses the parts.
        fallback: sentences from the catalogue's facts alone.
        nouns: by domain, what stands before a title to tell it from another item's ("the film"); `named`: how.
        comma, and_, then: what joins the parts of a list, its last two, and clauses.
        and_before: by the beginning of the last part, what stands in the place of `and_`, the first that fits.
        relations: by predicate; `other_relation` is for all others.
    """

    language: str
    title: str
    nouns: dict[str, str]
    named: str
    decade: str
    comma: str
    and_: str = Field(alias="and")
    and_before: dict[str, str] = Field(default_factory=dict)
    then: str
    facts: dict[FactKind, str]
    relations: dict[str, str]
    other_relation: str


class FactLine(NamedTuple):
    """A fact as the model reads it."""

    id: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Locale:
    """A language and a style: how reasons are asked for and what is said without a model.

    Attributes:
        show: how untrusted text is made harmless, given a limit of characters: `plain` for prompts and grammars.
    """

    language: str
    style: str
    template: PromptTemplate
    sentences: Sentences
    rules: LanguageRules
    show: Callable[[object, int], str] = plain

    @property
    def for_people(self) -> Self:
        """The same for texts that people read, who see all of a title."""
        return replace(self, show=lambda text, limit: visible(text))

    def title(self, item: Item) -> str:
        """What the item is called in this language: an alias in its script if there is one, else its title."""
        aliases = item.aliases if self.rules.own_script else ()
        return next((alias for alias in reversed(aliases) if _in_script(alias, self.rules.script)), item.title)

    def quoted(self, item: Item) -> str:
        """The title as it stands in a sentence."""
        return self.sentences.title.format(title=self.show(self.title(item), _TITLE))

    def trait(self, trait: str) -> str:
        """A category or theme in this language."""
        return next(iter(self.rules.terms.get(trait.casefold(), ())), None) or self.show(trait, _VALUE)

    def traits(self, traits: Iterable[str]) -> str:
        """Categories and themes as one part of a sentence."""
        return self.joined([self.trait(trait) for trait in traits])

    def joined(self, parts: Sequence[str]) -> str:
        """ "a", "a and b", "a, b and c"."""
        *first, last = dict.fromkeys(parts) or [""]
        begins = last.lstrip("«“¿¡").casefold()
        fits = (and_ for start, and_ in self.sentences.and_before.items() if begins.startswith(start))
        return self.sentences.comma.join(first) + next(fits, self.sentences.and_) + last if first else last

    def text(self, sentences: Iterable[str]) -> str:
        """Sentences as one text."""
        return (" " if self.rules.spaces else "").join(sentences)

    def distinct(self, names: Mapping[EntityKey, str]) -> dict[EntityKey, str]:
        """The names; where a film and a book have the same one, with what each is."""
        count, nouns = Counter(names.values()), self.sentences.nouns
        return {
            key: self.sentences.named.format(noun=noun, title=name)
            if count[name] > 1 and (noun := nouns.get(key[0] or ""))
            else name
            for key, name in names.items()
        }

    def fact(self, fact: Fact, evidence: Evidence) -> str:
        """A fact as a sentence."""
        known = next((k.item for k in evidence.known if k.label == fact.label), None)
        if fact.path and known:
            relation = self.chain(fact.path, evidence)
            return self.sentences.fallback["related"].format(liked=self.quoted(known), relation=relation)
        values = self.joined([self._value(fact.kind, value) for value in fact.values[:_VALUES_TOLD]])
        item = evidence.item
        names = self.distinct({(one.domain, one.id): self.quoted(one) for one in (item, known) if one})
        liked = names[known.domain, known.id] if known else ""
        return self.sentences.facts[fact.kind].format(item=names[item.domain, item.id], liked=liked, values=values)

    def _value(self, kind: FactKind, value: str) -> str:
        if kind == "period":
            return self.sentences.decade.format(year=value)
        return self.trait(value) if kind in {"theme", "category", "asked"} else self.show(value, _VALUE)

    def facts(self, evidence: Evidence) -> tuple[FactLine, ...]:
        """All facts as the model reads them."""
        return tuple(FactLine(fact.id, self.fact(fact, evidence)) for fact in evidence.facts)

    def chain(self, path: Path, evidence: Evidence) -> str:
        """A path as clauses, each relation in its own direction."""
        entities = [e for r in path.relations for e in (r.subject, r.object)]
        names = self.distinct({(e.domain, e.id): self._entity(e, evidence) for e in entities})
        clauses = [
            self.sentences.relations.get(r.predicate, self.sentences.other_relation).format(
                subject=names[r.subject.domain, r.subject.id],
                object=names[r.object.domain, r.object.id],
                predicate=self.show(r.predicate.replace("_", " "), _VALUE),
            )
            for r in path.relations
        ]
        return self.sentences.then.join(clauses)

    def _entity(self, entity: Entity, evidence: Evidence) -> str:
        """An item by its title in this language, also where only a namesake of it is known; else the name."""
        same = [item for item in evidence.items if (item.domain, item.id) == (entity.domain, entity.id)]
        if entity.is_item:
            same += [item for item in evidence.items if item.title == entity.name]
        if same:
            return self.quoted(same[0])
        name = self.show(entity.name, _TITLE)
        return self.sentences.title.format(title=name) if entity.is_item else name

    def fallback(self, evidence: Evidence) -> tuple[str, frozenset[str], tuple[str, ...]]:
        """A reason from the facts alone: its text, the labels of the items it names, the shared traits it tells."""
        say = self.sentences.fallback
        parts: list[str] = []
        labels: list[str] = []
        told = next((fact for fact in evidence.facts if fact.path or fact.kind in {"creator", "person"}), None)
        if told and told.label:
            parts.append(self.fact(told, evidence))
            labels.append(told.label)
        shared = {k.label: evidence.shared(k.label, "theme", "category")[:_VALUES_TOLD] for k in evidence.known}
        sharing = sorted((k for k in evidence.known if shared[k.label]), key=lambda k: k.label in labels)
        sharing = sharing[: _ITEMS_TOLD - len(parts)]
        if sharing:
            with_each = (
                say["with"].format(values=self.traits(shared[k.label]), liked=self.quoted(k.item)) for k in sharing
            )
            parts.append(say["shares"].format(shared=say["also"].join(with_each)))
            labels += [known.label for known in sharing]
        if not parts and evidence.closest:
            parts.append(say["nearest"].format(liked=self.quoted(evidence.closest.item)))
            labels.append(evidence.closest.label)
        if not parts:
            parts.append(say["text"].format(text=visible(evidence.text or "")))
        traits = dict.fromkeys(trait for known in sharing for trait in shared[known.label])
        return self.text(parts), frozenset(labels), tuple(traits)

    def reworded(self, own: OwnSentences) -> Self:
        """The locale with these sentences in the places of the language's own."""
        said = self.sentences
        changes = {"constrained": said.constrained | own.constrained, "fallback": said.fallback | own.fallback}
        return replace(self, sentences=said.model_copy(update=changes))


@cache
def load_locale(language: str, style: str) -> Locale:
    """The locale of prompts/LANGUAGE/explain.jinja ("short") or explain-STYLE.jinja.

    Raises:
        UsageError: there is no folder for the language, or no template for the style.
        TemplateError: a file of the folder is not what it should be.
    """
    sentences = load_sentences(language, "sentences", Sentences)
    name = f"{language}/explain" if style == SHORT else f"{language}/explain-{style}"
    if name not in shipped_templates():
        raise UsageError(f"no style {style!r} in {language!r}", hint=f"one of: {', '.join(styles(language))}")
    rules, template = load_rules(language), load_template(name)
    return Locale(language=language, style=style, template=template, sentences=sentences, rules=rules)


@cache
def load_own_sentences(path: FilePath) -> OwnSentences:
    """A file that the setting `explain.sentences` names. Raises TemplateError."""
    own = read_yaml(path, OwnSentences)
    _check_formats(str(path), own, load_yaml(_REFERENCE, "sentences", Sentences))
    return own


def load_sentences(language: str, name: str, kind: type[B]) -> B:
    """Sentences of a language: prompts/LANGUAGE/NAME.yaml, with all that the English file has.

    Raises:
        UsageError: there is no folder for the language.
        TemplateError: the file is not what `kind` says, lacks a sentence, or one has a name in braces that the English
            one does not have; the message lists every one.
    """
    sentences, reference = load_yaml(language, name, kind), load_yaml(_REFERENCE, name, kind)
    _check_formats(f"prompts/{language}/{name}.yaml", sentences, reference, complete=True)
    return sentences


def _check_formats(where: str, sentences: BaseModel, reference: BaseModel, *, complete: bool = False) -> None:
    formats, known = _flat(sentences), _flat(reference)
    problems = [f"{key} is missing" for key in known if complete and key not in formats]
    for key, text in formats.items():
        # What only this language says is a further relation, and may name what any relation does.
        allowed = _names(known.get(key) or known.get("other_relation", ""))
        try:
            problems += [f"{key} has no {{{name}}}" for name in sorted(_names(text) - allowed)]
        except ValueError as exc:
            problems.append(f"{key} is no format: {exc}")
    if problems:
        raise TemplateError(f"{where}: " + "; ".join(problems), hint="compare it with the same file under prompts/en")


def _flat(sentences: BaseModel) -> dict[str, str]:
    """All formats by "key" or "group.key"."""
    flat: dict[str, str] = {}
    for key, value in sentences.model_dump(by_alias=True).items():
        flat |= {f"{key}.{name}": text for name, text in value.items()} if isinstance(value, dict) else {key: value}
    return flat


def _names(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


def styles(language: str) -> tuple[str, ...]:
    """The styles that there are templates for in a language."""
    start = f"{language}/explain-"
    return (SHORT, *(name.removeprefix(start) for name in shipped_templates() if name.startswith(start)))


def _in_script(text: str, script: str) -> bool:
    """Whether all letters of a text are of a script, by their Unicode names."""
    letters = [c for c in text if c.isalpha()]
    return bool(letters) and all(unicodedata.name(c, "").startswith(script) for c in letters)
