"""The protocols. Reads people's histories, produces the cases that figures are measured on.

For a pair source → target and a user there is a time `cut`. The case's history is what the user did in the source
domain strictly before it, the truth what they liked in the target domain at or after it. The splits differ in the cut:

- `cold-target`: the time of the lower median of the user's liked target items.
- `leave-last-out`: the time of the user's last liked target item, which alone is the truth. Of several at that second
  one is drawn by hash.
- `temporal`: one moment for everybody, before which `BEFORE` of all interactions lie. Nobody learns from what came
  later, as in use: what others did from that moment on is no training either.

In all of them the whole target history is hidden from the recommender, also what lies before the cut, and the
candidates are the whole target catalogue: the question is always what the source domain tells of somebody whom the
target domain does not know. So the splits differ in when people are asked, not in what is asked. Users with fewer than
three liked items in that history, or without a truth, are left out. Entries without a time cannot be placed and count
as not there.

Whatever is trained or counted comes from other users: users are split by hash into folds, and for a user of one fold
all other folds are the training users. In this data every item was bought by somebody, so an item that no training user
touched was bought by a test user. Results are therefore also given for *seen* and *unseen* items apart, each with
candidates and truth limited to its own kind.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import DataError
from retrieval.folds import fold
from retrieval.store import Store
from retrieval.types import History, HistoryEntry

FOLDS: Final = 5
TEST_FOLD: Final = 4
"""Users of this fold are never fitted on."""
MIN_LIKED: Final = 3
"""Fewest liked items in a case's history."""
_PARTS_SEED: Final = 2
BEFORE: Final = 0.8
"""Share of all timed interactions that lies before the moment of the temporal split."""

SplitName = Literal["cold-target", "leave-last-out", "temporal"]


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


@dataclass(frozen=True)
class Split:
    """Where a case's history ends and its truth begins; made by `split_of`.

    Attributes:
        moment: Unix seconds; of the temporal split alone.
    """

    name: SplitName = "cold-target"
    moment: int | None = None

    def learnable(self, person: History) -> History:
        """The part of a training user's history that may be learnt from: all, or what lies before the moment."""
        if self.moment is None:
            return person
        known = tuple(e for e in person.entries if e.timestamp is not None and e.timestamp < self.moment)
        return History(user=person.user, entries=known)


COLD_TARGET: Final = Split()

CatalogueScores = NDArray[np.float32]
"""One finite score for each row of the target's snapshot, shape (items,). Higher is better, equal scores are ties."""
Scorer = Callable[[Case], CatalogueScores]
"""Scores the target catalogue by a case's history, source and target; never looks at its truth."""


class Baseline(Protocol):
    """A recommender that others must beat, made once from a dataset."""

    def fit(self, training: Sequence[History], rng: np.random.Generator) -> Scorer:
        """Learn from the whole histories of training users, which never hold the user of a case that is scored.

        The same histories and seed give the same scores.

        Raises:
            SetupError: a package is not installed.
        """
        ...


def split_of(name: SplitName, people: Iterable[History]) -> Split:
    """The split of that name; `people` are everybody, and looked at by the temporal one alone.

    Raises:
        DataError: the temporal split finds no interaction with a time.
    """
    if name != "temporal":
        return Split(name)
    times = sorted(e.timestamp for person in people for e in person.entries if e.timestamp is not None)
    if not times:
        raise DataError("no interaction has a time", hint="a temporal split needs timestamps")
    return Split(name, times[int(BEFORE * len(times))])


def fitting_fold(user: str) -> int:
    """Which of `FOLDS` parts somebody belongs to, for weights that are fitted on some parts and used on the other.

    Independent of the folds: beside a model that has met the people of all folds but one, there is only that one.
    """
    return fold(user, FOLDS, _PARTS_SEED)


def histories(store: Store) -> Iterator[History]:
    """Every user's whole history, by user."""
    return (store.history(user) for user in store.users())


def cases(history: History, domains: Sequence[str], split: Split = COLD_TARGET) -> Iterator[Case]:
    """The cases that one user gives, for each ordered pair of domains at most one."""
    timed = {domain: _timed(history, domain) for domain in domains}
    user = history.user or ""
    for source, target in permutations(domains, 2):
        liked = [(time, entry.item.id) for time, entry in timed[target] if entry.liked]
        cut = _cut(split, [time for time, _ in liked])
        if cut is None:
            continue
        truth = tuple(dict.fromkeys(item for time, item in liked if time >= cut))
        before = [entry for time, entry in timed[source] if time < cut]
        if not truth or sum(entry.liked for entry in before) < MIN_LIKED:
            continue
        if split.name == "leave-last-out":
            truth = (min(truth, key=lambda item: hashlib.sha256(f"{user} {item}".encode()).digest()),)
        yield Case(user, source, target, History(user=history.user, entries=tuple(before)), truth, cut)


def _timed(history: History, domain: str) -> list[tuple[int, HistoryEntry]]:
    found = [(e.timestamp, e) for e in history.entries if e.item.domain == domain and e.timestamp is not None]
    return sorted(found, key=lambda pair: pair[0])


def _cut(split: Split, times: Sequence[int]) -> int | None:
    """Where the split cuts somebody who liked target items at these times, in order; None: nowhere."""
    if split.name == "temporal":
        return split.moment
    if not times:
        return None
    return times[-1] if split.name == "leave-last-out" else times[(len(times) - 1) // 2]
