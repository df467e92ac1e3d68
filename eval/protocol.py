"""The "cold target" protocol. Reads people's histories, produces the cases that figures are measured on.

For a pair source → target and a user, `cut` is the time of the lower median of the user's liked target items. The
case's history is what the user did in the source domain strictly before the cut, the truth what they liked in the
target domain at or after it. The whole target history is hidden from the recommender, and the candidates are the whole
target catalogue. Users with fewer than three liked items in that history are left out. Entries without a time cannot be
placed and count as not there.

Whatever is trained or counted comes from other users: users are split by hash into folds, and for a user of one fold
all other folds are the training users. In this data every item was bought by somebody, so an item that no training user
touched was bought by a test user. Results are therefore also given for *seen* and *unseen* items apart, each with
candidates and truth limited to its own kind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Final

from retrieval.folds import fold
from retrieval.store import Store
from retrieval.types import History, HistoryEntry

__all__ = ["FOLDS", "TEST_FOLD", "Case", "Popularity", "cases", "fold", "histories", "training_popularity"]

FOLDS: Final = 5
TEST_FOLD: Final = 4
"""Users of this fold are never fitted on."""
MIN_LIKED: Final = 3
"""Fewest liked items in a case's history."""

Popularity = Mapping[str, Counter[str]]
"""Domain → item id → number of training users who touched it."""


@dataclass(frozen=True)
class Case:
    """One question with its answer.

    Attributes:
        history: the source interactions before `cut`, oldest first.
        truth: ids of the target items liked at or after `cut`, oldest first.
        cut: Unix seconds.
    """

    user: str
    source: str
    target: str
    history: History
    truth: tuple[str, ...]
    cut: int


def histories(store: Store) -> Iterator[History]:
    """Every user's whole history, by user."""
    return (store.history(user) for user in store.users())


def cases(history: History, domains: Sequence[str]) -> Iterator[Case]:
    """The cases that one user gives, for each ordered pair of domains at most one."""
    timed = {domain: _timed(history, domain) for domain in domains}
    for source, target in permutations(domains, 2):
        cut = _cut(timed[target])
        if cut is None:
            continue
        before = [entry for time, entry in timed[source] if time < cut]
        if sum(entry.liked for entry in before) < MIN_LIKED:
            continue
        truth = tuple(entry.item.id for time, entry in timed[target] if time >= cut and entry.liked)
        known = History(user=history.user, entries=tuple(before))
        yield Case(history.user or "", source, target, known, truth, cut)


def _timed(history: History, domain: str) -> list[tuple[int, HistoryEntry]]:
    found = [(e.timestamp, e) for e in history.entries if e.item.domain == domain and e.timestamp is not None]
    return sorted(found, key=lambda pair: pair[0])


def _cut(target: Sequence[tuple[int, HistoryEntry]]) -> int | None:
    times = [time for time, entry in target if entry.liked]
    return times[(len(times) - 1) // 2] if times else None


def training_popularity(people: Iterable[History], folds: int, seed: int = 0) -> list[Popularity]:
    """For each fold the popularity among the users of all other folds; an item without a count is unseen there."""
    total: dict[str, Counter[str]] = {}
    own: list[dict[str, Counter[str]]] = [{} for _ in range(folds)]
    for person in people:
        mine = own[fold(person.user or "", folds, seed)]
        for entry in person.entries:
            for counts in (total, mine):
                counts.setdefault(entry.item.domain, Counter())[entry.item.id] += 1
    # Counter's subtraction drops what falls to zero.
    return [{domain: total[domain] - mine.get(domain, Counter()) for domain in total} for mine in own]
