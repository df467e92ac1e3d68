"""A place in a text where items are named. Reads nothing, produces the type that the readers hand to one another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Ids = tuple[tuple[str, str], ...]
"""(domain, item id) of each item that may be meant."""


@dataclass(frozen=True)
class Mention:
    """Characters `start` to `end` of the text, and what they may name.

    Attributes:
        kind: "title": one of `ids`; "series": all of them; "shown": all of them, spoken of by their place;
            "unknown": none, and `ids` are the nearest.
    """

    start: int
    end: int
    text: str
    ids: Ids
    kind: Literal["title", "series", "shown", "unknown"] = "title"
    quoted: bool = False

    def overlaps(self, other: Mention) -> bool:
        """Whether the two share a character."""
        return self.start < other.end and other.start < self.end
