"""The catalogues' words. Reads the store, produces look-ups of titles, series, creators and categories.

Everything is read once a generation and kept; titles are found by dictionary look-ups, whatever the catalogue's size.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import takewhile
from threading import Lock
from typing import Final

from retrieval.store import Store
from retrieval.titles import TitleSource, normalise
from retrieval.types import Item
from xdrec_agent.converse.grammar import longest_first
from xdrec_agent.converse.language import all_languages, is_unspaced, spaced_numbers

_SHORTEST_HEAD: Final = 5  # letters that a title's part before the colon must have to stand for it
_MOST_NUMBERS: Final = 5_000  # different values of an attribute that a filter may list


@dataclass
class DomainLexicon:
    """The words of one domain's catalogue at one generation; "unspaced" is what a script without spaces writes."""

    generation: int
    keys_by_script: dict[bool, list[tuple[str, str]]] = field(default_factory=dict)
    """(title key, item id) of unspaced titles (True) and the others."""
    titles: dict[str, tuple[str, ...]] = field(default_factory=dict)
    with_digits: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Titles that hold a number, with digits."""
    heads: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """What stands before a title's colon, where that names one item alone."""
    unspaced: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Unspaced titles, whatever spaces their keys have."""
    unspaced_series: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """What the unspaced titles of a series begin with, as 指环王 and 哈利波特 → its items, by volume."""
    longest_unspaced: int = 0
    first_words: set[str] = field(default_factory=set)
    """First words of titles and series."""
    articled: set[str] = field(default_factory=set)
    """Keys of titles that begin with an article, which the key leaves out."""
    series: dict[str, tuple[tuple[float, str], ...]] = field(default_factory=dict)
    """Series key → (volume, item id), by volume."""
    creators: dict[str, set[str]] = field(default_factory=dict)
    """Key of a full name or of what it ends with → full names."""
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
        return next((name for name in all_languages().length_attributes if name in self.numbers), None)


EMPTY: Final = DomainLexicon(0)


class Lexicon:
    """The words of all domains of a store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._domains: dict[str, DomainLexicon] = {}
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

    def of(self, domain: str | None) -> DomainLexicon:
        """The words of a domain as they were at the last `refresh`; none of an unknown one."""
        return self._domains.get(domain or "", EMPTY)

    def item_ids_by_title(self, domain: str, key: str) -> tuple[str, ...]:
        """Ids of the items that have this key, its numbers in words or digits, or its part before the colon."""
        words = self.of(domain)
        return words.titles.get(key) or words.with_digits.get(with_digits(key) or "") or words.heads.get(key, ())

    def items(self, domain: str, ids: Iterable[str]) -> dict[str, Item]:
        """The items with these ids."""
        return self.store.items(domain, ids)

    def items_of(self, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Item]:
        """The items with these (domain, item id) keys, in order. Raises StoreError."""
        wanted = list(dict.fromkeys(keys))
        found = {}
        for domain in dict.fromkeys(domain for domain, _ in wanted):
            for item in self.items(domain, [id_ for of, id_ in wanted if of == domain]).values():
                found[domain, item.id] = item
        return {key: found[key] for key in wanted if key in found}

    def of_script(self, *, unspaced: bool) -> TitleSource:
        """The titles of scripts without spaces, or the others: nothing else can be like a text."""
        return _OneScript(self, unspaced)


@dataclass(frozen=True)
class _OneScript:
    lexicon: Lexicon
    unspaced: bool

    def title_keys(self, domain: str) -> list[tuple[str, str]]:
        return self.lexicon.of(domain).keys_by_script.get(self.unspaced, [])

    def item_ids_by_title(self, domain: str, key: str) -> tuple[str, ...]:
        return self.lexicon.item_ids_by_title(domain, key)

    def items(self, domain: str, ids: Iterable[str]) -> dict[str, Item]:
        return self.lexicon.items(domain, ids)


def with_digits(key: str) -> str | None:
    """The key with its number words as digits ("nineteen eighty four" is 1984); None: it has no number in it."""
    numbers = spaced_numbers()
    if not _number_in_key().search(key):
        return None
    out: list[str] = []
    for word in key.split():
        if word in numbers.scales and out and out[-1].isdigit():
            out[-1] = str(int(out[-1]) * numbers.scales[word])
        elif word in numbers.cardinals:
            _append_number(out, numbers.cardinals[word])
        else:
            out.append(word.replace(",", ""))
    return " ".join(out)


