"""What the catalogues call things. Reads the store, produces look-ups of titles, series, creators, categories.

Everything is read once a generation and kept; titles are found by dictionary look-ups, whatever the catalogue's size.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from threading import Lock
from typing import Final

from retrieval.store import Store
from retrieval.titles import normalise
from retrieval.types import Item
from xdrec_agent.converse.numerals import with_digits

HAN: Final = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
LENGTHS: Final = ("pages", "page_count", "minutes", "runtime", "duration", "length", "words")
"""Attributes that tell how long an item takes, the first that a catalogue has."""
_TAIL: Final = re.compile(r"[0-9与和之的第]+$")
_SHORT: Final = 5  # letters that a title's part before the colon must have to stand for it
_NUMBERS: Final = 5_000  # different values of an attribute that a filter may list


@dataclass
class DomainWords:
    """The words of one domain's catalogue at one generation."""

    generation: int
    keys: list[tuple[str, str]] = field(default_factory=list)
    han_keys: list[tuple[str, str]] = field(default_factory=list)
    latin_keys: list[tuple[str, str]] = field(default_factory=list)
    titles: dict[str, tuple[str, ...]] = field(default_factory=dict)
    spelled: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Titles that hold a number, with digits."""
    short: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """What stands before a title's colon, where that names one item alone."""
    han: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Titles with Chinese characters, without spaces."""
    han_series: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """What the Chinese titles of a series begin with → its items, by volume."""
    longest_han: int = 0
    firsts: set[str] = field(default_factory=set)
    """First words of titles and series."""
    articled: set[str] = field(default_factory=set)
    """Keys of titles that begin with an article, which the key leaves out."""
    series: dict[str, tuple[tuple[float, str], ...]] = field(default_factory=dict)
    """Series key → (volume, item id), by volume."""
    creators: dict[str, set[str]] = field(default_factory=dict)
    """Key of a full name or its last word → full names."""
    name_parts: dict[str, set[str]] = field(default_factory=dict)
    """A word of a name → full names that have it."""
    works: dict[str, list[str]] = field(default_factory=dict)
    """Creator → item ids."""
    categories: dict[str, str] = field(default_factory=dict)
    languages: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, list[float]] = field(default_factory=dict)
    """Values of each numeric attribute, ascending."""

    @property
    def length(self) -> str | None:
        """The attribute that tells how long an item takes."""
        return next((name for name in LENGTHS if name in self.numbers), None)


_NOTHING: Final = DomainWords(0)


class Lexicon:
    """The words of all domains of a store; a title source for `retrieval.titles`."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._domains: dict[str, DomainWords] = {}
        self._changing = Lock()
        self.refresh()

    def names(self) -> tuple[str, ...]:
        """The domains that had items at the last `refresh`."""
        return tuple(self._domains)

    def refresh(self) -> tuple[str, ...]:
        """Read anew what has changed; the domains that there are. Raises StoreError."""
        there = {summary.domain: summary.generation for summary in self.store.domains()}
        with self._changing:
            fresh = dict(self._domains)
            for domain, generation in there.items():
                known = fresh.get(domain)
                if known is None or known.generation != generation:
                    fresh[domain] = _read(self.store, domain, generation)
            self._domains = {domain: fresh[domain] for domain in there}
        return tuple(there)

    def of(self, domain: str) -> DomainWords:
        """The words of a domain as they were at the last `refresh`; none of an unknown one."""
        return self._domains.get(domain, _NOTHING)

    def title_keys(self, domain: str) -> list[tuple[str, str]]:
        """All (key, item id) pairs of the domain."""
        return self.of(domain).keys

    def item_ids_by_title(self, domain: str, key: str) -> tuple[str, ...]:
        """Ids of the items that have this key, its numbers in words or digits, or its part before the colon."""
        words = self.of(domain)
        return words.titles.get(key) or words.spelled.get(with_digits(key) or "") or words.short.get(key, ())

    def items(self, domain: str, ids: Iterable[str]) -> dict[str, Item]:
        """The items with these ids."""
        return self.store.items(domain, ids)


