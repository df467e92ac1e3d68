"""Parts of data sets: whole users, from a day on, with enough interactions, in every format and bounded memory."""

import tracemalloc
from itertools import chain, repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.errors import UsageError
from retrieval.ingest import IngestRequest, InteractionFilter, ingest
from retrieval.ingest.interaction_filter import sample_users
from retrieval.types import Item

USERS = 30


def rating_rows():
    """User n rates n + 1 of ten films, a day apart, from 1970-01-02 on."""
    return [(f"u{n}", str(i % 10), 3, 86_400 * (i + 1)) for n in range(USERS) for i in range(min(n + 1, 10))]


@pytest.fixture
def films(store):
    store.upsert_items([Item(domain="films", id=str(n), title=f"Film {n}") for n in range(10)], "catalogue")
    return store


def by_csv(store, tmp_path, keep):
    path = tmp_path / "ratings.csv"
    rows = "".join(f"{u},{i},{v},{t}\n" for u, i, v, t in rating_rows())
    path.write_text("user,item,rating,timestamp\n" + rows)
    return ingest(store, IngestRequest(path, "films", format="csv", keep=keep))[0]


def by_movielens(store, tmp_path, keep):
    path = tmp_path / "ratings.dat"
    path.write_text("".join(f"{u}::{i}::{v}::{t}\n" for u, i, v, t in rating_rows()))
    return ingest(store, IngestRequest(path, "films", format="movielens", keep=keep))[0]


@pytest.fixture(params=[by_csv, by_movielens])
def part(request, films, tmp_path):
    """Imports the part of the ratings that is wanted, as a plain table and as a data set."""
    return lambda **keep: request.param(films, tmp_path, InteractionFilter(**keep))


def kept(store):
    """How many interactions the store keeps of each user."""
    return {user: len(store.export_user(user)) for user in store.users()}


def test_a_sample_keeps_whole_users(films, part):
    """So many users, each with everything; the others are counted as left out."""
    report = part(sample=7)
    found = kept(films)
    assert len(found) == 7
    assert all(count == min(int(user[1:]) + 1, 10) for user, count in found.items())
    assert report.rows == report.added + sum(report.left_out.values())


def test_a_larger_sample_contains_a_smaller_one(films, part):
    """Users are chosen by who they are, not by chance or order."""
    part(sample=5)
    small = set(kept(films))
    part(sample=12)
    assert small < set(kept(films))


def test_users_with_too_few_are_left_out(films, part):
    """The least number is of interactions of that user in the files."""
    part(min_interactions=10)
    assert set(kept(films)) == {f"u{n}" for n in range(9, USERS)}


def test_what_is_older_is_left_out(films, part):
    """Interactions from the given second on are kept."""
    report = part(since=86_400 * 4)
    assert set(kept(films)) == {f"u{n}" for n in range(3, USERS)}
    assert kept(films)["u29"] == 7
    assert report.left_out == {"before the given date": sum(min(n + 1, 3) for n in range(USERS))}


def test_conditions_hold_together(films, part):
    """Those that are too old do not count for the least number, and the sample is of those who have it."""
    part(since=86_400 * 4, min_interactions=7, sample=4)
    found = kept(films)
    assert (len(found), set(found.values())) == (4, {7})


def test_no_time_and_a_date(films, tmp_path):
    """What has no time cannot be from a day on; it is left out, and counted apart."""
    path = tmp_path / "ratings.csv"
    path.write_text("user,item,rating,timestamp\nann,1,5,\nann,2,5,99999999\n")
    (report,) = ingest(films, IngestRequest(path, "films", keep=InteractionFilter(since=5)))
    assert (report.added, report.left_out) == (1, {"without a time, while a date was given": 1})


@pytest.mark.parametrize("keep", [{"sample": 0}, {"min_interactions": 0}])
def test_senseless_filters(keep):
    """A filter that keeps nobody at all is refused."""
    with pytest.raises(UsageError):
        InteractionFilter(**keep)


@given(st.lists(st.text(max_size=3), max_size=60), st.integers(1, 4), st.none() | st.integers(1, 20))
def test_counting_is_exact(users, least, sample):
    """As many users are kept as a plain count says, and only such."""
    enough = {user for user in users if users.count(user) >= least}
    chosen = sample_users(users, sample=sample, min_count=least)
    assert len(chosen) == min(len(enough), sample or len(enough))
    assert len([user for user in set(users) if user in chosen]) == len(chosen)
    assert all(user in enough for user in set(users) if user in chosen)


def test_counting_takes_little_memory():
    """More interactions than are held at once are counted exactly, in 40 MB."""
    names = [f"user {n}" for n in range(50_000)]
    tracemalloc.start()
    chosen = sample_users(chain.from_iterable(repeat(names, 22)), sample=None, min_count=22)
    used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (len(chosen), used < 40_000_000) == (50_000, True)
