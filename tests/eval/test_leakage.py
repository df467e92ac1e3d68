"""Promises of the leakage guards: each lets good cases pass and fails the run for every way a split can leak."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from eval.data import Split, guarded_cases, guarded_fit
from eval.data.leakage import guard_split, guard_training, guard_training_users
from retrieval.errors import DataError
from retrieval.types import History, HistoryEntry, Item

DOMAINS = ["films", "books"]
COLD, LAST, TEMPORAL = Split(), Split("leave-last-out"), Split("temporal", 6)


def entry(domain, item, timestamp, preference=1.0):
    return HistoryEntry(item=Item(domain=domain, id=item, title=item), preference=preference, timestamp=timestamp)


PERSON = History(
    user="ada",
    entries=(
        *(entry("films", f"f{n}", n) for n in range(1, 4)),
        *(entry("books", f"b{n}", n) for n in (4, 5, 6, 7)),
        entry("books", "bad", 8, -1.0),
    ),
)


def case_of(split):
    (case,) = (c for c in guarded_cases(PERSON, DOMAINS, split) if c.target == "books")
    return case


@pytest.mark.parametrize("split", [COLD, LAST, TEMPORAL], ids=lambda split: split.name)
def test_what_the_split_makes_passes_its_guard(split):
    """In every split."""
    guard_split(case_of(split), PERSON, split)


def broken(split, said, **changes):
    return pytest.param(split, changes, said, id=f"{split.name}: {said}")


@pytest.mark.parametrize(
    ("split", "changes", "said"),
    [
        broken(COLD, "b4 does not lie behind the cut", truth=("b4", "b6")),
        broken(COLD, "bad does not lie behind the cut", truth=("bad",)),
        broken(COLD, "not the lower median", cut=6, truth=("b6", "b7")),
        broken(COLD, "not the lower median", cut=4, truth=("b4",)),
        broken(LAST, "2 items are the truth", truth=("b7", "b7")),
        broken(LAST, "liked after the truth", cut=6, truth=("b6",)),
        broken(LAST, "b6 does not lie behind the cut", truth=("b6",)),
        broken(TEMPORAL, "the cut is 7, the moment 6", cut=7, truth=("b7",)),
        broken(TEMPORAL, "b5 does not lie behind the cut", truth=("b5",)),
    ],
)
def test_a_case_that_is_not_what_its_split_promises_fails_the_run(split, changes, said):
    """A truth before the cut or that was not liked, a cut somewhere else, a later like than the last."""
    with pytest.raises(DataError, match=f"leak: ada, films to books: .*{said}") as refused:
        guard_split(dataclasses.replace(case_of(split), **changes), PERSON, split)
    assert refused.value.hint


@pytest.mark.parametrize("split", [COLD, LAST, TEMPORAL], ids=lambda split: split.name)
def test_somebody_elses_history_is_not_taken_for_the_users(split):
    """Another item, and the same one at another time."""
    for wrong in (entry("films", "f9", 1), entry("films", "f1", 2)):
        case = dataclasses.replace(case_of(split), history=History(user="ada", entries=(wrong,)))
        with pytest.raises(DataError, match="is not of this user"):
            guard_split(case, PERSON, split)


def test_learning_from_the_future_fails_a_temporal_run():
    """At the moment, later, or at a time that nobody knows; other splits may."""
    guard_training([TEMPORAL.learnable(PERSON)], TEMPORAL)
    for time in (6, 7, None):
        late = History(user="bob", entries=(entry("films", "f1", 1), entry("films", "f2", time)))
        with pytest.raises(DataError, match="leak: bob: films f2"):
            guard_training([late], TEMPORAL)
        guard_training([late], COLD)


class Learner:
    """A baseline that knows whom it learnt from, and says nothing."""

    def fit(self, training, rng):
        return lambda case: np.zeros(3, dtype=np.float32)


def test_asking_a_baseline_about_whom_it_learnt_from_fails_the_run():
    """Whether they ask themselves or their history is shown for another."""
    rng = np.random.default_rng(0)
    case = case_of(COLD)
    stranger = History(user="bob", entries=PERSON.entries)
    assert guarded_fit(Learner(), [stranger], rng, COLD)(case).shape == (3,)
    with pytest.raises(DataError, match="learnt from ada"):
        guarded_fit(Learner(), [stranger, PERSON], rng, COLD)(case)
    with pytest.raises(DataError, match="learnt from bob"):
        guarded_fit(Learner(), [stranger], rng, COLD)(dataclasses.replace(case, history=stranger))
    with pytest.raises(DataError, match="from the moment on"):
        guarded_fit(Learner(), [PERSON], rng, TEMPORAL)
    guard_training_users(case, {"bob"})
