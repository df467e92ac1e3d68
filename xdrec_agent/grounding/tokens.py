"""Tokens of a sentence. Reads text and the phrases that are known, produces the fewest tokens that cover it.

Names, years, traits, phrases and words are all found in one pass: the cover with the fewest unknown characters, and
among those the one with the fewest tokens, is taken (shortest path; Viterbi 1967). So "alien life" is one theme and
not the film "Alien" and a word, and Chinese needs no segmentation beforehand.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final, Literal

TokenKind = Literal[
    "item", "series", "person", "entity", "trait", "role", "relation", "volume", "year", "decade", "number", "same",
    "liked", "liked_before", "together", "pronoun", "noun", "possessive", "own", "of", "with", "link", "verb",
    "neutral", "determiner", "comma", "stop", "open", "close", "unknown-title", "unknown",
]  # fmt: skip

_WORD: Final = re.compile(r"[^\W_]+(?:[-'][^\W_]+)*")
_LATIN: Final = re.compile(r"[0-9A-Za-z\u00c0-\u024f\u0370-\u04ff]")
_MARKS: Final[Mapping[str, TokenKind]] = {",": "comma", "，": "comma", ":": "stop", "：": "stop", "–": "comma",
    "—": "comma", ";": "stop", "；": "stop", "(": "open", "（": "open", ")": "close", "）": "close"}  # fmt: skip
_SKIPPED: Final = frozenset(" \t\"“”‘’「」『』《》〈〉*_.!?。！？…'‹›/")
_UNKNOWN_COST: Final = 100
_NEVER: Final = 10**9


@dataclass(frozen=True)
class Meaning:
    """What a phrase may stand for: `values` are names, traits, domains or numbers, as its kind has it."""

    kind: TokenKind
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Token:
    """A stretch of the sentence, `start` to `end` in characters, and what it stands for, the likeliest first."""

    start: int
    end: int
    text: str
    meanings: tuple[Meaning, ...]

    @property
    def kind(self) -> TokenKind:
        """The likeliest kind."""
        return self.meanings[0].kind

    def of(self, kind: TokenKind) -> Meaning | None:
        """What it stands for as this kind, if it can."""
        return next((m for m in self.meanings if m.kind == kind), None)


@dataclass(frozen=True)
class Phrases:
    """What can be found: names by their exact letters, phrases in any case."""

    names: Mapping[str, tuple[Meaning, ...]]
    phrases: Mapping[str, tuple[Meaning, ...]]
    patterns: tuple[tuple[re.Pattern[str], TokenKind], ...]

    @cached_property
    def lengths(self) -> Mapping[str, tuple[int, ...]]:
        """By first character in lower case: how long the names and phrases are that begin so."""
        found: dict[str, set[int]] = {}
        for phrase in (*self.names, *self.phrases):
            found.setdefault(phrase[0].lower(), set()).add(len(phrase))
        return {first: tuple(sorted(lengths)) for first, lengths in found.items()}


def folded(text: str) -> str:
    """The text without accents and typographic variants, character for character."""
    return "".join(_bare(c) for c in text)


def tokenize(sentence: str, known: Phrases) -> list[Token]:
    """The tokens of a sentence, in order; punctuation that separates nothing is left out."""
    text = folded(sentence)
    best: list[tuple[int, int, Token | None]] = [(0, 0, None), *[(_NEVER, 0, None)] * len(text)]
    lowered = "".join(c.lower() if len(c.lower()) == 1 else c for c in text)
    for start in range(len(text)):
        cost = best[start][0]
        if cost >= _NEVER:
            continue
        for end, token, price in _edges(text, lowered, sentence, start, known):
            if cost + price < best[end][0]:
                best[end] = (cost + price, start, token)
    found: list[Token] = []
    at = len(text)
    while at > 0:
        _, before, token = best[at]
        if token is not None:
            found.append(token)
        at = before
    return _joined(found[::-1], sentence)


def _edges(
    text: str, lowered: str, sentence: str, start: int, known: Phrases
) -> Iterator[tuple[int, Token | None, int]]:
    mark = text[start]
    if mark in _MARKS:
        yield start + 1, Token(start, start + 1, mark, (Meaning(_MARKS[mark]),)), 1
        return
    if not _cuts(text, start):
        return
    for end in (start + length for length in known.lengths.get(lowered[start], ()) if start + length <= len(text)):
        meanings = (*known.names.get(text[start:end], ()), *known.phrases.get(lowered[start:end], ()))
        if meanings and _cuts(text, end):
            yield end, Token(start, end, sentence[start:end], meanings), 1
    for pattern, kind in known.patterns:
        match = pattern.match(text, start)
        named = match is not None and kind == "unknown-title" and match.group(1).strip() in known.names
        if match and not named and _cuts(text, match.end()):
            values = tuple(g for g in match.groups() if g is not None)
            yield match.end(), Token(start, match.end(), sentence[start : match.end()], (Meaning(kind, values),)), 1
    if mark in _SKIPPED or mark.isspace():
        yield start + 1, None, 0
        return
    word = _WORD.match(text, start)
    end = start + 1 if word is None or not _LATIN.match(mark) else _latin_end(text, start)
    yield end, Token(start, end, sentence[start:end], (Meaning("unknown"),)), _UNKNOWN_COST * (end - start)


def _latin_end(text: str, start: int) -> int:
    end = start
    while end < len(text):
        joins = text[end] in "-'" and _LATIN.match(text[end + 1 : end + 2])
        if not (_LATIN.match(text[end]) or joins):
            break
        if text[end] == "'" and text[end + 1 : end + 3].rstrip(" .,;:") == "s":
            break
        end += 1
    return end


def _cuts(text: str, at: int) -> bool:
    """Whether a token may begin or end at this place: not inside a word of letters."""
    if at in (0, len(text)):
        return True
    left, right = text[at - 1], text[at]
    if right == "'" and text[at + 1 : at + 2].casefold() == "s":
        return True
    if left == "'" and right in "sS":
        return False
    return not (_LATIN.match(left) and _LATIN.match(right))


def _joined(tokens: list[Token], sentence: str) -> list[Token]:
    """Unknown characters that follow each other directly (as in Chinese) become one token."""
    joined: list[Token] = []
    for token in tokens:
        last = joined[-1] if joined else None
        if last and token.kind == last.kind == "unknown" and last.end == token.start:
            joined[-1] = Token(last.start, token.end, sentence[last.start : token.end], last.meanings)
        else:
            joined.append(token)
    return joined


@lru_cache(maxsize=4096)
def _bare(character: str) -> str:
    if character in "’‘`´":
        return "'"
    if character in "łŁøØđĐ":
        return {"ł": "l", "Ł": "L", "ø": "o", "Ø": "O", "đ": "d", "Đ": "D"}[character]
    plain = [c for c in unicodedata.normalize("NFKD", character) if not unicodedata.combining(c)]
    return plain[0] if len(plain) == 1 else character


def meanings(pairs: Iterable[tuple[str, Meaning]]) -> dict[str, tuple[Meaning, ...]]:
    """Phrases with all that they may stand for, in the order given."""
    found: dict[str, list[Meaning]] = {}
    for phrase, meaning in pairs:
        if phrase and meaning not in (have := found.setdefault(phrase, [])):
            have.append(meaning)
    return {phrase: tuple(have) for phrase, have in found.items()}
