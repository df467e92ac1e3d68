"""Search as you type. Reads the beginning of a title, produces the items that could be meant, best first.

The keys of a domain's titles are held in memory, about 10 MB for 40,000 items, and made anew when the domain has
changed. First come titles that begin like the query, then those in which every word of it begins a word, in each case
those that more users know first; only where there are none those that begin nearly so.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Final

from rapidfuzz import fuzz, process

from retrieval.errors import UsageError
from retrieval.store import Store
from retrieval.titles import normalise
from retrieval.types import Item

_NEAR: Final = 70.0
"""Similarity in [0, 100] from which a title that is spelled differently is shown."""
_LAST_LETTER: Final = "\U0010ffff"  # sorts behind every letter
_MIN_LETTERS: Final = 3  # letters from which misspellings are looked for


@dataclass(frozen=True)
class _Titles:
    """One domain at one generation; `keys` are sorted, and `words` are the sorted words with the keys they are in."""

    generation: int
    keys: Sequence[str]
    ids: Sequence[str]
    words: Sequence[str]
    keys_of_word: Sequence[tuple[int, ...]]
    popularity: dict[str, int]


class TitleSearch:
    """Searches titles and aliases; safe to use from several threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._domains: dict[str, _Titles] = {}
        self._lock = Lock()

    def find(self, domain: str, query: str, limit: int) -> list[Item]:
        """At most `limit` items whose titles could be meant, best first; none for a blank query.

        Raises:
            UsageError: the domain has no items.
            StoreError: the database fails.
        """
        titles = self._titles(domain)
        typed = normalise(query)
        if not typed:
            return []
        ids = list(dict.fromkeys(titles.ids[p] for p in _best(titles, typed, limit)))[:limit]
        return list(self._store.items(domain, ids).values())

    def _titles(self, domain: str) -> _Titles:
        generation = self._store.generation(domain)
        with self._lock:
            known = self._domains.get(domain)
            if known is None or known.generation != generation:
                known = _read(self._store, domain, generation)
                self._domains[domain] = known
        return known


def _read(store: Store, domain: str, generation: int) -> _Titles:
    pairs = sorted(store.title_keys(domain))
    if not pairs:
        have = ", ".join(summary.domain for summary in store.domains()) or "none yet"
        raise UsageError(f"there is no domain {domain!r} (domains: {have})", hint=f"xdrec ingest {domain} FILE")
    holding: dict[str, list[int]] = defaultdict(list)
    for place, (key, _) in enumerate(pairs):
        for word in set(key.split()):
            holding[word].append(place)
    words = sorted(holding)
    return _Titles(
        generation=generation,
        keys=[key for key, _ in pairs],
        ids=[item for _, item in pairs],
        words=words,
        keys_of_word=[tuple(holding[word]) for word in words],
        popularity=store.popularity(domain),
    )


def _best(titles: _Titles, typed: str, limit: int) -> list[int]:
    """Places of keys, best first."""
    begins = _beginning(titles.keys, typed)
    found = _by_popularity(titles, begins, typed)
    if len(found) < limit:
        found += _by_popularity(titles, _with_words(titles, typed) - set(begins), typed)
    if not found and len(typed) >= _MIN_LETTERS:
        # As much of each title as has been typed: the rest is yet to come.
        starts = [key[: len(typed)] for key in titles.keys]
        near = process.extract(typed, starts, scorer=fuzz.ratio, limit=limit, score_cutoff=_NEAR)
        found = [place for _, _, place in near]
    return found


def _beginning(texts: Sequence[str], start: str) -> range:
    """Places of the sorted texts that begin with `start`."""
    return range(bisect_left(texts, start), bisect_left(texts, start + _LAST_LETTER))


def _with_words(titles: _Titles, typed: str) -> set[int]:
    """Places of the keys in which every word of the query begins a word."""
    sets = [
        {key for word in _beginning(titles.words, part) for key in titles.keys_of_word[word]} for part in typed.split()
    ]
    return set.intersection(*sets)


def _by_popularity(titles: _Titles, places: Iterable[int], typed: str) -> list[int]:
    """The exact title first, then what most users know, then the shortest."""
    return sorted(
        places,
        key=lambda p: (titles.keys[p] != typed, -titles.popularity.get(titles.ids[p], 0), len(titles.keys[p]), p),
    )
