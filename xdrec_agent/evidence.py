"""Evidence. Reads a candidate and a history, produces what an explanation may say, before anything is written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from retrieval.types import Candidate, History, Item, Match


@dataclass(frozen=True)
class Known:
    """A liked history item that speaks for the candidate, under the label that the prompt gives it.

    Attributes:
        shared: creators, categories and themes that it has in common with the candidate.
    """

    label: str
    item: Item
    match: Match
    shared: tuple[str, ...]


@dataclass(frozen=True)
class Evidence:
    """All that may be said for a candidate; empty for a query by text alone."""

    item: Item
    known: tuple[Known, ...]
    text: str | None = None

    @property
    def traits(self) -> tuple[str, ...]:
        """What the candidate shares with any of the known items, most specific first, without repetition."""
        return tuple(dict.fromkeys(trait for known in self.known for trait in known.shared))


def gather(candidate: Candidate, history: History, text: str | None, limit: int) -> Evidence:
    """The `limit` history items with the largest share of the score, items that share a trait before others."""
    items = {(e.item.domain, e.item.id): e.item for e in history.liked}
    found = [
        (items[m.domain, m.item], m, shared_traits(candidate.item, items[m.domain, m.item]))
        for m in candidate.matches
        if (m.domain, m.item) in items
    ]
    found.sort(key=lambda row: not row[2])
    known = tuple(Known(f"L{n}", item, match, shared) for n, (item, match, shared) in enumerate(found[:limit], 1))
    return Evidence(candidate.item, known, text)


def shared_traits(a: Item, b: Item) -> tuple[str, ...]:
    """Creators, themes and categories of `a` that `b` has too, regardless of case; most specific kind first."""
    return tuple(
        trait
        for mine, theirs in ((a.creators, b.creators), (a.themes, b.themes), (a.categories, b.categories))
        for trait in _common(mine, theirs)
    )


def _common(mine: Iterable[str], theirs: Iterable[str]) -> list[str]:
    folded = {t.casefold() for t in theirs}
    return [m for m in mine if m.casefold() in folded]
