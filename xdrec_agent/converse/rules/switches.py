"""Switches of domain and language. Reads a masked text, produces the domain and the reply's language it asks for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from xdrec_agent.converse.grammar import Grammar, longest_first
from xdrec_agent.converse.language import all_languages, chat_languages, is_unspaced


def kind_of(domain: str) -> str | None:
    """The kind of a domain, by its name: "book" for "books", "my_books" …; None: a kind of its own."""
    words = set(re.split(r"[\W_]+", domain.casefold()))
    for kind, names in all_languages().domains.items():
        if words & {kind, *names.nouns, *names.also}:
            return kind
    return None


def domain_of(kind: str, domains: Sequence[str]) -> str | None:
    """The domain of this kind; None: there is none."""
    return next((d for d in domains if kind_of(d) == kind or d.casefold() == kind), None)


def domain_nouns(domain: str, grammar: Grammar) -> re.Pattern[str]:
    """A pattern of the nouns for a domain, its own name among them."""
    kind = kind_of(domain)
    nouns = grammar.domains[kind].nouns if kind in grammar.domains else ()
    return _nouns_pattern(frozenset({domain, *grammar.singulars(domain), *nouns}))


@lru_cache(maxsize=256)
def _nouns_pattern(nouns: frozenset[str]) -> re.Pattern[str]:
    unspaced = [re.escape(noun) for noun in nouns if is_unspaced(noun)]
    spaced = [re.escape(noun) for noun in nouns if not is_unspaced(noun)]
    words = rf"\b(?:{'|'.join(longest_first(spaced))})\b"
    return re.compile("|".join([words, *longest_first(unspaced)] if spaced else longest_first(unspaced)), re.I)


def find_target(text: str, domains: Sequence[str], grammar: Grammar) -> tuple[str | None, str | None]:
    """The domain that is asked for, or else the request for one that is not there.

    Args:
        text: masked.
    """
    templates = grammar.templates["switch"]
    requests = [
        (match.start(), position, domain)
        for position, domain in enumerate(domains)
        if (match := templates["there"].rule(domain_nouns(domain, grammar).pattern).search(text))
    ]
    if requests:
        return min(requests)[2], None
    if match := grammar.patterns["switch"]["verbs"].search(text):
        verb = match["verb"].casefold()
        kind = next((kind for kind, words in grammar.domains.items() if verb in words.asked), verb)
        found = domain_of(kind, domains)
        return found, None if found else verb
    for kind in grammar.domains.keys() - set(map(kind_of, domains)):
        if match := templates["missing"].rule(domain_nouns(kind, grammar).pattern).search(text):
            return None, match[0].strip()
    return None, None


def find_reply_language(text: str, grammar: Grammar) -> str | None:
    """The language that replies are asked for in."""
    for language in chat_languages():
        names = "|".join(grammar.language_names.get(language, ()))
        if names and grammar.templates["languages"]["reply"].rule(names).search(text):
            return language
    return None
