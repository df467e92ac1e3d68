"""What the check knows of a language. Reads prompts/LANGUAGE/grounding.yaml, produces its rules and its vocabulary."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from retrieval.templates import load_yaml
from retrieval.types import Frozen
from xdrec_agent.grounding.tokens import LanguageVocabulary, Meaning, folded, meanings

Phrases = tuple[str, ...]
PhraseKind = Literal[
    "pronoun", "liked", "liked_before", "together", "sharing", "closest", "close", "possessive", "own", "of", "with",
    "link", "determiner", "verb", "neutral", "because", "article",
]  # fmt: skip
"""Kinds of fixed phrases; where a phrase is of several kinds, the earlier one is the likelier."""

_NAMED = ("ordinals", "numbers", "volume_nouns")


class Role(Frozen):
    """How a language says that somebody took part in a work.

    Attributes:
        before, after: phrases right before and right after the person's name.
        of: which field must name the person; "relations": only a relation with one of `relations` supports it.
        domains, not_domains: nouns' keys for which the role is (not) that of the creators; empty: no limit.
        relations: predicates that support it, too.
    """

    before: Phrases = ()
    after: Phrases = ()
    of: Literal["creators", "people", "relations"]
    domains: Phrases = ()
    not_domains: Phrases = ()
    relations: Phrases = ()


class RelationPhrase(Frozen):
    """How a language says a relation.

    Attributes:
        order: where the two ends stand: on both sides of the phrase ("between"); both before it, the object first
            ("before": "the book that the film is based on") or the subject first ("after": "A是B的续集").
        inverse: what stands at the subject's place is the object.
    """

    predicates: Phrases
    say: Phrases
    order: Literal["between", "before", "after"] = "between"
    inverse: bool = False
    symmetric: bool = False


class NumberPattern(Frozen):
    """What is written with digits or marks: a regular expression whose first group is the value.

    In `find`, {ordinals}, {numbers} and {volume_nouns} stand for alternatives of the language's words.
    """

    kind: Literal["volume", "decade", "year", "number", "unknown-title"]
    find: str
    any_case: bool = False


class LanguageRules(Frozen):
    """What the check and the sentences know of a language.

    Attributes:
        script: first word of the Unicode names of its letters ("LATIN", "CJK").
        own_script: whether the script alone tells the language. Then an alias in it is the item's title in the
            language; else the words of a text are looked at, too, to tell in which language it is.
        spaces: whether words and sentences are set off by spaces.
        phrases: by kind. "pronoun": stands for the recommended item. "determiner": makes a noun mean a known thing
            ("the film") and not a kind ("a film"); "article": makes it mean a kind. "possessive": binds a person to
            the work that follows; "own": "its". "liked", "liked_before": say that the items that follow (came before)
            are the user's. "together": says that a trait belongs to all named items; "sharing": its verbs, whose list
            "with" ends; "closest": says that of all that was liked an item is the most similar one, "close" that it is
            similar. "because": gives a reason for what was said before it. "of": may stand between a trait and its
            item. "link": joins items of a group. "verb": separates a subject from what is said of it. "neutral":
            claims nothing.
        neutral: words that claim nothing, separated by blanks.
        nouns: by domain, what its items are called.
        volumes, numbers: words to numbers; `decades`: words to the first year. All may have their accents.
        same: phrases that claim a common creator, decade or series.
        patterns: numbers, years and unknown titles, tried in this order.
        copulas: with them a relation phrase speaks of all the titles before it ("A and B are set in …").
        clitics: what may follow a name after an apostrophe and is no part of it ("s").
        abbreviations: words whose full stop ends no sentence.
        plurals: by ending, the endings that take its place; the first ending that fits counts.
        suffixes: endings that are cut off before words are compared, the first that fits.
        terms: by trait as catalogues write it, how the language says it, the usual way first; empty: as written.
    """

    script: str
    own_script: bool
    spaces: bool
    phrases: dict[PhraseKind, Phrases]
    neutral: Phrases = ()
    nouns: dict[str, Phrases] = Field(default_factory=dict)
    roles: tuple[Role, ...] = ()
    relations: tuple[RelationPhrase, ...] = ()
    volumes: dict[str, int] = Field(default_factory=dict)
    volume_nouns: Phrases = ()
    numbers: dict[str, int] = Field(default_factory=dict)
    decades: dict[str, int] = Field(default_factory=dict)
    same: dict[Literal["creator", "decade", "series"], Phrases] = Field(default_factory=dict)
    patterns: tuple[NumberPattern, ...] = ()
    copulas: Phrases = ()
    clitics: Phrases = ()
    abbreviations: Phrases = ()
    plurals: dict[str, Phrases] = Field(default_factory=dict)
    suffixes: Phrases = ()
    terms: dict[str, Phrases] = Field(default_factory=dict)

    @field_validator("neutral", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(dict.fromkeys(value.split())) if isinstance(value, str) else value

    @field_validator("volumes", "numbers")
    @classmethod
    def _fold(cls, value: dict[str, int]) -> dict[str, int]:
        return {folded(word).lower(): number for word, number in value.items()}

    @model_validator(mode="after")
    def _patterns_are_usable(self) -> Self:
        for pattern in self.patterns:
            try:
                compiled = self.compiled(pattern)
            except re.error as exc:
                raise ValueError(f"pattern {pattern.find!r} is no regular expression: {exc}") from exc
            if not compiled.groups:
                raise ValueError(f"pattern {pattern.find!r} has no group for the value")
        return self

    def compiled(self, pattern: NumberPattern) -> re.Pattern[str]:
        """A pattern with the language's words in it, for text without accents."""
        expression = pattern.find
        for name, words in zip(_NAMED, (self.volumes, self.numbers, self.volume_nouns), strict=True):
            alternatives = sorted(map(re.escape, words), key=len, reverse=True)
            expression = expression.replace(f"{{{name}}}", "|".join(alternatives))
        return re.compile(folded(expression), re.IGNORECASE if pattern.any_case else 0)

    def stem(self, word: str) -> str:
        """A word in lower case without the first of `suffixes` that leaves at least three letters."""
        lowered = word.lower()
        fits = (s for s in self.suffixes if lowered.endswith(s) and len(lowered) - len(s) >= 3)
        return lowered.removesuffix(next(fits, ""))

    def with_plurals(self, phrase: str) -> Phrases:
        """The phrase and its plurals."""
        fits = (ending for ending in self.plurals if phrase.endswith(ending))
        ending = next(fits, "")
        return (phrase, *(phrase.removesuffix(ending) + plural for plural in self.plurals.get(ending, ())))


