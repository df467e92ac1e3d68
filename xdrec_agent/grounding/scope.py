"""What a text about a recommendation may speak of. Reads evidence and a language's rules, produces a `Scope`.

The scope knows the names by which items, people and other things can be called, and answers whether a fact holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

from retrieval.templates import plain, visible
from retrieval.types import Entity, Item, Relation
from xdrec_agent.grounding.evidence import Evidence, people
from xdrec_agent.grounding.language_rules import LanguageRules, Role, load_rules, vocabulary_of
from xdrec_agent.grounding.tokens import Meaning, Vocabulary, folded, meanings

Key = str
"""What is spoken of: "books/solaris" for an item, the folded name for anything else."""

_SHORTEST_SURNAME: Final = 3
_LONG: Final = 6
_TITLE: Final = 80  # characters that a prompt shows
_NAME: Final = 60


@dataclass(frozen=True)
class Scope:
    """What may be spoken of, in one language.

    Raises:
        UsageError: there is no folder for the language.
        TemplateError: grounding.yaml of the language is not what it should be.
    """

    evidence: Evidence
    language: str

    @cached_property
    def rules(self) -> LanguageRules:
        """The language's rules."""
        return load_rules(self.language)

    @cached_property
    def items(self) -> dict[Key, Item]:
        """The candidate and the known items."""
        return {key_of(item): item for item in self.evidence.items}

    @property
    def candidate(self) -> Key:
        """The recommended item."""
        return key_of(self.evidence.item)

    @cached_property
    def relations(self) -> tuple[Relation, ...]:
        """All relations that are evidence."""
        return tuple(dict.fromkeys(r for path in self.evidence.paths for r in path.relations))

    @cached_property
    def passed(self) -> frozenset[Key]:
        """Items that paths lead over and that are neither the candidate nor known."""
        return frozenset(entity_key(e) for e in self._entities if e.is_item) - self.items.keys()

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """All that can be found in a sentence."""
        return Vocabulary(meanings(self._names()), meanings(self._traits()), vocabulary_of(self.language))

    def title(self, key: Key) -> str:
        """What people call it."""
        if key in self.items:
            return self.items[key].title
        return next((e.name for e in self._entities if entity_key(e) == key), key)

    # Facts

    def year(self, key: Key) -> int | None:
        """Year of an item; None if unknown."""
        return self.items[key].year if key in self.items else None

    def has_trait(self, key: Key, trait: str) -> bool:
        """Whether an item has a category or theme, or its description says the same."""
        return key in self.items and (_fold(trait) in self._traits_of[key] or self.describes(key, trait))

    def describes(self, key: Key, text: str) -> bool:
        """Whether every word of the text stands in an item's description, title or traits."""
        if key not in self.items:
            return False
        if not self.rules.spaces and text in self.items[key].description:
            return True
        stems = self._stems_of(text)
        return bool(stems) and all(stem in self._stems[key] or self._derives(key, stem) for stem in stems)

    def _derives(self, key: Key, word: str) -> bool:
        """Whether a word is made from one of an item's categories or themes: "dystopian" from "dystopia"."""
        parts = (part for trait in _traits(self.items[key]) for part in folded(trait).lower().split())
        return any(
            len(part) >= _LONG and word.startswith(part[:_LONG]) and abs(len(word) - len(part)) < _SHORTEST_SURNAME
            for part in parts
        )

    def took_part(self, key: Key, person: str, role: Role | None) -> bool:
        """Whether a person took part in an item, in the given role; None: in any."""
        if item := self.items.get(key):
            creates = role is None or (role.of == "creators" and self._role_fits(item.domain, role))
            if creates and person in map(_fold, item.creators):
                return True
            if (role is None or role.of == "people") and person in map(_fold, people(item)):
                return True
        return any(
            entity_key(r.subject) == key and entity_key(r.object) == person
            for r in self.relations
            if role is None or r.predicate in role.relations
        )

    def _role_fits(self, domain: str, role: Role) -> bool:
        if role.domains and domain in self.rules.nouns:
            return domain in role.domains
        return domain not in role.not_domains

    def related(self, subjects: Iterable[Key], predicates: Iterable[str], objects: Iterable[Key]) -> bool:
        """Whether a relation of evidence, or one that series and volumes tell, holds between any of these."""
        subjects, predicates, objects = set(subjects), set(predicates), set(objects)
        for r in self.relations:
            if r.predicate in predicates and entity_key(r.subject) in subjects and entity_key(r.object) in objects:
                return True
        pairs = [(self.items[a], self.items[b]) for a in subjects for b in objects if {a, b} <= self.items.keys()]
        for a, b in pairs:
            if not a.series or a.series != b.series or a.domain != b.domain or a.id == b.id:
                continue
            follows = a.volume is not None and b.volume is not None and a.volume == b.volume + 1
            if "same_series" in predicates or (follows and "sequel_of" in predicates):
                return True
        return False

    # Names

    def _names(self) -> Iterator[tuple[str, Meaning]]:
        """Names, folded."""
        items = self.items.values()
        for key, item in self.items.items():
            yield from ((f, Meaning("item", (key,))) for t in (item.title, *item.aliases) for f in _forms(t, _TITLE))
        for entity in self._entities:
            if entity.is_item and entity_key(entity) not in self.items:
                # A work between two others is known by name only: it may be called as its film or book is.
                namesakes = (alias for item in items if item.title == entity.name for alias in item.aliases)
                yield from ((folded(n), Meaning("item", (entity_key(entity),))) for n in (entity.name, *namesakes))
        for series in dict.fromkeys(item.series for item in items if item.series):
            yield folded(series), Meaning("series", (series,))
        persons = list(dict.fromkeys(p for item in items for p in (*item.creators, *people(item))))
        others = [e.name for e in self._entities if not e.is_item]
        yield from ((form, Meaning("person", (_fold(name),))) for name in persons for form in _forms(name, _NAME))
        yield from ((form, Meaning("entity", (_fold(name),))) for name in others for form in _forms(name, _NAME))
        for name in (*persons, *others):  # a surname stands for its bearer, and for all who bear it
            *first_names, surname = name.split() or [""]
            if first_names and len(surname) >= _SHORTEST_SURNAME and surname[0].isupper():
                yield folded(surname), Meaning("person", (_fold(name),))

    def _traits(self) -> Iterator[tuple[str, Meaning]]:
        """What the items' traits are called, folded and in lower case."""
        for trait in dict.fromkeys(t for item in self.items.values() for t in _traits(item)):
            yield from ((form, Meaning("trait", (trait,))) for form in _trait_forms(trait, self.language))

    @cached_property
    def _entities(self) -> tuple[Entity, ...]:
        return tuple(entity for relation in self.relations for entity in (relation.subject, relation.object))

    @cached_property
    def _traits_of(self) -> dict[Key, frozenset[str]]:
        return {key: frozenset(map(_fold, _traits(item))) for key, item in self.items.items()}

    @cached_property
    def _stems(self) -> dict[Key, frozenset[str]]:
        return {
            key: frozenset(self._stems_of("\n".join((item.description, item.title, *item.aliases, *_traits(item)))))
            for key, item in self.items.items()
        }

    def _stems_of(self, text: str) -> list[str]:
        return [self.rules.stem(word) for word in re.findall(r"[^\W_]+", folded(text))]


