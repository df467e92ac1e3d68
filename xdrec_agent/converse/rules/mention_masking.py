"""A text with its mentions taken out. Reads a text and mentions, produces a text in which each is one character."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from xdrec_agent.converse.rules.mentions import Mention

_FIRST: Final = 0xE000
MOST: Final = 200
MARK: Final = f"[{chr(_FIRST)}-{chr(_FIRST + MOST)}]"
"""A pattern of one mention."""
_BREAK: Final = re.compile(
    r"[.;!?。！？；\n]+(?=\s|$|[^\x00-\x7f])|[。！？；\n]|\b(?:but|however|yet|although|though(?=\s+\w))\b|但是|但|不过|可是|然而|只是",
    re.I,
)


@dataclass(frozen=True)
class Clause:
    """A part of a masked text, from `start` on, in which words belong together; `sentence` counts sentences."""

    text: str
    start: int
    sentence: int


@dataclass(frozen=True)
class Masked:
    """A text whose mentions are private-use characters, the n-th mention being the n-th of these."""

    text: str
    mentions: tuple[Mention, ...]

    def of(self, char: str) -> Mention:
        """The mention that a character stands for."""
        return self.mentions[ord(char) - _FIRST]

    def clauses(self) -> list[Clause]:
        """The clauses, in order."""
        out, start, sentence = [], 0, 0
        for found in _BREAK.finditer(self.text):
            out.append(Clause(self.text[start : found.start()], start, sentence))
            start = found.end()
            sentence += not found[0].strip().isalpha()
        out.append(Clause(self.text[start:], start, sentence))
        return [clause for clause in out if clause.text.strip()]

    def with_more(self, places: Sequence[tuple[int, int, Mention]]) -> Masked:
        """The same with further mentions at these places of the masked text."""
        text, mentions = self.text, list(self.mentions)
        for start, end, mention in sorted(places, key=lambda p: -p[0]):
            if len(mentions) >= MOST:
                break
            text = text[:start] + chr(_FIRST + len(mentions)) + text[end:]
            mentions.append(mention)
        return Masked(text, tuple(mentions))


def cleaned(text: str) -> str:
    """The text without characters that stand for mentions."""
    return re.sub(r"[\ue000-\uf8ff]", " ", text)


def mask(text: str, mentions: Sequence[Mention]) -> Masked:
    """Take the mentions (in order, none overlapping, at most `MOST`) out of a cleaned text."""
    kept = tuple(mentions[:MOST])
    out, at = [], 0
    for number, mention in enumerate(kept):
        out += [text[at : mention.start], chr(_FIRST + number)]
        at = mention.end
    return Masked("".join(out) + text[at:], kept)
