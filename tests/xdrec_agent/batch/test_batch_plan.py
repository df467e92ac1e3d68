"""Plans: whom a batch is for, and in which parts."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.errors import DataError, UnreadableFile, UsageError
from retrieval.store import Store
from retrieval.types import Interaction, Item
from xdrec_agent.batch import Request
from xdrec_agent.batch.plan import make_job, partitions, read_users
from xdrec_agent.settings import Settings, load_settings

ids = st.lists(st.text(min_size=1), min_size=1, unique=True)


@pytest.fixture
def store(tmp_path):
    with Store.open(f"sqlite:///{tmp_path / 'store.sqlite'}") as store:
        items = [Item(domain=domain, id="1", title="One") for domain in ("films", "books", "music")]
        seen = [("zoe", "films"), ("ada", "films"), ("ada", "music"), ("bob", "books"), ("cid", "music")]
        store.upsert_items(items, "items")
        store.upsert_interactions([Interaction(user=u, domain=d, item="1", value=5) for u, d in seen], "seen")
        yield store


def job(users=("a",), **changed):
    arguments = {"sources": ("films",), "target": "books", "k": 5, "size": 3, "explain": True}
    settings = changed.pop("settings", Settings())
    given = changed.pop("given", "users.csv")
    request = Request(given, output="out", **(arguments | changed))
    return make_job(settings, request, users)


def test_everybody_means_the_users_of_the_source_domains(store):
    """ "all" are those with interactions in one of the sources, each once, in byte order."""
    assert read_users("all", store, ("films", "music")) == ["ada", "cid", "zoe"]


def test_a_file_of_users_gives_each_once_in_byte_order(store, tmp_path):
    """Empty ids and repetitions are left out, numbers in a CSV stay texts, the order of a file does not matter."""
    (tmp_path / "users.csv").write_text("age,User_ID\n3,zoe\n4,007\n5,\n6,zoe\n")
    pq.write_table(pa.table({"n": [1, 2, 3], "user": [20, None, 3]}), tmp_path / "users.parquet")
    assert read_users(str(tmp_path / "users.csv"), store, ()) == ["007", "zoe"]
    assert read_users(str(tmp_path / "users.parquet"), store, ()) == ["20", "3"]


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("users.csv", "a,b\n1,2\n", UsageError),
        ("users.csv", "user\n", DataError),
        ("users.parquet", "no parquet", UnreadableFile),
        ("users.txt", "ada\n", UnreadableFile),
        ("gone/users.csv", None, UnreadableFile),
    ],
)
def test_a_file_that_holds_no_users_is_refused(store, tmp_path, name, content, error):
    """Nothing is begun with a file of other columns, without rows, of another kind, or that is not there."""
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(error) as raised:
        read_users(str(tmp_path / name), store, ())
    assert raised.value.hint


@given(ids, st.integers(1, 7))
def test_parts_hold_every_user_once_and_are_named_by_content(users, size):
    """The parts together are the users in order; other users, other arguments or another order have other names."""
    planned = list(partitions(job(users, size=size), users))
    assert [user for part in planned for user in part.users] == users
    assert all(len(part.users) <= size for part in planned)
    assert len({part.name for part in planned}) == len(planned)
    assert planned == list(partitions(job(users, size=size), users))
    other = partitions(job(users, size=size, k=6), users)
    assert not {part.name for part in planned} & {part.name for part in other}


def test_a_job_is_what_decides_the_result():
    """Arguments, users, model and settings of the stages are part of it; servers, deadlines of others are not."""
    base = job()
    same = [load_settings(llm={"base_url": "http://127.0.0.1:1/v1"}), load_settings(encoder={"batch_size": 3})]
    other = [
        load_settings(llm={"model": "other"}),
        load_settings(retriever={"diversity": 0.5}),
        load_settings(explain={"language": "zh"}),
        load_settings(exclusions=[{"target": "books", "source": "films", "attribute": "for"}]),
    ]
    assert [job(settings=one) == base for one in same] == [True] * 2
    assert [job(settings=one) == base for one in other] == [False] * 4
    assert job(users=("b",)) != base
    assert job(users=("b",), given="all") == job(given="all")
    assert base.differences(job(k=6, target="music")) == ["target was books, is music", "k was 5, is 6"]
