"""Lists to learn from. Reads people's histories, produces liked items among others of the same popularity.

What a person liked in one domain before a moment is the history, what they liked in another from that moment on are the
positives. Negatives were touched by as many training users as a positive, or as near as the catalogue allows, so that
popularity gives nothing away, and never by the person. Negatives, moment and order are drawn anew in every epoch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Final

import numpy as np
from pydantic import Field

from retrieval.adapt import Counts, nearest_counts
from retrieval.errors import UsageError
from retrieval.settings import Section
from retrieval.store import Store
from retrieval.types import History, HistoryEntry, Item, Query

MIN_LIKED: Final = 3
"""Fewest liked items in a history, as in evaluation."""

Pair = tuple[str, str]
"""Source and target domain."""


class ListShape(Section):
    """How large the lists are: what fits into about 350 tokens, up to the 20 candidates that reranking shows."""

    fewest: int = Field(default=6, ge=2)
    most: int = Field(default=20, le=52)
    """Candidates; their number is drawn evenly from `fewest` to `most` so that every label is learnt."""
    positives: int = Field(default=3, ge=1)
    """Liked items in one list, at most a quarter of it."""
    lists: int = Field(default=3, ge=1)
    """Lists asked about one history: it is computed once for all of them."""
    history: int = Field(default=6, ge=1)
    """Most recent liked items shown."""


@dataclass(frozen=True)
class TrainingCase:
    """A person, two domains, and what they did there.

    Attributes:
        source, target: their entries in the two domains, oldest first, those without a time leading.
        cuts: places in `target` of liked entries before which at least `MIN_LIKED` source items were liked.
    """

    user: str
    pair: Pair
    source: tuple[HistoryEntry, ...]
    target: tuple[HistoryEntry, ...]
    cuts: tuple[int, ...]


@dataclass(frozen=True)
class DrawnList:
    """Candidates in the order in which they are shown; `positives` are places of the liked ones."""

    candidates: tuple[Item, ...]
    positives: tuple[int, ...]


@dataclass(frozen=True)
class ListGroup:
    """Lists that one history is asked about; all have the same number of candidates."""

    query: Query
    lists: tuple[DrawnList, ...]


class Catalogue:
    """A domain's items with how many training users touched each."""

    def __init__(self, items: Iterable[Item], touched: Mapping[str, int]) -> None:
        self.items: list[Item] = [item for item in items if item.available]
        self.counts: Counts = np.array([touched.get(item.id, 0) for item in self.items], dtype=np.int64)
        self._places = {item.id: place for place, item in enumerate(self.items)}

    def count(self, item_id: str) -> int:
        """How many training users touched an item; 0 for one that is not there."""
        place = self._places.get(item_id)
        return 0 if place is None else int(self.counts[place])

    def unknown(self, known: Collection[str]) -> int:
        """How many items there are besides the known ones."""
        return len(self.items) - sum(item_id in self._places for item_id in known)

    def others(self, like: str, known: Collection[str], n: int, rng: np.random.Generator) -> list[Item]:
        """At most `n` items of the count of `like`, none of them known."""
        order = nearest_counts(self.counts, self.count(like), rng)
        drawn = (self.items[place] for place in order if self.items[place].id not in known)
        return [item for item, _ in zip(drawn, range(n), strict=False)]


def training_cases(
    store: Store, users: Iterable[str], pairs: Sequence[Pair]
) -> tuple[list[TrainingCase], dict[str, Counter[str]]]:
    """What the named users teach about these pairs, and for each domain how many of them touched each item.

    Raises:
        UsageError: nobody of them liked enough in both domains of any pair.
    """
    domains = sorted({domain for pair in pairs for domain in pair})
    touched: dict[str, Counter[str]] = {domain: Counter() for domain in domains}
    found: list[TrainingCase] = []
    asked = 0
    for user in users:
        asked += 1
        person = store.history(user)
        for entry in person.entries:
            if entry.item.domain in touched:
                touched[entry.item.domain][entry.item.id] += 1
        found += _cases(person, pairs)
    if not found:
        shown = ", ".join(f"{source}:{target}" for source, target in pairs)
        raise UsageError(
            f"none of {asked} users liked {MIN_LIKED} items of one domain and later one of another ({shown})",
            hint="training needs users who are known in two domains; `xdrec domains` shows what there is",
        )
    return found, touched


