"""Promises of the protocols: three splits, one question."""

from __future__ import annotations

from collections import Counter
from typing import get_args

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from word_encoder import WordEncoder

from eval.data import FOLDS, Case, Dataset, OutOfFold, Split, SplitName, cases, fold, guarded_cases, split_of
from eval.data.protocols import BEFORE
from retrieval.errors import DataError
from retrieval.index import Index
from retrieval.settings import IndexSettings
from retrieval.store import Store
from retrieval.templates import load_template
from retrieval.types import History, HistoryEntry, Item

DOMAINS = ["films", "books"]
LAST = Split("leave-last-out")


def entry(domain, item, preference, timestamp):
    return HistoryEntry(item=Item(domain=domain, id=item, title=item), preference=preference, timestamp=timestamp)


FILMS = [entry("films", f"f{n}", 1.0, n) for n in range(1, 6)]


def person(*entries, user="u"):
    return History(user=user, entries=tuple(entries))


def test_history_ends_before_the_lower_median_of_liked_targets():
    """Of liked books at 3, 4, 6 and 8 the cut is at 4: films before it are known, books from it on truth."""
    books = [entry("books", f"b{t}", 1.0, t) for t in (3, 4, 6, 8)]
    (case,) = cases(person(*FILMS, *books), ["films", "books"])
    assert case.cut == 4
    assert [e.item.id for e in case.history.entries] == ["f1", "f2", "f3"]
    assert case.truth == ("b4", "b6", "b8")


def test_no_target_item_is_in_the_history():
    """The whole target history is hidden."""
    books = [entry("books", f"b{t}", 1.0, t) for t in range(1, 9)]
    for case in cases(person(*FILMS, *books), ["films", "books"]):
        assert {e.item.domain for e in case.history.entries} == {case.source}


def test_fewer_than_three_liked_items_before_the_cut_give_no_case():
    """A disliked film does not count towards the three."""
    films = [entry("films", "f1", 1.0, 1), entry("films", "f2", -1.0, 2), entry("films", "f3", 1.0, 3)]
    assert list(cases(person(*films, entry("books", "b", 1.0, 9)), ["films", "books"])) == []


def test_a_disliked_target_is_no_truth():
    """Only liked items are looked for."""
    books = [entry("books", "good", 1.0, 9), entry("books", "bad", -1.0, 10)]
    (case,) = cases(person(*FILMS, *books), ["films", "books"])
    assert case.truth == ("good",)


def test_folds_depend_on_the_user_alone():
    """The same user is always in the same fold, and every fold has users."""
    assert fold("ada", 5) == fold("ada", 5)
    assert {fold(f"user {n}", 5) for n in range(100)} == set(range(5))


def test_the_last_liked_target_is_left_out():
    """It alone is the truth, and films count up to it; a later book that was not liked is none."""
    books = [*(entry("books", f"b{t}", 1.0, t) for t in (1, 3, 5)), entry("books", "bad", -1.0, 9)]
    (case,) = cases(person(*FILMS, *books), DOMAINS, LAST)
    assert (case.truth, case.cut) == (("b5",), 5)
    assert [e.item.id for e in case.history.entries] == ["f1", "f2", "f3", "f4"]


def test_of_several_last_ones_one_is_drawn_that_hangs_on_nothing_but_the_user_and_the_items():
    """Whatever the order of the interactions; other users get others."""
    tied = [entry("books", f"b{n}", 1.0, 9) for n in range(6)]
    drawn = []
    for n in range(20):
        (there,) = cases(person(*FILMS, *tied, user=f"u{n}"), DOMAINS, LAST)
        (back,) = cases(person(*FILMS, *reversed(tied), user=f"u{n}"), DOMAINS, LAST)
        assert there.truth == back.truth
        drawn += there.truth
    assert len(set(drawn)) > 1