@cache
def _number_in_key() -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(longest_first(spaced_numbers().cardinals))})\b|[0-9]")


def _append_number(out: list[str], value: int) -> None:
    """Add a number word: "eighty four" is one number, and so is a year said in two halves."""
    before = int(out[-1]) if out and out[-1].isdigit() else 0
    if before % 10 == 0 and 0 < value < 10 and (20 <= before < 100 or before > 999):
        out[-1] = str(before + value)
    elif 10 < before < 100 and 10 <= value < 100:
        out[-1] = f"{before}{value}"
    else:
        out.append(str(value))


def _read(store: Store, domain: str, generation: int) -> DomainLexicon:
    words = DomainLexicon(generation)
    titles: dict[str, list[str]] = {}
    for key, item_id in store.title_keys(domain):
        titles.setdefault(key, []).append(item_id)
        words.keys_by_script.setdefault(is_unspaced(key), []).append((key, item_id))
    words.titles = {key: tuple(sorted(ids)) for key, ids in titles.items()}
    words.with_digits = {digits: ids for key, ids in words.titles.items() if (digits := with_digits(key))}
    words.unspaced = {key.replace(" ", ""): ids for key, ids in words.titles.items() if is_unspaced(key)}
    _read_items(words, store.iter_items(domain))
    words.unspaced_series = dict(_unspaced_series(words))
    words.longest_unspaced = max(map(len, (*words.unspaced, *words.unspaced_series)), default=0)
    words.first_words = {key.partition(" ")[0] for key in (*words.titles, *words.with_digits, *words.series)}
    return words


def _read_items(words: DomainLexicon, items: Iterable[Item]) -> None:
    """Fill in all that is no title."""
    articles = tuple(f"{article} " for article in all_languages().word_lists["titles"]["articles"])
    series: dict[str, list[tuple[float, str]]] = {}
    heads: dict[str, list[str]] = {}
    numbers: dict[str, set[float]] = {}
    for item in items:
        if item.title.casefold().startswith(articles):
            words.articled.add(normalise(item.title))
        head, colon, _ = item.title.partition(":")
        if colon and len(key := normalise(head)) >= _SHORTEST_HEAD:
            heads.setdefault(key, []).append(item.id)
        if item.series:
            volume = item.volume if item.volume is not None else float("inf")
            series.setdefault(normalise(item.series), []).append((volume, item.id))
        for name in item.creators:
            _add_creator(words, name, item.id)
        words.categories |= {c.casefold(): c for c in item.categories if c.casefold() not in words.categories}
        if item.language:
            words.languages.setdefault(item.language.casefold(), item.language)
        for name, value in item.attributes.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                numbers.setdefault(name, set()).add(float(value))
    words.series = {key: tuple(sorted(members)) for key, members in series.items()}
    taken = words.titles.keys() | words.series.keys()
    words.heads = {key: tuple(ids) for key, ids in heads.items() if len(ids) == 1 and key not in taken}
    words.numbers = {name: sorted(values) for name, values in numbers.items() if len(values) <= _MOST_NUMBERS}


def _add_creator(words: DomainLexicon, name: str, item_id: str) -> None:
    parts = normalise(name).split(" ")
    for first in {0, 1, 2, len(parts) - 1}:  # "Ursula K. Le Guin" is "Le Guin", too
        if first < len(parts):
            words.creators.setdefault(" ".join(parts[first:]), set()).add(name)
    for part in parts:
        words.name_parts.setdefault(part, set()).add(name)
    words.works.setdefault(name, []).append(item_id)


def _unspaced_series(words: DomainLexicon) -> Iterator[tuple[str, tuple[str, ...]]]:
    """For each series of several items the beginning that their unspaced titles share."""
    titles: dict[str, list[str]] = {}
    for key, ids in words.unspaced.items():
        for item_id in ids:
            titles.setdefault(item_id, []).append(key)
    for members in words.series.values():
        names = [name for _, item_id in members for name in titles.get(item_id, ())]
        if len(names) > 1:
            same = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
            shared = all_languages().patterns["titles"]["series_tail"].sub("", "".join(letters[0] for letters in same))
            if len(shared) > 1 and is_unspaced(shared) and shared not in words.unspaced:
                yield shared, tuple(item_id for _, item_id in members)