def catalogues(store: Store, touched: Mapping[str, Mapping[str, int]]) -> dict[str, Catalogue]:
    """The catalogues that negatives come from, with the counts of the training users."""
    return {domain: Catalogue(store.iter_items(domain), counts) for domain, counts in touched.items()}


def ordered_pairs(domains: Sequence[str]) -> list[Pair]:
    """All ordered pairs of different domains."""
    return list(permutations(domains, 2))


def _cases(person: History, pairs: Sequence[Pair]) -> Iterator[TrainingCase]:
    for pair in pairs:
        source, target = (tuple(e for e in person.entries if e.item.domain == domain) for domain in pair)
        cuts = tuple(
            place
            for place, entry in enumerate(target)
            if entry.liked and sum(e.liked for e in before(source, entry)) >= MIN_LIKED
        )
        if cuts:
            yield TrainingCase(person.user or "", pair, source, target, cuts)


def before(source: Sequence[HistoryEntry], entry: HistoryEntry) -> list[HistoryEntry]:
    """The entries of before an entry; where its time is unknown, those without a time."""
    if entry.timestamp is None:
        return [e for e in source if e.timestamp is None]
    return [e for e in source if e.timestamp is not None and e.timestamp < entry.timestamp]


def draw_group(
    case: TrainingCase, catalogue: Catalogue, shape: ListShape, rng: np.random.Generator
) -> ListGroup | None:
    """Draw a moment and lists for it; None where the catalogue is too small for any negative."""
    cut = int(rng.choice(case.cuts))
    known = {e.item.id for e in case.target}
    query = _query(case, cut)
    liked = [e.item for e in case.target[cut:] if e.liked and _not_before(e, case.target[cut])]
    size = int(rng.integers(shape.fewest, shape.most + 1))
    per_list = max(1, min(shape.positives, size // 4))
    order = rng.permutation(len(liked))[: shape.lists * per_list]
    parts = np.array_split(order, min(shape.lists, -(-len(order) // per_list)))
    # All lists of a group are of one size, so a small catalogue makes all of them shorter.
    size = min(size, catalogue.unknown(known) + min(map(len, parts)))
    if size <= max(map(len, parts)):
        return None
    lists = (_draw_list([liked[i] for i in part], known, catalogue, size, rng) for part in parts)
    return ListGroup(query, tuple(lists))


def validation_group(case: TrainingCase, catalogue: Catalogue, candidates: int, rng: np.random.Generator) -> ListGroup:
    """One liked item among others of its count, as evaluation asks: the moment is the median of what was liked."""
    cut = case.cuts[(len(case.cuts) - 1) // 2]
    liked = [e.item for e in case.target[cut:] if e.liked and _not_before(e, case.target[cut])]
    truth = liked[int(rng.integers(len(liked)))]
    drawn = _draw_list([truth], {e.item.id for e in case.target}, catalogue, candidates, rng)
    return ListGroup(_query(case, cut), (drawn,))


def _query(case: TrainingCase, cut: int) -> Query:
    history = History(user=case.user, entries=tuple(before(case.source, case.target[cut])))
    return Query(history=history, target=case.pair[1])


def _not_before(entry: HistoryEntry, first: HistoryEntry) -> bool:
    return first.timestamp is None or (entry.timestamp is not None and entry.timestamp >= first.timestamp)


def _draw_list(
    positives: Sequence[Item], known: Collection[str], catalogue: Catalogue, size: int, rng: np.random.Generator
) -> DrawnList:
    wanted = size - len(positives)
    negatives: dict[str, Item] = {}
    for place, positive in enumerate(positives):
        share = -(-(wanted - len(negatives)) // (len(positives) - place))
        taken = known | negatives.keys() if isinstance(known, set) else {*known, *negatives}
        negatives |= {item.id: item for item in catalogue.others(positive.id, taken, share, rng)}
    shown = [*positives, *negatives.values()]
    order = rng.permutation(len(shown)).tolist()
    places = tuple(order.index(i) for i in range(len(positives)))
    return DrawnList(tuple(shown[i] for i in order), places)
