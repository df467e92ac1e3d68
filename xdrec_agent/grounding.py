"""Grounding. Reads a sentence and the evidence, produces the reason why it may not be shown, or nothing.

Strict and independent of the model that wrote the sentence: every name and number in it must come from the evidence.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from xdrec_agent.evidence import Evidence

_WORD: Final = re.compile(r"[^\W_]+(?:['’.-][^\W_]+)*")
_SENTENCE: Final = re.compile(r"[.!?…]+(?:[\"'”’)]*)(?:\s+|$)")
_OPENERS: Final = frozenset(
    "a an and as at because both but by each enjoy fans for from given here i if in it its just like liked love loved"
    " much of on our since so that the their there these they this those though to we what when while with you your"
    " i'm i've you'll you'd you've you're it's".split()
)
"""Words that English writes with a capital at the start of a sentence only (and forms of "I")."""


def objection(text: str, evidence: Evidence) -> str | None:
    """Why `text` must not be shown, None if nothing speaks against it.

    It must be one or two sentences that name at least one known item (if there are any), and every capitalised word
    and every number must occur in the titles, creators, years, traits or the description of what it may speak of.
    """
    if not text.strip():
        return "it is empty"
    if len(_SENTENCE.findall(text.strip())) > 2:
        return "it has more than two sentences"
    allowed = set(_vocabulary(evidence))
    for word, starts in _words(text):
        folded = _fold(word)
        named = word[0].isupper() or word[0].isdigit()
        if named and folded not in allowed and not (folded in _OPENERS and (starts or folded.startswith("i"))):
            return f"“{word}” is not in the evidence"
    if evidence.known and not any(_contains(text, known.item.title) for known in evidence.known):
        return "it names none of the liked items"
    if again := _repetition(text, evidence):
        return f"it repeats “{again}”"
    return None


def _repetition(text: str, evidence: Evidence) -> str | None:
    """Two words that follow each other twice, outside of titles: small models get stuck."""
    rest = f" {_plain(text)} "
    for item in (evidence.item, *(known.item for known in evidence.known)):
        rest = rest.replace(f" {_plain(item.title)} ", " | ", 1)
    words = rest.split()
    pairs = [pair for pair in pairwise(words) if "|" not in pair]
    return next((" ".join(pair) for pair in pairs if pairs.count(pair) > 1), None)


def cited(text: str, evidence: Evidence) -> tuple[str, ...]:
    """Labels of the known items whose title the text contains."""
    return tuple(known.label for known in evidence.known if _contains(text, known.item.title))


def _contains(text: str, title: str) -> bool:
    return f" {_plain(title)} " in f" {_plain(text)} "


def _plain(text: str) -> str:
    return " ".join(_fold(w) for w in _WORD.findall(text))


def _fold(word: str) -> str:
    """Lower case without accents or a possessive ending."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", word) if not unicodedata.combining(c))
    return bare.casefold().replace("’", "'").removesuffix("'s")


def _words(text: str) -> Iterator[tuple[str, bool]]:
    """Each word, and whether it begins a sentence."""
    for sentence in _SENTENCE.split(text.strip()):
        for n, match in enumerate(_WORD.finditer(sentence or "")):
            yield match.group(), n == 0


def _vocabulary(evidence: Evidence) -> Iterator[str]:
    items = [evidence.item, *(known.item for known in evidence.known)]
    for item in items:
        facts = [item.title, *item.aliases, *item.creators, *item.categories, *item.themes, str(item.year or "")]
        facts += [item.series or "", item.description]
        for fact in facts:
            yield from (_fold(w) for w in _WORD.findall(fact))
    if evidence.text:
        yield from (_fold(w) for w in _WORD.findall(evidence.text))