@cache
def load_rules(language: str) -> LanguageRules:
    """The rules of a language that has a folder under prompts/.

    Raises:
        UsageError: there is no such folder.
        TemplateError: grounding.yaml is missing or not what it should be.
    """
    return load_yaml(language, "grounding", LanguageRules)


@cache
def vocabulary_of(language: str) -> LanguageVocabulary:
    """What a language says whatever the items are."""
    rules = load_rules(language)
    phrases = meanings((folded(phrase).lower(), meaning) for phrase, meaning in _meanings(rules))
    patterns = tuple((rules.compiled(pattern), pattern.kind) for pattern in rules.patterns)
    return LanguageVocabulary(phrases, patterns, rules.clitics)


def _meanings(rules: LanguageRules) -> Iterator[tuple[str, Meaning]]:
    """All phrases with what they stand for; the likelier meaning of a phrase comes first."""
    for trait, phrases in rules.terms.items():
        yield from ((phrase, Meaning("trait", (trait,))) for phrase in (trait, *phrases))
    for n, role in enumerate(rules.roles):
        yield from ((p, Meaning("role", (str(n), "before"))) for p in role.before)
        yield from ((p, Meaning("role", (str(n), "after"))) for p in role.after)
    for n, relation in enumerate(rules.relations):
        yield from ((p, Meaning("relation", (str(n),))) for p in relation.say)
    for domain, nouns in rules.nouns.items():
        yield from ((noun, Meaning("noun", (domain,))) for noun in nouns)
    for what, phrases in rules.same.items():
        yield from ((p, Meaning("same", (what,))) for p in phrases)
    yield from ((p, Meaning("decade", (str(year),))) for p, year in rules.decades.items())
    yield from ((p, Meaning("number", (str(n),))) for p, n in rules.numbers.items())
    for kind in get_args(PhraseKind):
        meaning = Meaning("together", (kind,)) if kind in {"sharing", "closest", "close"} else Meaning(kind)
        phrases = rules.phrases.get(kind, ())
        if kind == "neutral":
            phrases = (*rules.neutral, *phrases)
        elif kind in {"because", "article"}:
            yield from ((p, Meaning("neutral")) for p in phrases)
        yield from ((p, meaning) for p in phrases)
