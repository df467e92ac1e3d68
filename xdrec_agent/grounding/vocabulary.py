"""How things are written. Reads names, traits and a language's words, produces the phrases that are looked for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Final

from retrieval.templates import plain, visible
from xdrec_agent.grounding.language_data import Words, load_words
from xdrec_agent.grounding.tokens import Common, Meaning, TokenKind, folded, meanings

_YEAR: Final = r"(1\d{3}|20\d{2})"


@cache
def common_of(language: str) -> Common:
    """What a language says whatever the items are."""
    words = load_words(language)
    said = meanings((folded(phrase).lower(), meaning) for phrase, meaning in _said(words))
    return Common(said, tuple(_patterns(words)))


def _said(w: Words) -> Iterator[tuple[str, Meaning]]:
    for trait, phrases in w.terms.items():
        yield from ((phrase, Meaning("trait", (trait,))) for phrase in (trait, *phrases))
    for n, role in enumerate(w.roles):
        yield from ((p, Meaning("role", (str(n), "before"))) for p in role.before)
        yield from ((p, Meaning("role", (str(n), "after"))) for p in role.after)
    for n, relation in enumerate(w.relations):
        yield from ((p, Meaning("relation", (str(n),))) for p in relation.say)
    plain_kinds: tuple[tuple[TokenKind, tuple[str, ...]], ...] = (
        ("pronoun", w.pronouns), ("liked", w.liked), ("liked_before", w.liked_before), ("together", w.together),
        ("possessive", w.possessive), ("own", w.own), ("of", w.of), ("with", w.with_), ("link", w.links),
        ("determiner", w.determiners), ("verb", w.verbs),
    )  # fmt: skip
    for kind, phrases in plain_kinds:
        yield from ((p, Meaning(kind)) for p in phrases)
    for domain, nouns in w.nouns.items():
        yield from ((noun, Meaning("noun", (domain,))) for noun in nouns)
    yield from ((p, Meaning("same", ("creator",))) for p in w.same)
    yield from ((p, Meaning("same", ("decade",))) for p in w.same_decade)
    yield from ((p, Meaning("same", ("series",))) for p in w.same_series)
    yield from ((p, Meaning("decade", (str(year),))) for p, year in w.decades.items())
    yield from ((p, Meaning("number", (str(n),))) for p, n in w.numbers.items())
    yield from ((p, Meaning("neutral", ())) for p in (*w.neutral, *w.neutral_phrases, *w.series))


def _patterns(w: Words) -> Iterator[tuple[re.Pattern[str], TokenKind]]:
    """Years, volumes and numbers."""
    ordinals = "|".join(map(re.escape, w.volumes))
    nouns = "|".join(sorted(map(re.escape, w.volume_nouns), key=len, reverse=True))
    if w.spaced:
        yield re.compile(rf"({ordinals}|\d+(?:st|nd|rd|th)) (?:{nouns})\b", re.I), "volume"
        counted = "|".join(map(re.escape, w.numbers))
        yield re.compile(rf"(?:volume|book|part|vol\.?) (\d+|{counted})\b", re.I), "volume"
        yield re.compile(r"((?:1\d|20)\d0)s\b"), "decade"
        yield re.compile(_YEAR + r"(?!\d)"), "year"
        yield re.compile(r"(\d+(?:[.,]\d+)?)(?: ?%| percent| per cent)"), "number"
    else:
        yield re.compile(rf"({ordinals}|第\d+)(?:{nouns})"), "volume"
        yield re.compile(r"(?:上世纪|20世纪|二十世纪)(\d0|[一二三四五六七八九]十)年代"), "decade"
        yield re.compile(r"((?:1\d|20)\d0)年代"), "decade"
        yield re.compile(_YEAR + r"(?!\d)年?"), "year"
        yield re.compile(r"《([^》]+)》"), "unknown-title"
        yield re.compile(r"(?:百分之)?(\d+(?:\.\d+)?)%?"), "number"
    yield re.compile(r"(\d+(?:[.,]\d+)?)"), "number"


# Liked items and common traits return with every candidate, and a letter is looked at for each form: bounded caches.


@lru_cache(maxsize=4096)
def titles_of(title: str) -> tuple[str, ...]:
    """A title as the catalogue, a sentence, a prompt and a page show it, folded."""
    return tuple(dict.fromkeys(map(folded, (title, title.rstrip("?!？！."), plain(title, 80), visible(title)))))


@lru_cache(maxsize=4096)
def names_of(name: str) -> tuple[str, ...]:
    """A name as the catalogue, a prompt and a page show it, folded."""
    return tuple(dict.fromkeys(map(folded, (name, plain(name, 60), visible(name)))))


@lru_cache(maxsize=4096)
def phrases_of(trait: str, language: str) -> tuple[str, ...]:
    """A trait as the catalogue and the language write it, with plurals, folded and in lower case."""
    w = load_words(language)
    phrases = (trait, plain(trait, 60), visible(trait), *w.terms.get(trait.casefold(), ()))
    forms = (form for p in dict.fromkeys(phrases) for form in ((p, *_plurals(p)) if w.spaced else (p,)))
    return tuple(dict.fromkeys(folded(form).lower() for form in forms))


def _plurals(phrase: str) -> tuple[str, ...]:
    return (f"{phrase[:-1]}ies", f"{phrase}s") if phrase.endswith("y") else (f"{phrase}s",)
