"""What a text about a recommendation may speak of. Reads evidence and a language's words, produces a `Scope`.

The scope knows the names by which items, people and other things can be called, and answers whether a fact holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from retrieval.types import Entity, Item, Relation
from xdrec_agent.grounding.evidence import Evidence, people
from xdrec_agent.grounding.language_data import Role, Words, load_words
from xdrec_agent.grounding.tokens import Meaning, Phrases, folded, meanings
from xdrec_agent.grounding.vocabulary import common_of, names_of, phrases_of, titles_of

Key = str
"""What is spoken of: "books/solaris" for an item, the folded name for anything else."""

_LAST_NAME: Final = 3
_LONG: Final = 6
_SUFFIXES: Final = ("ings", "ing", "ies", "ed", "es", "ly", "s", "e", "y")


@dataclass(frozen=True)
class Scope:
    """What may be spoken of, in one language.

    Raises:
        UsageError: there are no words for the language.
        TemplateError: words.yaml of the language is not what it should be.
    """

    evidence: Evidence
    language: str

    @cached_property
    def words(self) -> Words:
        """The language's words."""
        return load_words(self.language)

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
        return frozenset(entity_key(e) for e in self._entities() if e.is_item) - self.items.keys()

    @cached_property
    def phrases(self) -> Phrases:
        """All that can be found in a sentence."""
        return Phrases(meanings(self._names()), meanings(self._traits()), common_of(self.language))

    def title(self, key: Key) -> str:
        """What people call it."""
        if key in self.items:
            return self.items[key].title
        return next((e.name for e in self._entities() if entity_key(e) == key), key)

    # Facts

    def year(self, key: Key) -> int | None:
        """Year of an item; None if unknown."""
        return self.items[key].year if key in self.items else None

    def has_trait(self, key: Key, trait: str) -> bool:
        """Whether an item has a category or theme, or its description says the same."""
        item = self.items.get(key)
        if item is None:
            return False
        return _fold(trait) in self._own_traits[key] or self.describes(key, trait)

    def describes(self, key: Key, text: str) -> bool:
        """Whether every word of the text stands in an item's description, title or traits."""
        item = self.items.get(key)
        if item is None:
            return False
        if not self.words.spaced and text in item.description:
            return True
        found = [stem(w) for w in re.findall(r"[^\W_]+", folded(text))]
        return bool(found) and all(word in self._stems[key] or self._of_trait(key, word) for word in found)

    def _of_trait(self, key: Key, word: str) -> bool:
        """Whether a word is made from one of an item's categories or themes: "dystopian" from "dystopia"."""
        item = self.items[key]
        parts = [part for trait in (*item.categories, *item.themes) for part in folded(trait).lower().split()]
        return any(
            len(part) >= _LONG and word.startswith(part[:_LONG]) and abs(len(word) - len(part)) < _LAST_NAME
            for part in parts
        )

    def took_part(self, key: Key, person: str, role: Role | None) -> bool:
        """Whether somebody took part in an item, in that role if one is said."""
        if item := self.items.get(key):
            creates = role is None or role.of == "creators"
            fits = role is None or self._role_fits(item.domain, role)
            if creates and fits and person in map(_fold, item.creators):
                return True
            if (role is None or role.of == "people") and person in map(_fold, people(item)):
                return True
        predicates = role.relations if role else None
        return any(
            entity_key(r.subject) == key and entity_key(r.object) == person
            for r in self.relations
            if predicates is None or r.predicate in predicates
        )

    def _role_fits(self, domain: str, role: Role) -> bool:
        if role.domains and domain in self.words.nouns:
            return domain in role.domains
        return domain not in role.not_domains

    def related(self, subjects: set[Key], predicates: Iterable[str], objects: set[Key]) -> Relation | None:
        """A relation of evidence, or one that series and volumes tell, between any of these."""
        wanted = set(predicates)
        for r in self.relations:
            if r.predicate in wanted and entity_key(r.subject) in subjects and entity_key(r.object) in objects:
                return r
        pairs = [(self.items[a], self.items[b]) for a in subjects for b in objects if {a, b} <= self.items.keys()]
        for a, b in pairs:
            same = bool(a.series) and a.series == b.series and a.domain == b.domain and a.id != b.id
            follows = same and a.volume is not None and b.volume is not None and a.volume == b.volume + 1
            predicate = "sequel_of" if follows and "sequel_of" in wanted else "same_series"
            if same and predicate in wanted:
                return Relation(subject=_entity(a), predicate=predicate, object=_entity(b))
        return None

    # Names

    def _names(self) -> Iterator[tuple[str, Meaning]]:
        """Names, folded."""
        for key, item in self.items.items():
            called = Meaning("item", (key,))
            yield from ((name, called) for title in (item.title, *item.aliases) for name in titles_of(title))
        for entity in self._entities():
            if entity.is_item and entity_key(entity) not in self.items:
                for name in (entity.name, *self._namesakes(entity.name)):
                    yield folded(name), Meaning("item", (entity_key(entity),))
        series = dict.fromkeys(item.series for item in self.items.values() if item.series)
        for name in series:
            yield folded(name), Meaning("series", (name,))
        persons = dict.fromkeys(p for item in self.items.values() for p in (*item.creators, *people(item)))
        others = [e.name for e in self._entities() if not e.is_item]
        for name in persons:
            meaning = Meaning("person", (_fold(name),))
            yield from ((form, meaning) for form in names_of(name))
        for name in others:
            meaning = Meaning("entity", (_fold(name),))
            yield from ((form, meaning) for form in names_of(name))
        yield from self._last_names((*persons, *others))

    def _namesakes(self, title: str) -> Iterator[str]:
        """Aliases of items of that title: a work between two others is known by name only, as its film is called."""
        for item in self.items.values():
            if item.title == title:
                yield from item.aliases

    def _last_names(self, persons: Iterable[str]) -> Iterator[tuple[str, Meaning]]:
        """A surname stands for its bearer, and for all who bear it."""
        for name in persons:
            parts = name.split()
            if len(parts) > 1 and len(parts[-1]) >= _LAST_NAME and parts[-1][0].isupper():
                yield folded(parts[-1]), Meaning("person", (_fold(name),))

    def _entities(self) -> Iterator[Entity]:
        for relation in self.relations:
            yield from (relation.subject, relation.object)

    def _traits(self) -> Iterator[tuple[str, Meaning]]:
        """What the items' traits are called, folded and in lower case."""
        for trait in dict.fromkeys(t for item in self.items.values() for t in (*item.categories, *item.themes)):
            meaning = Meaning("trait", (trait,))
            yield from ((phrase, meaning) for phrase in phrases_of(trait, self.language))

    @cached_property
    def _own_traits(self) -> dict[Key, frozenset[str]]:
        return {key: frozenset(map(_fold, (*item.categories, *item.themes))) for key, item in self.items.items()}

    @cached_property
    def _stems(self) -> dict[Key, frozenset[str]]:
        return {
            key: frozenset(
                stem(word)
                for text in (item.description, item.title, *item.aliases, *item.categories, *item.themes)
                for word in re.findall(r"[^\W_]+", folded(text))
            )
            for key, item in self.items.items()
        }


def key_of(item: Item) -> Key:
    """The key of an item."""
    return f"{item.domain}/{item.id}"


def entity_key(entity: Entity) -> Key:
    """The key of one end of a relation."""
    return f"{entity.domain}/{entity.id}" if entity.is_item else _fold(entity.name)


def stem(word: str) -> str:
    """A word without its usual English endings; other languages' words stay nearly as they are."""
    lowered = word.lower()
    for suffix in _SUFFIXES:
        if lowered.endswith(suffix) and len(lowered) - len(suffix) >= _LAST_NAME:
            return lowered.removesuffix(suffix)
    return lowered


def _entity(item: Item) -> Entity:
    return Entity(domain=item.domain, id=item.id, name=item.title)


def _fold(name: str) -> str:
    return folded(name).casefold()
