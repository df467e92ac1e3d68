"""Training lists. Reads users' histories, produces liked items among others of the same popularity.

Items liked in one domain before a moment are the history, items liked in another from that moment on the positives.
Negatives were touched by as many training users as a positive, or as near as the catalogue allows, so that popularity
gives nothing away, and never by the user. Negatives, moment and order are drawn anew in every epoch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, permutations
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


class ListSettings(Section):
    """Size of the lists: about 350 tokens, up to the 20 candidates that reranking shows."""

    fewest: int = Field(default=6, ge=2)
    most: int = Field(default=20, le=52)
    """Candidates; their number is drawn evenly from `fewest` to `most` so that every label is learnt."""
    positives: int = Field(default=3, ge=1)
    """Liked items in one list, at most a quarter of it."""
    lists: int = Field(default=3, ge=1)
    """Lists with the same history, which is computed once for all of them."""
    history: int = Field(default=6, ge=1)
    """Most recent liked items shown."""


@dataclass(frozen=True)
class TrainingCase:
    """A user's interactions in two domains.

    Attributes:
        source, target: the entries in either domain, oldest first, those without a time leading.
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
    """Lists with one history; all have the same number of candidates."""

    query: Query
    lists: tuple[DrawnList, ...]


class Catalogue:
    """A domain's items, each with the number of training users who touched it."""

    def __init__(self, items: Iterable[Item], touched: Mapping[str, int]) -> None:
        self.items: list[Item] = [item for item in items if item.available]
        self.counts: Counts = np.array([touched.get(item.id, 0) for item in self.items], dtype=np.int64)
        self._places = {item.id: place for place, item in enumerate(self.items)}

    def count(self, item_id: str) -> int:
        """How many training users touched an item; 0 for one that is not there."""
        place = self._places.get(item_id)
        return 0 if place is None else int(self.counts[place])

    def count_unknown(self, known: Collection[str]) -> int:
        """How many items there are besides the known ones."""
        return len(self.items) - sum(item_id in self._places for item_id in known)

    def matched_negatives(
        self, positive: str, excluded: Collection[str], n: int, rng: np.random.Generator
    ) -> list[Item]:
        """At most `n` items of about the count of `positive`, none of them excluded."""
        order = nearest_counts(self.counts, self.count(positive), rng)
        return list(islice((self.items[place] for place in order if self.items[place].id not in excluded), n))


def training_cases(
    store: Store, users: Iterable[str], pairs: Sequence[Pair]
) -> tuple[list[TrainingCase], dict[str, Counter[str]]]:
    """The cases of the named users for these pairs, and for each domain how many of them touched each item.

    Raises:
        UsageError: none of them liked enough in both domains of any pair.
    """
    domains = sorted({domain for pair in pairs for domain in pair})
    touched: dict[str, Counter[str]] = {domain: Counter() for domain in domains}
    cases: list[TrainingCase] = []
    asked = list(users)
    for user in asked:
        history = store.history(user)
        for entry in history.entries:
            if entry.item.domain in touched:
                touched[entry.item.domain][entry.item.id] += 1
        cases += _cases(history, pairs)
    if not cases:
        shown = ", ".join(f"{source}:{target}" for source, target in pairs)
        raise UsageError(
            f"none of {len(asked)} users liked {MIN_LIKED} items of one domain and later one of another ({shown})",
            hint="training needs users who are known in two domains; `xdrec domains` shows what there is",
        )
    return cases, touched


def catalogues(store: Store, touched: Mapping[str, Mapping[str, int]]) -> dict[str, Catalogue]:
    """The catalogues that negatives come from, with the counts of the training users."""
    return {domain: Catalogue(store.iter_items(domain), counts) for domain, counts in touched.items()}


def ordered_pairs(domains: Sequence[str]) -> list[Pair]:
    """All ordered pairs of different domains."""
    return list(permutations(domains, 2))


def _cases(history: History, pairs: Sequence[Pair]) -> Iterator[TrainingCase]:
    for pair in pairs:
        source, target = (tuple(e for e in history.entries if e.item.domain == domain) for domain in pair)
        cuts = tuple(
            place
            for place, entry in enumerate(target)
            if entry.liked and sum(e.liked for e in before(source, entry)) >= MIN_LIKED
        )
        if cuts:
            yield TrainingCase(history.user or "", pair, source, target, cuts)


def before(source: Sequence[HistoryEntry], entry: HistoryEntry) -> list[HistoryEntry]:
    """The entries before an entry; where its time is unknown, those without a time."""
    if entry.timestamp is None:
        return [e for e in source if e.timestamp is None]
    return [e for e in source if e.timestamp is not None and e.timestamp < entry.timestamp]


def draw_group(
    case: TrainingCase, catalogue: Catalogue, settings: ListSettings, rng: np.random.Generator
) -> ListGroup | None:
    """Draw a moment and lists for it; None where the catalogue is too small for any negative."""
    cut = int(rng.choice(case.cuts))
    known = {e.item.id for e in case.target}
    query = _query(case, cut)
    liked = _liked_from(case, cut)
    size = int(rng.integers(settings.fewest, settings.most + 1))
    per_list = max(1, min(settings.positives, size // 4))
    order = rng.permutation(len(liked))[: settings.lists * per_list]
    parts = np.array_split(order, min(settings.lists, -(-len(order) // per_list)))
    # All lists of a group are of one size, so a small catalogue makes all of them shorter.
    size = min(size, catalogue.count_unknown(known) + min(map(len, parts)))
    if size <= max(map(len, parts)):
        return None
    lists = (_draw_list([liked[i] for i in part], known, catalogue, size, rng) for part in parts)
    return ListGroup(query, tuple(lists))


def validation_group(case: TrainingCase, catalogue: Catalogue, candidates: int, rng: np.random.Generator) -> ListGroup:
    """One liked item among others of its count, as in evaluation: the moment is the median of the liked ones."""
    cut = case.cuts[(len(case.cuts) - 1) // 2]
    liked = _liked_from(case, cut)
    truth = liked[int(rng.integers(len(liked)))]
    drawn = _draw_list([truth], {e.item.id for e in case.target}, catalogue, candidates, rng)
    return ListGroup(_query(case, cut), (drawn,))


def _query(case: TrainingCase, cut: int) -> Query:
    history = History(user=case.user, entries=tuple(before(case.source, case.target[cut])))
    return Query(history=history, target=case.pair[1])


def _liked_from(case: TrainingCase, cut: int) -> list[Item]:
    """The liked target items from a cut on."""
    start = case.target[cut].timestamp
    return [
        entry.item
        for entry in case.target[cut:]
        if entry.liked and (start is None or (entry.timestamp is not None and entry.timestamp >= start))
    ]


def _draw_list(
    positives: Sequence[Item], known: Collection[str], catalogue: Catalogue, size: int, rng: np.random.Generator
) -> DrawnList:
    negatives: dict[str, Item] = {}
    for place, positive in enumerate(positives):
        # Each positive gets its share of the negatives, by its own count.
        share = -(-(size - len(positives) - len(negatives)) // (len(positives) - place))
        matched = catalogue.matched_negatives(positive.id, {*known, *negatives}, share, rng)
        negatives |= {item.id: item for item in matched}
    shown = [*positives, *negatives.values()]
    order = rng.permutation(len(shown)).tolist()
    places = tuple(order.index(i) for i in range(len(positives)))
    return DrawnList(tuple(shown[i] for i in order), places)
