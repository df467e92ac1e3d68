"""Source ablations: does a recommender use the history at all? Reads a case, produces the same case as it is shown.

The user, the truth, the candidates, the cut and the slices stay, so that arms with other histories are compared in
pairs. What is shown instead of the user's `own` history:

- `none`: nothing. A system that needs a history gives what it can without one.
- `one`: the most recent liked item alone, which is a cold-start user.
- `other`: the whole history of another user. Users are exchanged within a direction and a fold, in pairs (one three
  where their number is odd) of neighbours by number of liked items, then of all items, then by a hash of user and seed:
  nobody keeps their own, and nobody whose history is shown is in the crowd that the case is judged by. Its times are
  moved as a whole so that it ends when the user's own does.
- `shuffled`: the user's own items; their preferences are permuted among them, and, apart from that, their times. Which
  items there are, and how many are liked, stays: what is lost is which were liked and which came last.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from eval.data.protocols import FOLDS, Case
from retrieval.errors import UsageError
from retrieval.folds import fold, stable_hash
from retrieval.types import History, HistoryEntry

ShownHistory = Literal["own", "none", "one", "other", "shuffled"]
Ablate = Callable[[Case], Case]
"""The case as the recommender sees it."""


def unchanged(case: Case) -> Case:
    """The case as it is."""
    return case


def ablation(shown: ShownHistory, everybody: Iterable[Case], seed: int) -> Ablate:
    """How a case is shown.

    Args:
        everybody: all cases that the data gives, whoever is asked; looked at for `other` alone. So another user's
            history is the same one whatever the number of users.

    The result raises UsageError where there is no other user of the same direction and fold.
    """
    if shown == "other":
        return _exchange(_donors(everybody, seed))
    ways: Mapping[ShownHistory, Ablate] = {
        "own": unchanged,
        "none": lambda case: _with(case, ()),
        "one": lambda case: _with(case, case.history.liked[-1:]),
        "shuffled": lambda case: _with(case, _shuffled(case, seed)),
    }
    return ways[shown]


def _with(case: Case, entries: Sequence[HistoryEntry]) -> Case:
    return replace(case, history=History(user=case.user, entries=tuple(entries)))


def _shuffled(case: Case, seed: int) -> list[HistoryEntry]:
    rng = np.random.default_rng(_hash(seed, case))
    entries = case.history.entries
    preferences, times = rng.permutation(len(entries)), rng.permutation(len(entries))
    dealt = [
        entry.model_copy(update={"preference": entries[p].preference, "timestamp": entries[t].timestamp})
        for entry, p, t in zip(entries, preferences, times, strict=True)
    ]
    return sorted(dealt, key=_time)


def _donors(everybody: Iterable[Case], seed: int) -> dict[tuple[str, str, str], Case]:
    groups: dict[tuple[str, str, int], list[Case]] = defaultdict(list)
    for case in everybody:
        groups[case.source, case.target, fold(case.user, FOLDS)].append(case)
    return {_key(case): other for group in groups.values() for case, other in _pairs(group, seed)}


def _pairs(group: Sequence[Case], seed: int) -> Iterator[tuple[Case, Case]]:
    """Who gets whose history; of a group of one nobody gets any."""

    def alike(case: Case) -> tuple[int, int, int]:
        return len(case.history.liked), len(case.history.entries), _hash(seed, case)

    ordered, n = sorted(group, key=alike), len(group)
    for start in range(0, n - 1, 2):
        block = ordered[start : start + 2 if start + 3 < n else n]
        yield from zip(block, [*block[1:], block[0]], strict=True)


def _exchange(donors: Mapping[tuple[str, str, str], Case]) -> Ablate:
    def other(case: Case) -> Case:
        donor = donors.get(_key(case))
        if donor is None:
            raise UsageError(
                f"nobody else of {case.user}'s fold has a history for {case.source} to {case.target}",
                hint="history=other needs more users in the data",
            )
        later = _time(case.history.entries[-1]) - _time(donor.history.entries[-1])
        moved = tuple(e.model_copy(update={"timestamp": _time(e) + later}) for e in donor.history.entries)
        return replace(case, history=History(user=donor.user, entries=moved))

    return other


def _time(entry: HistoryEntry) -> int:
    """An entry of a case has a time."""
    return entry.timestamp or 0


def _key(case: Case) -> tuple[str, str, str]:
    return case.user, case.source, case.target


def _hash(seed: int, case: Case) -> int:
    return stable_hash(f"history {seed} {' '.join(_key(case))}")
