"""Leakage guards. Read what the recommender sees or learns from, produce nothing or an error that fails the run.

Every guard looks at the person's own interactions anew and knows what its split promises, so that a mistake in
`eval.data.protocols` does not pass because the guard repeats it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from eval.data.protocols import COLD_TARGET, Baseline, Case, CatalogueScores, Scorer, Split, SplitName, cases
from retrieval.errors import DataError
from retrieval.types import History

Times = Sequence[int]
"""When the case's user liked something in the target domain, in any order."""


def guarded_cases(person: History, domains: Sequence[str], split: Split = COLD_TARGET) -> Iterator[Case]:
    """The cases that one user gives, each of them looked at by the guards of its split.

    Raises:
        DataError: a case leaks.
    """
    for case in cases(person, domains, split):
        guard(case)
        guard_split(case, person, split)
        yield case


def guard(case: Case) -> None:
    """Make sure that the recommender sees nothing of the target domain and nothing from the cut on.

    Raises:
        DataError: the history holds a target interaction, one at or after the cut, or one without a time.
    """
    for entry in case.history.entries:
        what = f"{_named(case)}: {entry.item.domain} {entry.item.id}"
        if entry.item.domain == case.target:
            raise DataError(f"leak: {what} is of the target domain", hint="look at the split")
        if entry.timestamp is None or entry.timestamp >= case.cut:
            raise DataError(f"leak: {what} is not known to lie before the cut", hint="look at the split")


def guard_split(case: Case, person: History, split: Split) -> None:
    """Make sure that the case is what its split says of this person.

    Raises:
        DataError: the history holds what the person did not do, the truth what they did not like at or after the cut,
            or the cut is not where the split puts it.
    """
    own = {(e.item.domain, e.item.id, e.timestamp, e.preference) for e in person.entries}
    foreign = {(e.item.domain, e.item.id, e.timestamp, e.preference) for e in case.history.entries} - own
    liked = [(e.timestamp, e.item.id) for e in person.liked if e.item.domain == case.target and e.timestamp is not None]
    early = set(case.truth) - {item for time, item in liked if time >= case.cut}
    if foreign:
        wrong = f"{min(item for _, item, *_ in foreign)} is not of this user"
    elif early:
        wrong = f"the truth {min(early)} does not lie behind the cut"
    else:
        wrong = _PROMISES[split.name](case, [time for time, _ in liked], split)
    if wrong:
        raise DataError(f"leak: {_named(case)}: {wrong}", hint="look at the split")


def _median(case: Case, times: Times, split: Split) -> str:
    """Less than half of what they liked lies before the cut, and no more than half behind it."""
    before, behind = sum(t < case.cut for t in times), sum(t > case.cut for t in times)
    return "" if 2 * before < len(times) and 2 * behind <= len(times) else "the cut is not the lower median"


def _last(case: Case, times: Times, split: Split) -> str:
    """One truth, and nothing liked after it."""
    if len(case.truth) != 1:
        return f"{len(case.truth)} items are the truth where one is left out"
    return "something was liked after the truth" if max(times) > case.cut else ""


def _moment(case: Case, times: Times, split: Split) -> str:
    """Everybody's cut is the moment."""
    return "" if case.cut == split.moment else f"the cut is {case.cut}, the moment {split.moment}"


_PROMISES: Final[Mapping[SplitName, Callable[[Case, Times, Split], str]]] = {
    "cold-target": _median,
    "leave-last-out": _last,
    "temporal": _moment,
}
"""By split what it promises beside what all do; gives what is wrong with a case, or nothing."""


def guard_training(training: Iterable[History], split: Split) -> None:
    """Make sure that nothing is learnt from what came at or after the moment of a temporal split.

    Raises:
        DataError: an interaction of `training` is not known to lie before it.
    """
    if split.moment is None:
        return
    for person in training:
        for entry in person.entries:
            if entry.timestamp is None or entry.timestamp >= split.moment:
                what = f"{person.user}: {entry.item.domain} {entry.item.id}"
                raise DataError(f"leak: {what} is learnt from, from the moment on", hint="look at the split")


def guard_training_users(case: Case, met: Collection[str | None]) -> None:
    """Make sure that neither the case's user nor whose history is shown is among those `met` in training.

    Raises:
        DataError: one of them is.
    """
    for user in (case.user, case.history.user):
        if user in met:
            raise DataError(f"leak: {_named(case)}: learnt from {user}", hint="look at the folds")


@dataclass(frozen=True)
class GuardedBaseline:
    """A baseline that fails the run as soon as it learns from the future, or is asked about somebody it learnt from."""

    baseline: Baseline
    split: Split

    def fit(self, training: Sequence[History], rng: np.random.Generator) -> Scorer:
        """As the baseline's. Raises DataError as the guards."""
        guard_training(training, self.split)
        met = {person.user for person in training}
        scorer = self.baseline.fit(training, rng)

        def score(case: Case) -> CatalogueScores:
            guard_training_users(case, met)
            return scorer(case)

        return score


def _named(case: Case) -> str:
    return f"{case.user}, {case.source} to {case.target}"
