"""How kinds of reasons are told. Reads prompts/LANGUAGE/kinds.yaml and a voice, produces sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from retrieval.templates import load_yaml, visible
from retrieval.types import Frozen, Item
from xdrec_agent.explain import SHORT, Voice, load_voice
from xdrec_agent.grounding import Evidence, Fact


class ContrastSentences(Frozen):
    """Why one item stands above another."""

    places: str
    scores: str
    turned: str
    leans: str
    only: str
    both: str
    alike: str


class WhyNotSentences(Frozen):
    """Why an item is not in the list, and what would lift it."""

    listed: str
    known: str
    same_work: str
    other_edition: str
    earlier_volume: str
    withdrawn: str
    filtered: str
    excluded: str
    not_indexed: str
    ranked: str
    reranked: str
    lift_item: str
    lift_trait: str
    lift_dislikes: str
    no_lift: str


class FilterSentences(Frozen):
    """The fields of a `Filter` as conditions."""

    year_from: str
    year_to: str
    categories: str
    not_categories: str
    creators: str
    languages: str
    attributes: str
    not_attributes: str
    within_attributes: str


class WhatIfSentences(Frozen):
    """What a list would be without one item of the history."""

    same: str
    leaves: str
    moves_only: str
    enters: str
    moved: str


class Headings(Frozen):
    """Of the Markdown form."""

    why: str
    speaks: str
    facts: str
    path: str
    claims: str
    numbers: str


class KindSentences(Frozen):
    """prompts/LANGUAGE/kinds.yaml: each value is a format with the names in braces that the English one has."""

    place: str
    contrast: ContrastSentences
    why_not: WhyNotSentences
    fields: FilterSentences
    what_if: WhatIfSentences
    headings: Headings


@dataclass(frozen=True)
class Teller:
    """A language in which kinds of reasons are told. Everything untrusted goes through `visible` on its way in."""

    voice: Voice
    say: KindSentences

    def title(self, item: Item) -> str:
        """The item's title in quotation marks."""
        return self.voice.quoted(item, shown)

    def names(self, *items: Item) -> dict[tuple[str, str], str]:
        """Titles by domain and id; where a film and a book have one title, with what each is."""
        titles = {(item.domain, item.id): self.title(item) for item in items}
        alike = {title for title, count in Counter(titles.values()).items() if count > 1}
        nouns = {domain: self.voice.rules.noun(domain) for domain, _ in titles}
        return {
            key: self.voice.sentences.named.format(noun=nouns[key[0]], title=title)
            if title in alike and nouns[key[0]]
            else title
            for key, title in titles.items()
        }

    def traits(self, traits: Iterable[str]) -> str:
        """Categories and themes as one part of a sentence."""
        return self.voice.joined([self.voice.trait(trait, shown) for trait in traits])

    def place(self, rank: int) -> str:
        """A rank, counted from 1."""
        return self.say.place.format(rank=rank)

    def fact(self, fact: Fact, evidence: Evidence) -> str:
        """A fact of the evidence as a sentence."""
        return self.voice.fact(fact, evidence, shown)

    def text(self, sentences: Iterable[str]) -> str:
        """Sentences as one text, each with a capital where the script has them."""
        return (" " if self.voice.rules.spaces else "").join(one[:1].upper() + one[1:] for one in sentences)


@cache
def teller(language: str) -> Teller:
    """The teller of a language. Raises UsageError, TemplateError: there are no (good) templates for it."""
    return Teller(load_voice(language, SHORT), load_yaml(language, "kinds", KindSentences))


def shown(text: object, limit: int) -> str:
    """What a person may see; `limit` is that of prompts, people see all of it."""
    del limit
    return visible(text)


def percent(share: float) -> str:
    """A share in [0, 1] as whole percent."""
    return f"{share:.0%}"
