"""Promises of the interaction file: all of it comes back, and nothing of a deleted user."""

from __future__ import annotations

import tempfile
import threading
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from filelock import FileLock, Timeout
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.errors import IndexMissing
from retrieval.index import INTERACTIONS_FILE, InteractionTable
from retrieval.index.interactions import delete_user, interactions_version, user_preferences, write_interactions
from retrieval.store import Store
from retrieval.types import Interaction, Item

ROWS = [
    ("ada", "books", "b1", 1.0, 1_000_000_000),
    ("ada", "films", "f1", 0.5, None),
    ("ada", "films", "f2", -1.0, 1_100_000_000),
    ("bob", "films", "f1", 0.25, 1_200_000_000),
    ("bob", "films", "f3", 0.75, None),
    ("cyd", "books", "b1", 1.0, None),
]
FILMS = {"f1": 0, "f2": 1, "f3": 2, "f4": 3}

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5)
times = st.none() | st.integers(-(2**31), 2**40)
said = st.tuples(st.floats(-1, 1, width=32), times)
preferences = st.dictionaries(st.tuples(texts, texts, texts), said, max_size=20).map(
    lambda found: [(*key, *value) for key, value in sorted(found.items())]
)


@given(preferences)
@settings(max_examples=40)
def test_what_is_written_comes_back(rows):
    """Users, domains, items (any text), preferences and times are read as they were written, in their order."""
    with tempfile.TemporaryDirectory() as folder:
        write_interactions(Path(folder), rows)
        found = InteractionTable.open(Path(folder))
        assert list(found) == rows
        assert len(found) == len(rows)
        assert list(found.users) == [user for user, _ in groupby(rows, key=lambda row: row[0])]


@given(preferences, st.integers(0, 19))
@settings(max_examples=40)
def test_without_and_only_part_people(rows, at):
    """`only` is everything of one person, `without` everything else; together they are all there was."""
    user = rows[at % len(rows)][0] if rows else "nobody"
    everybody = InteractionTable.of(rows)
    assert list(everybody.without([user])) == [row for row in rows if row[0] != user]
    assert list(everybody.only(user)) == [row for row in rows if row[0] == user]
    assert list(everybody.without([])) == rows
    assert list(everybody.without({row[0] for row in rows})) == []


def test_nobody_did_anything_where_nothing_was_written(tmp_path):
    """A folder without the file holds no interactions, and deleting a user there makes nothing."""
    missing = tmp_path / "missing"
    assert len(InteractionTable.open(missing)) == 0
    assert InteractionTable.open(missing).users == {}
    assert interactions_version(missing) is None
    assert (user_preferences(missing, "ada"), delete_user(missing, "ada")) == ([], 0)
    assert not missing.exists()