def test_the_temporal_split_cuts_everybody_at_one_moment():
    """Before it lie four fifths of all interactions; whoever has too little on a side of it is left out."""
    early = person(*FILMS, entry("books", "b", 1.0, 6), user="early")
    both = person(*FILMS, entry("books", "old", 1.0, 1), entry("books", "new", 1.0, 9), user="both")
    late = person(*(entry("films", f"f{n}", 1.0, 20) for n in range(3)), entry("books", "b", 1.0, 30), user="late")
    people = [early, both, late]
    split = split_of("temporal", people)
    times = [e.timestamp for p in people for e in p.entries]
    assert sum(time < split.moment for time in times) <= BEFORE * len(times)
    assert sum(time <= split.moment for time in times) > BEFORE * len(times)
    found = [case for p in people for case in cases(p, DOMAINS, Split("temporal", 8))]
    assert [(case.user, case.cut, case.truth) for case in found] == [("both", 8, ("new",))]


def test_a_temporal_split_needs_times():
    """Without one there is no moment, and the error says so."""
    with pytest.raises(DataError, match="no interaction has a time"):
        split_of("temporal", [person(entry("books", "b", 1.0, None))])


def test_nothing_is_learnt_from_the_moment_on():
    """What training users did at the moment, later, or nobody knows when, is no training; other splits keep all."""
    known = person(*FILMS, entry("books", "undated", 1.0, None))
    assert [e.item.id for e in Split("temporal", 3).learnable(known).entries] == ["f1", "f2"]
    assert all(Split(name).learnable(known) == known for name in ("cold-target", "leave-last-out"))


def somebody(user):
    """Any history in two domains: items that come twice, ties, entries without a time."""
    times = st.none() | st.integers(0, 12)
    entries = st.builds(
        entry,
        st.sampled_from(DOMAINS),
        st.sampled_from("abcdefgh"),
        st.sampled_from([1.0, 1.0, 0.5, 0.0, -1.0]),
        times,
    )
    return st.lists(entries, max_size=24).map(lambda found: person(*found, user=user))


crowds = st.tuples(*(somebody(f"u{n}") for n in range(6)))


@given(crowds, st.sampled_from(get_args(SplitName)))
def test_no_case_sees_its_truth_or_anything_from_the_cut_on(people, name):
    """Whatever the interactions: nothing of the target, nothing at or after the cut, at least three liked, a truth
    that the user liked from the cut on; and the guards, which look at it on their own, find nothing."""
    assume(any(e.timestamp is not None for p in people for e in p.entries))
    split = split_of(name, people)
    for known in people:
        for case in guarded_cases(known, DOMAINS, split):
            assert {e.item.domain for e in case.history.entries} == {case.source} != {case.target}
            assert max(e.timestamp for e in case.history.entries) < case.cut
            assert len(case.history.liked) >= 3
            liked = [(e.timestamp, e.item.id) for e in known.liked if e.item.domain == case.target]
            behind = {item for time, item in liked if time is not None and time >= case.cut}
            if name == "leave-last-out":
                assert len(case.truth) == 1
                assert set(case.truth) <= behind
            else:
                assert sorted(case.truth) == sorted(behind) != []


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Eight films and books that people may have touched."""
    home = tmp_path_factory.mktemp("crowd")
    with (
        Store.open(f"sqlite:///{home / 'store.sqlite'}") as store,
        Index(home / "index", WordEncoder(), load_template("item"), IndexSettings()) as index,
    ):
        store.upsert_items([Item(domain=d, id=i, title=f"{d} {i}") for d in DOMAINS for i in "abcdefgh"], "run")
        for domain in DOMAINS:
            index.build(store, domain)
        yield Dataset(store, index, home, tuple(DOMAINS))


@given(crowds, st.integers(1, 12))
def test_nobody_is_judged_by_themselves_or_by_the_future(data, people, moment):
    """Popularity is what can be counted by hand: users of other folds, before the moment."""
    split = Split("temporal", moment)
    people = [person(*{(e.item.domain, e.item.id): e for e in p.entries}.values(), user=p.user) for p in people]
    others = OutOfFold(data, [split.learnable(p) for p in people])
    for asked in people:
        expected = Counter(
            e.item.id
            for p in people
            if fold(p.user, FOLDS) != fold(asked.user, FOLDS)
            for e in p.entries
            if e.item.domain == "books" and e.timestamp is not None and e.timestamp < moment
        )
        touched = others.touched(Case(asked.user, "films", "books", History(user=asked.user), ("a",), moment))
        assert dict(zip(data.index.snapshot("books").positions, touched.tolist(), strict=True)) == {
            i: expected[i] for i in "abcdefgh"
        }
