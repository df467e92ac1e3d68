"""Cold starts: questions of which little is known. Reads cases, produces what would be asked in their place.

A case has somebody's whole source history. Here its question is made poorer by a fixed rule (one title, words only) or
richer (two source domains), and its truth stays: so a question and its case can be compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eval.data import Case, Dataset, OutOfFold
from retrieval.ranking import FusionFit, Retriever
from retrieval.settings import RetrieverSettings
from retrieval.types import History, HistoryEntry, Query

_TITLES: Final = 3
_KINDS: Final = 3


@dataclass(frozen=True)
class Question:
    """What is asked instead of a case, and the case that it is judged by."""

    case: Case
    query: Query


def whole(case: Case) -> Question:
    """The case as it is."""
    return Question(case, Query(history=case.history, target=case.target))


def one_title(case: Case) -> Question:
    """A person of whom one liked title is known: the last one."""
    return Question(case, Query(history=History(entries=case.history.liked[-1:]), target=case.target))


def kinds_in_words(case: Case) -> Question:
    """A person who says what kinds they like: the three most frequent categories of what they liked."""
    return Question(case, Query(text=f"I like {_listed(_kinds(case))}.", target=case.target))


def titles_in_words(case: Case) -> Question:
    """A person who says it with titles, too: the last three that they liked."""
    titles = [entry.item.title for entry in case.history.liked[-_TITLES:]]
    text = f"Something like {_listed(titles)}: {_listed(_kinds(case))}."
    return Question(case, Query(text=text, target=case.target))


@dataclass(frozen=True)
class TwoSources:
    """What one person did in two source domains, each alone and together, asked about one target."""

    singles: tuple[Question, Question]
    both: Question

    @property
    def longer(self) -> int:
        """Which of the two has more liked items; the first of equals."""
        liked = [len(single.case.history.liked) for single in self.singles]
        return liked.index(max(liked))


def two_sources(cases: Iterable[Case]) -> Iterator[TwoSources]:
    """Every two cases of one person that differ in their source alone."""
    by_target: dict[tuple[str, str], list[Case]] = {}
    for case in cases:
        by_target.setdefault((case.user, case.target), []).append(case)
    for mine in by_target.values():
        for one, other in combinations(mine, 2):
            entries = sorted((*one.history.entries, *other.history.entries), key=_time)
            query = Query(history=History(user=one.user, entries=tuple(entries)), target=one.target)
            yield TwoSources((whole(one), whole(other)), Question(one, query))


class Elsewhere:
    """As `OutOfFold`, in a world where nobody has done anything in the domain that is asked about."""

    def __init__(self, data: Dataset, people: Sequence[History]) -> None:
        self._by_target = {
            target: OutOfFold(data, [person.within(*(d for d in data.domains if d != target)) for person in people])
            for target in data.domains
        }

    def touched(self, case: Case) -> NDArray[np.int64]:
        """Nobody touched anything; shape (items,)."""
        return self._by_target[case.target].touched(case)

    def retriever(self, case: Case, settings: RetrieverSettings, fusion: FusionFit | None = None) -> Retriever:
        """The retriever for a case's user."""
        return self._by_target[case.target].retriever(case, settings, fusion)


def _time(entry: HistoryEntry) -> int:
    return entry.timestamp or 0  # cases have timed entries only


def _kinds(case: Case) -> list[str]:
    counts = Counter(kind for entry in case.history.liked for kind in dict.fromkeys(entry.item.categories))
    return [kind for kind, _ in counts.most_common(_KINDS)] or ["surprises"]


def _listed(names: Sequence[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
