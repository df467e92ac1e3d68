"""Promises of the "cold target" protocol."""

from __future__ import annotations

from eval.protocol import cases, fold, training_popularity
from retrieval.types import History, HistoryEntry, Item


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


def test_popularity_comes_from_other_folds_only():
    """A user's own interactions, and those of their fold, are never counted for them."""
    people = [person(entry("books", f"b{n}", 1.0, n), user=f"user {n}") for n in range(30)]
    popularity = training_popularity(people, 5)
    for n in range(30):
        mine = popularity[fold(f"user {n}", 5)]
        assert mine["books"][f"b{n}"] == 0
        others = [m for m in range(30) if fold(f"user {m}", 5) != fold(f"user {n}", 5)]
        assert all(mine["books"][f"b{m}"] == 1 for m in others)