class OneScript:
    """A lexicon whose titles are those with Chinese characters, or those without: nothing else can be like a text."""

    def __init__(self, lexicon: Lexicon, *, han: bool) -> None:
        self._lexicon = lexicon
        self._han = han

    def title_keys(self, domain: str) -> list[tuple[str, str]]:
        """The (key, item id) pairs of the script."""
        words = self._lexicon.of(domain)
        return words.han_keys if self._han else words.latin_keys

    def item_ids_by_title(self, domain: str, key: str) -> tuple[str, ...]:
        """Ids of the items that have this key."""
        return self._lexicon.item_ids_by_title(domain, key)

    def items(self, domain: str, ids: Iterable[str]) -> dict[str, Item]:
        """The items with these ids."""
        return self._lexicon.items(domain, ids)


def squeezed(key: str) -> str:
    """A key without spaces, as Chinese titles are looked up."""
    return key.replace(" ", "")


def _read(store: Store, domain: str, generation: int) -> DomainWords:
    words = DomainWords(generation, keys=store.title_keys(domain))
    titles: dict[str, list[str]] = {}
    for key, item_id in words.keys:
        titles.setdefault(key, []).append(item_id)
    words.titles = {key: tuple(sorted(ids)) for key, ids in titles.items()}
    words.han_keys = [pair for pair in words.keys if HAN.search(pair[0])]
    words.latin_keys = [pair for pair in words.keys if not HAN.search(pair[0])]
    words.spelled = {digits: ids for key, ids in words.titles.items() if (digits := with_digits(key))}
    words.han = {squeezed(key): ids for key, ids in words.titles.items() if HAN.search(key)}
    series: dict[str, list[tuple[float, str]]] = {}
    numbers: dict[str, set[float]] = {}
    short: dict[str, list[str]] = {}
    for item in store.iter_items(domain):
        _note(words, series, numbers, item)
        if ":" in item.title and len(key := normalise(item.title.partition(":")[0])) >= _SHORT:
            short.setdefault(key, []).append(item.id)
    words.short = {k: tuple(i) for k, i in short.items() if len(i) == 1 and k not in words.titles and k not in series}
    words.series = {key: tuple(sorted(members)) for key, members in series.items()}
    words.han_series = _han_series(words)
    words.longest_han = max(map(len, (*words.han, *words.han_series)), default=0)
    words.firsts = {key.partition(" ")[0] for key in (*words.titles, *words.spelled, *series)}
    words.numbers = {name: sorted(values) for name, values in numbers.items() if len(values) <= _NUMBERS}
    return words


def _han_series(words: DomainWords) -> dict[str, tuple[str, ...]]:
    """For each series of several items the beginning that their Chinese titles share, as 指环王 and 哈利波特."""
    titles: dict[str, list[str]] = {}
    for key, ids in words.han.items():
        for item_id in ids:
            titles.setdefault(item_id, []).append(key)
    out: dict[str, tuple[str, ...]] = {}
    for members in words.series.values():
        names = [name for _, item_id in members for name in titles.get(item_id, ())]
        shared = _TAIL.sub("", _beginning(names)) if len(names) > 1 else ""
        if len(shared) > 1 and HAN.search(shared) and shared not in words.han:
            out[shared] = tuple(item_id for _, item_id in members)
    return out


def _beginning(names: Sequence[str]) -> str:
    """What all the names begin with."""
    shared = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    return "".join(letters[0] for letters in shared)


def _note(
    words: DomainWords, series: dict[str, list[tuple[float, str]]], numbers: dict[str, set[float]], item: Item
) -> None:
    if item.title[:4].casefold().startswith(("the ", "a ", "an ")):
        words.articled.add(normalise(item.title))
    if item.series:
        members = series.setdefault(normalise(item.series), [])
        members.append((item.volume if item.volume is not None else float("inf"), item.id))
    for name in item.creators:
        full = normalise(name)
        for key in {
            full,
            full.split(" ")[-1],
            *(" ".join(full.split(" ")[n:]) for n in (1, 2) if full.count(" ") >= n),
        }:
            words.creators.setdefault(key, set()).add(name)
        for part in full.split(" "):
            words.name_parts.setdefault(part, set()).add(name)
        words.works.setdefault(name, []).append(item.id)
    for category in item.categories:
        words.categories.setdefault(category.casefold(), category)
    if item.language:
        words.languages.setdefault(item.language.casefold(), item.language)
    for name, value in item.attributes.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            numbers.setdefault(name, set()).add(float(value))