def test_likes_count_everybody_and_hold_what_was_liked():
    """Every touch counts for an item, a preference of at least 0.5 is a like; items without a row are left out."""
    films = InteractionTable.of(ROWS).in_domain("films", FILMS)
    assert films.user_counts.tolist() == [2, 1, 1, 0]
    assert films.liked.toarray().tolist() == [[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    some = InteractionTable.of(ROWS).in_domain("films", {"f3": 0})
    assert some.user_counts.tolist() == [1]
    assert some.liked.toarray().tolist() == [[0], [1], [0]]


def test_likes_of_a_domain_that_nobody_knows():
    """Shapes hold, and nothing is in them."""
    films = InteractionTable.of(ROWS).in_domain("games", {"g": 0, "h": 1})
    assert films.user_counts.tolist() == [0, 0]
    assert (films.liked.shape, films.liked.nnz) == ((3, 2), 0)
    assert films.item_normalized.shape == films.user_normalized.shape == (3, 2)


YEAR = 31_557_600
AT = 40 * YEAR


def touches(*of_item):
    """What people did in films: for each item the years after `AT` (None: no time) in which somebody touched it."""
    rows = [
        (f"{item}{n}", "films", item, 1.0, None if year is None else int(AT + year * YEAR))
        for item, years in zip(FILMS, of_item, strict=False)
        for n, year in enumerate(years)
    ]
    return InteractionTable.of(rows).in_domain("films", FILMS)


def test_popularity_counts_people_alike_without_a_time_to_look_from():
    """The share of the most popular item's log(1 + people)."""
    found = touches([0, -9], [3], [None, 1, 2, 0]).popularity(None)
    np.testing.assert_allclose(found, np.log([3, 2, 5, 1]) / np.log(5), atol=1e-6)


def test_popularity_is_that_of_the_time():
    """Two years before or after count 1/e, to the month; a touch without a time as much as the average one."""
    found = touches([0, 0], [-2], [2, None], []).popularity(AT)
    average = (2 + 2 / np.e) / 4
    expected = np.log(1 + np.array([2, 1 / np.e, 1 / np.e + average, 0]))
    np.testing.assert_allclose(found, expected / expected.max(), atol=0.01)
    assert found[3] == 0


def test_popularity_asked_from_outside_the_known_time_looks_from_its_end():
    """Long after the last touch, or before the first, nothing fades away: the nearest month known stands for then."""
    films = touches([0, 0], [-8])
    early, late = films.popularity(AT - 50 * YEAR), films.popularity(AT + 50 * YEAR)
    np.testing.assert_array_equal(late, films.popularity(AT))
    assert (early[:2] > 0).all()
    assert early[1] > late[1]
    assert early[0] < late[0]


def test_a_time_before_1970_is_one():
    """Asked from 1970, one touch of the month before counts more than one of long after and one without a time."""
    found = touches([-40.05], [0, None]).popularity(0)
    assert found[0] == 1 > found[1] > 0


@pytest.mark.parametrize("times", [(), (None, None)])
def test_popularity_where_no_time_is_known(times):
    """It counts people, or says nothing of a domain that nobody knows."""
    found = touches(times).popularity(AT)
    assert found.tolist() == [float(bool(times)), 0, 0, 0]


def test_likes_are_scaled_by_item_and_by_person():
    """Columns of `item_normalized` have length 1; rows of `user_normalized` are divided by the root of their films."""
    rows = [("ada", "films", i, 1.0, None) for i in ("f1", "f2", "f3")] + [("bob", "films", "f1", 1.0, None)]
    films = InteractionTable.of(rows).in_domain("films", FILMS)
    np.testing.assert_allclose(np.linalg.norm(films.item_normalized.toarray(), axis=0), [1, 1, 1, 0], atol=1e-6)
    third = 1 / np.sqrt(3)
    np.testing.assert_allclose(films.user_normalized.toarray(), [[third, third, third, 0], [1, 0, 0, 0]], atol=1e-6)


def test_forgetting_removes_every_trace_of_one_person_and_of_nobody_else(tmp_path):
    """The name is in no file any more, not in what a killed run left either; the others' rows stay as they were."""
    write_interactions(tmp_path, ROWS)
    (tmp_path / f".partial-{INTERACTIONS_FILE}").write_bytes(b"half a file that names bob")
    assert user_preferences(tmp_path, "bob") == ROWS[3:5]
    assert delete_user(tmp_path, "bob") == 2
    assert all(b"bob" not in file.read_bytes() for file in tmp_path.iterdir())
    assert list(InteractionTable.open(tmp_path)) == [row for row in ROWS if row[0] != "bob"]
    before = interactions_version(tmp_path)
    assert delete_user(tmp_path, "bob") == 0
    assert interactions_version(tmp_path) == before


def test_forgetting_waits_for_a_run(tmp_path):
    """A person who is deleted while an index run copies what it read of them before is gone after both."""
    write_interactions(tmp_path, ROWS)
    forgetting = threading.Thread(target=delete_user, args=(tmp_path, "bob"))

    def read_before():
        forgetting.start()
        with pytest.raises(Timeout):
            FileLock(tmp_path / "interactions.lock").acquire(blocking=False)
        yield from ROWS

    write_interactions(tmp_path, read_before())
    forgetting.join()
    assert user_preferences(tmp_path, "bob") == []
    assert len(InteractionTable.open(tmp_path)) == len(ROWS) - 2


def test_whoever_has_the_file_open_keeps_reading_it(tmp_path):
    """A reader sees what it opened; a new one sees the new file, and the mark tells them apart."""
    write_interactions(tmp_path, ROWS)
    opened, mark = InteractionTable.open(tmp_path), interactions_version(tmp_path)
    write_interactions(tmp_path, ROWS[:1])
    assert interactions_version(tmp_path) != mark
    assert list(opened) == ROWS
    assert list(InteractionTable.open(tmp_path)) == ROWS[:1]


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    """What was there stays readable, and nothing half-written stays beside it."""
    write_interactions(tmp_path, ROWS)

    def cut_off():
        yield ROWS[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_interactions(tmp_path, cut_off())
    assert list(InteractionTable.open(tmp_path)) == ROWS
    assert not list(tmp_path.glob(".partial-*"))


@pytest.mark.parametrize("damage", [lambda whole: whole[:40], lambda _: b"", lambda _: b"no such format" * 9])
def test_a_damaged_file_names_the_command(tmp_path, damage):
    """A file that is cut off, empty or something else is an index to be made again, which another run does."""
    write_interactions(tmp_path, ROWS)
    (tmp_path / INTERACTIONS_FILE).write_bytes(damage((tmp_path / INTERACTIONS_FILE).read_bytes()))
    with pytest.raises(IndexMissing, match=INTERACTIONS_FILE) as caught:
        InteractionTable.open(tmp_path)
    assert caught.value.hint == "xdrec index"
    write_interactions(tmp_path, ROWS, 1)
    assert list(InteractionTable.open(tmp_path)) == ROWS


def test_a_file_of_other_columns_is_an_index_to_be_made_again(tmp_path):
    """One that knows no times is not read as if it did, and the next run writes it anew whatever it was made from."""
    write_interactions(tmp_path, ROWS, 1)
    with pa.ipc.open_file(tmp_path / INTERACTIONS_FILE) as file:
        table = file.read_all().drop_columns("time")
    with pa.OSFile(str(tmp_path / INTERACTIONS_FILE), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(IndexMissing, match="earlier version") as caught:
        InteractionTable.open(tmp_path)
    assert caught.value.hint == "xdrec index"
    write_interactions(tmp_path, ROWS, 1)
    assert list(InteractionTable.open(tmp_path)) == ROWS


known = st.none() | st.integers(0, 9)
kinds = st.sampled_from(
    [("rating", v) for v in (1.0, 2.0, 3.5, 5.0)] + [("view", 0.25), ("play", 0.5), ("finish", 1.0)]
)


@given(
    events=st.lists(
        st.tuples(st.sampled_from("abcdefg"), st.sampled_from("xyz"), kinds, known), min_size=1, max_size=30
    )
)
@settings(max_examples=15)
def test_preferences_are_those_of_the_histories(events):
    """For everybody they are the history's: a rating wins over events, else the strongest counts; the last time."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        patched.setattr("retrieval.store.store._PAGE", 2)  # several pages of users
        with Store.open(f"sqlite:///{folder}/store.sqlite") as store:
            for domain in ("films", "books"):
                store.upsert_items([Item(domain=domain, id=i, title=i) for i in "xyz"], "run")
            store.upsert_interactions(
                [
                    Interaction(user=u, domain=("films", "books")[n % 2], item=i, kind=kind, value=value, timestamp=t)
                    for n, (u, i, (kind, value), t) in enumerate(events)
                ],
                "run",
            )
            found = list(store.preferences())
            histories = [store.history(user) for user in store.users()]
    assert found == [
        (h.user, e.item.domain, e.item.id, e.preference, e.timestamp)
        for h in histories
        for e in sorted(h.entries, key=lambda e: (e.item.domain, e.item.id))
    ]
    assert {user for user, *_ in found} == {user for user, *_ in events}


def test_all_pages_of_users_come(store):
    """More people than one page holds come once each, by user."""
    store.upsert_items([Item(domain="films", id="f", title="F")], "run")
    people = [f"u{n:04}" for n in range(2_100)]
    store.upsert_interactions([Interaction(user=u, domain="films", item="f", value=5) for u in people], "run")
    assert list(store.preferences()) == [(user, "films", "f", 1.0, None) for user in people]


def test_an_index_run_writes_what_people_did_and_forgetting_reaches_who_has_it_open(store, open_index):
    """`Index.interactions` is the store's after a run, the same object until a deletion, then without the user."""
    store.upsert_items([Item(domain="films", id=i, title=i) for i in ("f1", "f2")], "run")
    index = open_index()
    index.build(store, "films")
    assert len(index.interactions()) == 0
    given_ = [Interaction(user=u, domain="films", item="f1", value=5) for u in ("ada", "bob")]
    store.upsert_interactions(given_, "run")
    index.build(store, "films")
    first = index.interactions()
    assert list(first) == [("ada", "films", "f1", 1.0, None), ("bob", "films", "f1", 1.0, None)]
    assert index.interactions() is first
    delete_user(index.folder, "ada")
    assert list(index.interactions()) == [("bob", "films", "f1", 1.0, None)]


def test_nothing_is_written_twice_for_one_generation(tmp_path):
    """A run that finds what it would write leaves the file alone; a change of interactions is written."""
    write_interactions(tmp_path, ROWS, 3)
    mark = interactions_version(tmp_path)
    write_interactions(tmp_path, iter(()), 3)
    assert interactions_version(tmp_path) == mark
    assert InteractionTable.open(tmp_path).generation == 3
    write_interactions(tmp_path, ROWS[:2], 4)
    assert list(InteractionTable.open(tmp_path)) == ROWS[:2]
    delete_user(tmp_path, "ada")
    assert InteractionTable.open(tmp_path).generation == 4


def test_every_change_of_interactions_is_a_generation(store):
    """What people did, withdrawn items and deleted people included; a catalogue alone is none."""
    seen = []

    def changed():
        seen.append(store.interactions_generation())
        return len(seen) < 2 or seen[-1] > seen[-2]

    store.upsert_items([Item(domain="films", id=i, title=i) for i in "ab"], "run")
    assert store.interactions_generation() == 0
    for user, item in (("ada", "a"), ("bob", "b"), ("cyd", "a")):
        store.upsert_interactions([Interaction(user=user, domain="films", item=item, value=5)], "run")
        assert changed()
    store.delete_user("ada")
    assert changed()
    store.delete_items("films", ["b"])
    assert changed()
    store.delete_items("films", ["a"])
    assert changed()
    store.delete_user("nobody")
    assert not changed()
