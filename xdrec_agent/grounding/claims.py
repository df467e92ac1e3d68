"""What the check finds in a sentence: claims, each about an item, each supported or not. All frozen."""

from __future__ import annotations

from typing import Literal

from retrieval.types import Frozen

ClaimKind = Literal["title", "person", "year", "number", "category", "relation", "liked", "statement", "language"]


class Claim(Frozen):
    """One thing that a text says.

    Attributes:
        text: the words that say it.
        kind: "title": a name, known or not; "person": who took part in a work; "year": a year or decade; "number": a
            volume, any other number, or how close something is; "category": a category or theme, or of what domain
            something is; "relation": between works, or a work and something else; "liked": that the user likes an
            item; "statement": anything else, as plot or mood; "language": that the text is in the wanted language
            (found only where it is not).
        subject: title of what it speaks of; empty if of nothing in particular.
        support: what bears it out, or what was looked for in vain.
        sentence: which sentence of the text says it, from 0.
    """

    text: str
    kind: ClaimKind
    subject: str = ""
    supported: bool
    support: str
    sentence: int = 0
