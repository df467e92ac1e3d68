"""Title matching. Reads a work as a user's export knows it, produces the item of the catalogue that it is.

An exact title (or alias) comes first. Creators, where both sides name them in the same script, have to agree; otherwise
years may differ by one, since festivals, countries and databases date films differently.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Final

from rapidfuzz import fuzz

from retrieval.errors import AmbiguousTitle, TitleError, UnknownTitle
from retrieval.store import Store
from retrieval.titles import MAX_SUGGESTIONS, label, matching, nearest, normalise, year_of
from retrieval.types import Item

YEARS_APART: Final = 1
"""How far the years of the same film may differ."""
PROPOSALS: Final = 100
"""How many unknown titles get proposals: each takes a tenth of a second with ten thousand items, and who reads more?"""
SAME_NAME: Final = 85.0
"""Similarity in [0, 100] from which two creators are the same person ("J. R. R. Tolkien", "JRR Tolkien")."""


class _CachedKeys:
    """The store, with the keys of one domain kept in memory: every unknown title is compared with all of them."""

    def __init__(self, store: Store) -> None:
        self.title_keys = cache(store.title_keys)
        self.item_ids_by_title = store.item_ids_by_title
        self.items = store.items


class TitleMatcher:
    """Finds the items of one domain, as it was at the first title that had to be guessed.

    Equal questions are answered once.
    """

    def __init__(self, store: Store, domain: str) -> None:
        self._store = _CachedKeys(store)
        self._proposed = 0
        self._domain = domain
        self._matches: dict[tuple[str, int | None, tuple[str, ...]], Item | TitleError] = {}

    def match(self, work: Item) -> Item:
        """The item that the work is; an edition stands for its work.

        Raises:
            UnknownTitle: the catalogue has none; `nearest` proposes.
            AmbiguousTitle: it has several that it could be.
        """
        key = (work.title, work.year, work.creators)
        if key not in self._matches:
            try:
                self._matches[key] = self._find(work)
            except TitleError as exc:
                self._matches[key] = exc
        match = self._matches[key]
        if isinstance(match, TitleError):
            raise match
        return match

    def add(self, work: Item) -> None:
        """The work is now an item of the catalogue itself."""
        self._matches[work.title, work.year, work.creators] = work

    def _find(self, work: Item) -> Item:
        for title in (work.title, *work.aliases):
            ids = self._store.item_ids_by_title(self._domain, normalise(title))
            items = [item for item in self._store.items(self._domain, ids).values() if _may_be(work, item)]
            same_year = [item for item in items if work.year is not None and year_of(item) == work.year]
            works = _works(same_year or items)
            if len(works) == 1:
                return works[0]
            if works:
                shown = tuple(map(label, works[:MAX_SUGGESTIONS]))
                raise AmbiguousTitle(f"{work.title!r} names {len(works)} items: {'; '.join(shown)}", nearest=shown)
        close = matching(self._store, (self._domain,), work.title)
        if len(close) == 1 and _may_be(work, close[0]):
            return close[0]
        near = tuple(map(label, close)) or self._proposals(work.title)
        proposals = f"; nearest: {'; '.join(near)}" if near else ""
        raise UnknownTitle(f"no item of {self._domain} is {label(work)!r}{proposals}", nearest=near)

    def _proposals(self, title: str) -> tuple[str, ...]:
        if self._proposed >= PROPOSALS:
            return ()
        self._proposed += 1
        return tuple(map(label, nearest(self._store, (self._domain,), title)))


def _may_be(work: Item, item: Item) -> bool:
    agree = _same_creators(work.creators, item.creators)
    if agree is not None:
        return agree
    year = year_of(item)
    return work.year is None or year is None or abs(work.year - year) <= YEARS_APART


def _same_creators(ours: Sequence[str], theirs: Sequence[str]) -> bool | None:
    """Whether one creator of each is the same; None if that cannot be told: none, or names in different scripts."""
    if not ours or not theirs or "".join(ours).isascii() != "".join(theirs).isascii():
        return None
    return any(
        fuzz.token_sort_ratio(a, b) >= SAME_NAME or a.replace(" ", "") == b.replace(" ", "")
        for a in map(normalise, ours)
        for b in map(normalise, theirs)
    )


def _works(items: Sequence[Item]) -> list[Item]:
    """One item of each work, not an edition where there is another."""
    works: dict[str, Item] = {}
    for item in sorted(items, key=lambda i: (i.edition_of is not None, i.id)):
        works.setdefault(item.edition_of or item.id, item)
    return list(works.values())