def key_of(item: Item) -> Key:
    """The key of an item."""
    return f"{item.domain}/{item.id}"


def entity_key(entity: Entity) -> Key:
    """The key of one end of a relation."""
    return f"{entity.domain}/{entity.id}" if entity.is_item else _fold(entity.name)


def _traits(item: Item) -> tuple[str, ...]:
    return (*item.categories, *item.themes)


def _fold(name: str) -> str:
    return folded(name).casefold()


# Liked items and common traits return with every candidate, and a letter is looked at for each form: bounded caches.


@lru_cache(maxsize=4096)
def _forms(name: str, limit: int) -> tuple[str, ...]:
    """A title or name as the catalogue, a sentence, a prompt (of `limit` characters) and a page show it, folded."""
    return tuple(dict.fromkeys(map(folded, (name, name.rstrip("?!？！."), plain(name, limit), visible(name)))))


@lru_cache(maxsize=4096)
def _trait_forms(trait: str, language: str) -> tuple[str, ...]:
    """A trait as the catalogue and the language write it, with plurals, folded and in lower case."""
    rules = load_rules(language)
    phrases = dict.fromkeys((trait, plain(trait, _NAME), visible(trait), *rules.terms.get(trait.casefold(), ())))
    forms = (form for phrase in phrases for form in rules.with_plurals(phrase))
    return tuple(dict.fromkeys(folded(form).lower() for form in forms))
