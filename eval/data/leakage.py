"""Leakage guards. Read what the recommender sees or learns from, produce nothing or an error that fails the run.

Every guard looks at the person's own interactions anew and knows what its split promises, so that a mistake in
`eval.data.protocols` does not pass because the guard repeats it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

import numpy as np

from eval.data.protocols import COLD_TARGET, Baseline, Case, CatalogueScores, Scorer, Split, cases
from retrieval.errors import DataError
from retrieval.types import History


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
        wrong = _wrong_cut(case, [time for time, _ in liked], split)
    if wrong:
        raise DataError(f"leak: {_named(case)}: {wrong}", hint="look at the split")


def _wrong_cut(case: Case, times: Sequence[int], split: Split) -> str:
    """What is wrong with a cut for somebody who liked target items at these times, in any order; empty: nothing."""
    if split.name == "temporal":
        return "" if case.cut == split.moment else f"the cut is {case.cut}, the moment {split.moment}"
    if split.name == "leave-last-out":
        if len(case.truth) != 1:
            return f"{len(case.truth)} items are the truth where one is left out"
        return "something was liked after the truth" if max(times) > case.cut else ""
    before, behind = sum(t < case.cut for t in times), sum(t > case.cut for t in times)
    return "" if 2 * before < len(times) and 2 * behind <= len(times) else "the cut is not the lower median"


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


def guarded_fit(baseline: Baseline, training: Sequence[History], rng: np.random.Generator, split: Split) -> Scorer:
    """Fit a baseline; the scorer fails the run when it is asked about somebody whom the baseline learnt from.

    Raises:
        DataError: as `guard_training`; the scorer's as `guard_training_users`.
    """
    guard_training(training, split)
    scorer, met = baseline.fit(training, rng), {person.user for person in training}

    def score(case: Case) -> CatalogueScores:
        guard_training_users(case, met)
        return scorer(case)

    return score


def _named(case: Case) -> str:
    return f"{case.user}, {case.source} to {case.target}"
