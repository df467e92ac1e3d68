"""Mentions and their masking. Reads a text and what it mentions, produces a text in which each mention is one letter.

A mention is a title, or a reference to a shown item by its place. What is said around it reads the same whatever it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

from xdrec_agent.converse.grammar import FIRST_MENTION, MENTION, MOST_MENTIONS, Grammar, Rule
from xdrec_agent.converse.state import ItemRef

Ids = tuple[tuple[str, str], ...]
"""(domain, item id) of each item that may be meant."""

# Punctuation parts clauses, but not within a number or "L.A.".
_PUNCTUATION: Final = Rule.of(r"[.;!?。！？；\n]+(?=\s|$|[^\x00-\x7f])|[。！？；\n]")
MASK: Final = re.compile(MENTION)
"""One masked mention."""
_PRIVATE: Final = re.compile(r"[\ue000-\uf8ff]")


@dataclass(frozen=True)
class Span:
    """Characters `start` to `end` of a text."""

    start: int
    end: int


S = TypeVar("S", bound=Span)


def without_overlaps(spans: Iterable[S]) -> list[S]:
    """The spans in the order of the text; of those that overlap the one that was given first."""
    chosen: list[S] = []
    for span in spans:
        if not any(span.start < other.end and other.start < span.end for other in chosen):
            chosen.append(span)
    return sorted(chosen, key=lambda span: span.start)


@dataclass(frozen=True)
class Mention(Span):
    """A part of the text, and what it may name.

    Attributes:
        kind: "title": one of `ids`; "series": all of them; "shown": all of them, spoken of by their place;
            "unknown": none, and `ids` are the nearest.
    """

    text: str
    ids: Ids
    kind: Literal["title", "series", "shown", "unknown"] = "title"
    quoted: bool = False


@dataclass(frozen=True)
class Clause:
    """A part of a masked text, from `start` on, in which words belong together; `sentence` counts sentences."""

    text: str
    start: int
    sentence: int


@dataclass(frozen=True)
class MaskedText:
    """A text whose mentions are private-use characters, the n-th mention being the n-th of these."""

    text: str
    mentions: tuple[Mention, ...]

    def of(self, char: str) -> Mention:
        """The mention that a character stands for."""
        return self.mentions[ord(char) - FIRST_MENTION]

    def clauses(self, grammar: Grammar) -> list[Clause]:
        """The clauses, in order."""
        out, start, sentence = [], 0, 0
        for found in (_PUNCTUATION + grammar.clauses).finditer(self.text):
            out.append(Clause(self.text[start : found.start()], start, sentence))
            start = found.end()
            sentence += not found[0].strip().isalpha()
        out.append(Clause(self.text[start:], start, sentence))
        return [clause for clause in out if clause.text.strip()]

    def with_more(self, places: Sequence[tuple[int, int, Mention]]) -> MaskedText:
        """The same with further mentions at these places of the masked text."""
        text, mentions = self.text, list(self.mentions)
        for start, end, mention in sorted(places, key=lambda place: -place[0]):
            if len(mentions) >= MOST_MENTIONS:
                break
            text = text[:start] + chr(FIRST_MENTION + len(mentions)) + text[end:]
            mentions.append(mention)
        return MaskedText(text, tuple(mentions))


def without_masks(text: str) -> str:
    """The text without characters that stand for mentions."""
    return _PRIVATE.sub(" ", text)


def mask(text: str, mentions: Sequence[Mention]) -> MaskedText:
    """Take the mentions (in order, none overlapping, at most `MOST_MENTIONS`) out of a text without masks."""
    kept = tuple(mentions[:MOST_MENTIONS])
    out, at = [], 0
    for number, mention in enumerate(kept):
        out += [text[at : mention.start], chr(FIRST_MENTION + number)]
        at = mention.end
    return MaskedText("".join(out) + text[at:], kept)


def blanked(text: str, spans: Iterable[tuple[int, int]], by: str = " ") -> str:
    """The text with these characters replaced, each by one."""
    out = list(text)
    for start, end in spans:
        out[start:end] = by * (end - start)
    return "".join(out)


def find_references(text: str, grammar: Grammar, shown: Sequence[ItemRef], focus: Sequence[ItemRef]) -> list[Mention]:
    """The references to shown items in the text, in order; a place beyond the list names nothing.

    "this one" and "it" name what was spoken of last (`focus`), and nothing if that is not one thing.
    """
    return without_overlaps(
        Mention(*match.span(group), match[group], tuple(ref.key for ref in refs), "shown")
        for match, group, refs in _references(text, grammar, shown, focus)
    )


def _references(
    text: str, grammar: Grammar, shown: Sequence[ItemRef], focus: Sequence[ItemRef]
) -> Iterator[tuple[re.Match[str], int | str, Sequence[ItemRef]]]:
    """(match, its group, what it names), the surest first."""
    rules = grammar.patterns["references"]
    for rule in grammar.places:
        for match in rule.pattern.finditer(text):
            numbers = grammar.numbers.values(match["number"]) if "number" in match.re.groupindex else []
            count = max(1, *numbers[:1], 1)
            places: dict[str, Iterable[int]] = {
                "first": range(1, count + 1),
                "last": range(len(shown) - count + 1, len(shown) + 1),
                "each": dict.fromkeys(numbers),
                "end": [len(shown)],
                "all": range(1, len(shown) + 1),
            }
            yield match, 0, [shown[n - 1] for n in places[rule.which] if 1 <= n <= len(shown)]
    if shown:
        for match in rules["listed"].finditer(text):
            numbers = grammar.numbers.values(match["number"])
            if all(n <= len(shown) for n in numbers):
                yield match, "number", [shown[n - 1] for n in numbers]
        for match in rules["these"].finditer(text):
            yield match, 0, shown
    if len(focus) == 1:
        for match in rules["this"].finditer(text):
            yield match, 0, focus
