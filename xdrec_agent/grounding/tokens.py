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
    "neutral", "determiner", "because", "article", "comma", "stop", "open", "close", "unknown-title", "unknown",
]  # fmt: skip

_LETTER: Final = r"[0-9A-Za-z\u00c0-\u024f\u0370-\u04ff]"
_SKIPPED: Final = frozenset(" \t\"“”‘’«»‹›「」『』《》〈〉*_.!?¡¿。！？…'/")
_UNKNOWN_COST: Final = 100
_NEVER: Final = 10**9


@dataclass(frozen=True)
class Meaning:
    """What a phrase may stand for: `values` are names, traits, domains or numbers, as its kind has it."""

    kind: TokenKind
    values: tuple[str, ...] = ()


_UNKNOWN: Final = (Meaning("unknown"),)
_KINDS_OF_MARKS: Final[Mapping[TokenKind, str]] = {"comma": ",，–—", "stop": ":：;；", "open": "(（", "close": ")）"}
_MARKS: Final = {mark: (Meaning(kind),) for kind, marks in _KINDS_OF_MARKS.items() for mark in marks}


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
        return next((meaning for meaning in self.meanings if meaning.kind == kind), None)


@dataclass(frozen=True)
class LanguageVocabulary:
    """What a language says whatever the items are.

    Attributes:
        phrases: in lower case, with what they stand for.
        patterns: what is written by a rule; the first group is the value.
        clitics: what may follow a word after an apostrophe and is a token of its own.
    """

    phrases: Mapping[str, tuple[Meaning, ...]]
    patterns: tuple[tuple[re.Pattern[str], TokenKind], ...]
    clitics: tuple[str, ...] = ()

    @cached_property
    def lengths(self) -> Mapping[str, frozenset[int]]:
        """By first character: how long the phrases are that begin so."""
        return _lengths(self.phrases)

    @cached_property
    def start(self) -> re.Pattern[str]:
        """Found, without length, wherever one of the patterns matches."""
        either = "|".join(f"(?{'i' if p.flags & re.IGNORECASE else ''}:{p.pattern})" for p, _ in self.patterns)
        return re.compile(f"(?={either})" if either else r"(?!)")

    @cached_property
    def inside(self) -> re.Pattern[str]:
        """Places inside a word or a clitic, where no token may begin or end."""
        clitics = "".join(f"|(?<=')(?i:(?={re.escape(clitic)}))" for clitic in self.clitics)
        return re.compile(f"(?<={_LETTER})(?={_LETTER}){clitics}")

    @cached_property
    def word(self) -> re.Pattern[str]:
        """A word that is not known, without its clitic."""
        no_clitic = "".join(rf"(?!{re.escape(clitic)}(?:[ .,;:]|\Z))" for clitic in self.clitics)
        return re.compile(rf"(?=[^\W_])(?={_LETTER})(?:{_LETTER}|-(?={_LETTER})|'(?={_LETTER}){no_clitic})+")


@dataclass(frozen=True)
class Vocabulary:
    """What can be found: names by their exact letters, phrases in any case, and what the language has of its own."""

    names: Mapping[str, tuple[Meaning, ...]]
    phrases: Mapping[str, tuple[Meaning, ...]]
    language: LanguageVocabulary

    @cached_property
    def own(self) -> frozenset[str]:
        """Names and phrases that are not the language's, in lower case."""
        return frozenset((*map(_lowered, self.names), *self.phrases))

    @cached_property
    def lengths(self) -> Mapping[str, frozenset[int]]:
        """By first character in lower case: how long the names and phrases are that begin so."""
        common, own = self.language.lengths, _lengths(self.own)
        return {**common, **{first: lengths | common.get(first, frozenset()) for first, lengths in own.items()}}


@dataclass(frozen=True)
class _Text:
    """A sentence as it is searched: folded, in lower case, and the places where patterns and no tokens begin."""

    folded: str
    lowered: str
    inside: frozenset[int]
    patterned: frozenset[int]


def folded(text: str) -> str:
    """The text without accents and typographic variants, character for character."""
    return text.replace("`", "'") if text.isascii() else "".join(map(_bare, text))


def tokenize(sentence: str, vocabulary: Vocabulary) -> list[Token]:
    """The tokens of a sentence, in order; punctuation that separates nothing is left out."""
    bare = folded(sentence)
    inside = frozenset(m.start() for m in vocabulary.language.inside.finditer(bare))
    patterned = frozenset(m.start() for m in vocabulary.language.start.finditer(bare))
    text = _Text(bare, _lowered(bare), inside, patterned)
    costs = [0, *[_NEVER] * len(bare)]
    steps: list[tuple[int, tuple[Meaning, ...] | None]] = [(0, None)] * len(costs)
    for start in range(len(bare)):
        cost = costs[start]
        if cost >= _NEVER:
            continue
        for end, meant, price in _edges(text, start, vocabulary):
            if cost + price < costs[end]:
                costs[end], steps[end] = cost + price, (start, meant)
    tokens: list[Token] = []
    at = len(bare)
    while at > 0:
        start, meant = steps[at]
        if meant is not None:
            # Unknown characters that follow each other directly (as in Chinese) are one token.
            continues = meant is _UNKNOWN and tokens and tokens[-1].meanings is _UNKNOWN and tokens[-1].start == at
            end = tokens.pop().end if continues else at
            tokens.append(Token(start, end, sentence[start:end], meant))
        at = start
    return tokens[::-1]


def _edges(text: _Text, start: int, vocabulary: Vocabulary) -> Iterator[tuple[int, tuple[Meaning, ...] | None, int]]:
    """Where a token that begins here may end, what it then means (None: nothing, it is skipped) and costs."""
    bare, inside = text.folded, text.inside
    mark = bare[start]
    if mark in _MARKS:
        yield start + 1, _MARKS[mark], 1
        return
    if start in inside:
        return
    lowered, own, common = text.lowered, vocabulary.own, vocabulary.language.phrases
    for length in vocabulary.lengths.get(lowered[start], ()):
        end = start + length
        if end > len(bare) or end in inside:
            continue
        said = lowered[start:end]
        if said in own:
            names, phrases = vocabulary.names.get(bare[start:end], ()), vocabulary.phrases.get(said, ())
            if meant := (*names, *phrases, *common.get(said, ())):
                yield end, meant, 1
        elif said in common:
            yield end, common[said], 1
    for pattern, kind in vocabulary.language.patterns if start in text.patterned else ():
        match = pattern.match(bare, start)
        named = match is not None and kind == "unknown-title" and match.group(1).strip() in vocabulary.names
        if match and not named and match.end() not in inside:
            yield match.end(), (Meaning(kind, tuple(g for g in match.groups() if g is not None)),), 1
    if mark in _SKIPPED or mark.isspace():
        yield start + 1, None, 0
        return
    word = vocabulary.language.word.match(bare, start)
    end = word.end() if word else start + 1
    yield end, _UNKNOWN, _UNKNOWN_COST * (end - start)


def _lowered(text: str) -> str:
    """The text in lower case, character for character."""
    lowered = text.lower()
    if len(lowered) == len(text) and "Σ" not in text:  # the one letter whose small form depends on what follows
        return lowered
    return "".join(low if len(low := c.lower()) == 1 else c for c in text)


def _lengths(phrases: Iterable[str]) -> dict[str, frozenset[int]]:
    found: dict[str, set[int]] = {}
    for phrase in phrases:
        found.setdefault(phrase[0].lower(), set()).add(len(phrase))
    return {first: frozenset(lengths) for first, lengths in found.items()}


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
