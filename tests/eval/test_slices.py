"""Promises of the slices: which part a case is in, and what language items are taken for."""

from __future__ import annotations

import pytest

from eval.data import Case, slices_of
from eval.data.slices import RARE, UNCLEAR, language_of
from retrieval.types import History, HistoryEntry, Item


def item(title, **more):
    return Item(domain="books", id=title, title=title, **more)


ENGLISH = item("The History of the Decline and Fall of the Roman Empire")
GERMAN = item("Die unendliche Geschichte von der Reise nach Westen")
CHINESE = item("红楼梦是一部中国古典小说")


def case_of(*liked):
    """A case whose user liked these."""
    entries = tuple(HistoryEntry(item=i.model_copy(update={"domain": "films"})) for i in liked)
    return Case("ada", "films", "books", History(user="ada", entries=entries), ("b",), 9)


@pytest.mark.parametrize(
    ("liked", "part"), [(1, "3 to 5 liked"), (5, "3 to 5 liked"), (6, "6 to 10 liked"), (11, "over 10 liked")]
)
def test_histories_are_sliced_by_what_was_liked(liked, part):
    """Disliked items do not make a history longer."""
    entries = case_of(*[ENGLISH] * liked).history.entries
    bad = HistoryEntry(item=GERMAN, preference=-1.0)
    case = Case("ada", "films", "books", History(user="ada", entries=(*entries, *[bad] * 9)), ("b",), 9)
    assert slices_of(case, [ENGLISH], 0)["history"] == part


@pytest.mark.parametrize(("touched", "part"), [(0, "unseen"), (1, "rare"), (RARE, "rare"), (RARE + 1, "popular")])
def test_truth_is_cold_rare_or_popular(touched, part):
    """By the training users of what most of them touched."""
    assert slices_of(case_of(ENGLISH), [ENGLISH], touched)["truth"] == part


def test_languages_of_history_and_truth_are_told_apart():
    """A Chinese history that leads to an English book is in both slices."""
    found = slices_of(case_of(CHINESE), [ENGLISH], 0)
    assert (found["language"], found["truth language"]) == ("zh", "en")
    assert found["direction"] == "films to books"


@pytest.mark.parametrize(
    ("items", "language"),
    [
        ([ENGLISH], "en"),
        ([GERMAN], "de"),
        ([CHINESE], "zh"),
        ([item("Q")], UNCLEAR),
        ([], UNCLEAR),
        ([item("Faust", language="de")], "de"),
        ([item("Faust", language="de"), ENGLISH], "de and en"),
        ([item("Faust", language="German"), item("Hamlet", language="German")], "German"),
    ],
)
def test_an_items_own_language_counts_before_what_its_text_reads_as(items, language):
    """Several languages are named in order; too little text is unclear, never a guess."""
    assert language_of(items) == language


def test_the_description_helps_a_short_title():
    """A title of one word says little, what is said of the book says enough."""
    told = "A young man goes to sea to hunt a white whale, and only one of the crew comes back to tell the story."
    assert language_of([item("Omoo")]) == UNCLEAR
    assert language_of([item("Omoo", description=told)]) == "en"
