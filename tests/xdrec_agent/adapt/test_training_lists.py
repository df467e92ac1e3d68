"""Promises of the lists that an adapter learns from."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.adapt import TEST_FOLD, SplitSettings, split_users
from retrieval.adapt.preferences import FOLDS
from retrieval.errors import UnreadableFile, UsageError
from retrieval.folds import fold
from retrieval.store import Store
from retrieval.types import Interaction, Item
from xdrec_agent.adapt import ordered_pairs
from xdrec_agent.adapt.training_lists import (
    MIN_LIKED,
    Catalogue,
    ListSettings,
    catalogues,
    draw_group,
    training_cases,
    validation_group,
)

PAIR = ("films", "books")
SHAPE = ListSettings(fewest=4, most=8, positives=2, lists=2, history=4)


@pytest.fixture
def world(store):
    """The cases of the pair, and the catalogue of its target."""
    cases, touched = training_cases(store, store.users(), [PAIR])
    return cases, catalogues(store, touched)["books"]


def test_the_liked_item_is_in_every_place_equally_often(world):
    """Over many draws no place is favoured: the counts fit an even spread (chi-square at the 0.1% level)."""
    cases, catalogue = world
    rng = np.random.default_rng(0)
    fixed = ListSettings(fewest=6, most=6, positives=1, lists=1)
    drawn = (draw_group(cases[n % len(cases)], catalogue, fixed, rng) for n in range(1200))
    places = Counter(group.lists[0].positives[0] for group in drawn)
    assert sum((places[p] - 200) ** 2 / 200 for p in range(6)) < 20.5


def test_negatives_are_as_popular_as_what_was_liked(world):
    """Good books and bad ones were touched equally often, and so are the items of a list."""
    cases, catalogue = world
    rng = np.random.default_rng(1)
    for case in cases[:20]:
        for drawn in draw_group(case, catalogue, SHAPE, rng).lists:
            assert len({catalogue.count(item.id) for item in drawn.candidates}) == 1


@given(seed=st.integers(0, 2**32 - 1), which=st.integers(0, 10**6))
def test_a_list_holds_liked_items_and_others_that_the_person_does_not_know(world_of, seed, which):
    """Positives were liked after the history, negatives were never touched, nothing is there twice."""
    cases, catalogue = world_of
    case = cases[which % len(cases)]
    group = draw_group(case, catalogue, SHAPE, np.random.default_rng(seed))
    liked = {e.item.id for e in case.target if e.liked}
    known = {e.item.id for e in case.target}
    times = {e.item.id: e.timestamp for e in case.target}
    latest = max(e.timestamp for e in group.query.history.entries)
    assert len([e for e in group.query.history.entries if e.liked]) >= MIN_LIKED
    for drawn in group.lists:
        ids = [item.id for item in drawn.candidates]
        assert len(set(ids)) == len(ids)
        assert SHAPE.fewest <= len(ids) <= SHAPE.most
        for place, item in enumerate(ids):
            assert (item in liked and times[item] > latest) if place in drawn.positives else item not in known


@pytest.fixture(scope="module")
def world_of(store):
    cases, touched = training_cases(store, store.users(), [PAIR])
    return cases, catalogues(store, touched)["books"]


def test_every_epoch_shuffles_anew(world):
    """The same case gives other candidates in another order with another seed, and the same with the same."""
    cases, catalogue = world
    once, again, other = (
        draw_group(cases[0], catalogue, SHAPE, np.random.default_rng(seed)).lists[0].candidates for seed in (1, 1, 2)
    )
    assert once == again
    assert once != other


def test_validation_asks_about_one_liked_item(world):
    """One positive among as many as were asked for."""
    cases, catalogue = world
    group = validation_group(cases[0], catalogue, 20, np.random.default_rng(0))
    assert len(group.lists) == 1
    assert len(group.lists[0].candidates) == 20
    assert len(group.lists[0].positives) == 1


def test_a_catalogue_without_negatives_gives_no_list(world):
    """Where the person knows everything there is nothing to tell apart."""
    cases, _ = world
    known = [e.item for e in cases[0].target]
    assert draw_group(cases[0], Catalogue(known, {}), SHAPE, np.random.default_rng(0)) is None


def test_a_small_catalogue_makes_all_lists_of_a_group_equally_short(world):
    """With three items that the person does not know no list is longer than they and what was liked."""
    cases, catalogue = world
    shape = ListSettings(fewest=8, most=8, positives=2, lists=2)
    for case in cases[:20]:
        known = {e.item.id: e.item for e in case.target}
        few = [*known.values(), *(item for item in catalogue.items if item.id not in known)][: len(known) + 3]
        group = draw_group(case, Catalogue(few, {}), shape, np.random.default_rng(0))
        sizes = {len(drawn.candidates) for drawn in group.lists}
        assert len(sizes) == 1
        assert sizes <= {4, 5}


def test_without_common_users_the_error_says_so(tmp_path):
    """People who are known in one domain only teach nothing about pairs."""
    with Store.open(f"sqlite:///{tmp_path / 's.sqlite'}") as store:
        store.upsert_items([Item(domain=d, id=str(n), title=f"{d} {n}") for d in PAIR for n in range(5)], "run")
        seen = [Interaction(user=f"{d}-{n}", domain=d, item=str(n), value=5) for d in PAIR for n in range(5)]
        store.upsert_interactions(seen, "run")
        with pytest.raises(UsageError, match="none of 10 users"):
            training_cases(store, store.users(), ordered_pairs(PAIR))


def test_the_test_fold_is_left_out(store):
    """Nobody of evaluation's test fold is learnt from or validated on, and the two do not overlap."""
    found = split_users(store, SplitSettings(validation_parts=4))
    assert not set(found.training) & set(found.validation)
    assert all(fold(user, FOLDS) != TEST_FOLD for user in (*found.training, *found.validation))
    everybody = split_users(store, SplitSettings(left_out=(), validation_parts=4))
    assert set(everybody.training) | set(everybody.validation) == set(store.users())


def test_a_file_names_the_users(store, tmp_path):
    """Only they are learnt from; an unknown user, a missing file, a fold that is none and an empty split are errors."""
    path = tmp_path / "users.txt"
    path.write_text("\n".join(store.users()[:30]) + "\n\n", encoding="utf-8")
    found = split_users(store, SplitSettings(users_file=path, validation_parts=4))
    assert set(found.training) | set(found.validation) == set(store.users()[:30])
    path.write_text("stranger\n", encoding="utf-8")
    with pytest.raises(UsageError, match="does not know"):
        split_users(store, SplitSettings(users_file=path))
    path.write_text(store.users()[0], encoding="utf-8")
    with pytest.raises(UsageError, match="1 users are left"):
        split_users(store, SplitSettings(users_file=path))
    with pytest.raises(UnreadableFile):
        split_users(store, SplitSettings(users_file=tmp_path / "none"))
    with pytest.raises(UsageError, match="no fold 5"):
        split_users(store, SplitSettings(left_out=(5,)))
