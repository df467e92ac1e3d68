"""The store on a real Postgres server, which the tests start and stop: its contract, and its own failures."""

import threading

import pytest
from postgres_server import postgres
from store_contract import StoreContract, film

from retrieval.errors import StoreError
from retrieval.ingest import IngestRequest, ingest
from retrieval.relations import RelationGraph
from retrieval.store import RelationStore, Store
from retrieval.types import History, Query
from xdrec_agent.recommend import RecommendationLog
from xdrec_agent.types import Recommendation, Recommendations

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def server():
    with postgres() as server:
        yield server


@pytest.fixture
def store_url(server):
    return server.new_database()


class TestPostgresStore(StoreContract):
    """Postgres keeps the contract of a store."""


def test_two_writers_take_turns(store_url):
    """Two connections that write the same items in opposite order neither lock each other out nor lose a change."""
    with Store.open(store_url) as store:
        failures = []

        def work(name, order):
            try:
                for n in range(20):
                    store.upsert_items([film(i, f"{name} {n}") for i in order], f"{name}{n}")
            except StoreError as exc:
                failures.append(exc)

        threads = [threading.Thread(target=work, args=("a", "123")), threading.Thread(target=work, args=("b", "321"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (failures, store.generation("films")) == ([], 40)


def test_relations_are_counted_kept_and_deleted_alike(store_url, tmp_path):
    """What is new, as it was and repeated; a name becomes the item that it is; deletions take relations along."""
    file = tmp_path / "triples.csv"
    file.write_text("subject,predicate,object\n1,about,space\n1,about,space\n2,about,space\n3,about,1\n")
    with Store.open(store_url) as store, RelationStore.open(store_url) as relations:
        store.upsert_items([film("1"), film("2")], "run")
        (first,) = ingest(store, IngestRequest(file, kind="relations"))
        assert (first.added, first.unchanged, first.repeated, first.unlinked) == (3, 0, 1, 0)
        store.upsert_items([film("3")], "run")
        (again,) = ingest(store, IngestRequest(file, kind="relations"))
        assert (again.added, again.unchanged, again.repeated) == (0, 3, 1)
        graph = RelationGraph(relations)
        assert [path.end.id for path in graph.paths([("films", "3")], ("films", "2"))] == ["2"]
        store.delete_items("films", ["1"])
        assert graph.paths([("films", "3")], ("films", "2")) == ()
        assert len(list(relations.iter_relations())) == 1


def test_answers_are_kept_and_forgotten_alike(store_url):
    """Ids, order, events, and what goes with a person."""
    query = Query(history=History(user="ada"), target="films", text="space")
    given = Recommendations(
        user="ada",
        sources=(),
        target="films",
        items=(Recommendation(rank=1, item=film("1"), score=1, retrieval_rank=1),),
        source="retrieval",
    )
    with RecommendationLog.open(store_url) as answers:
        ids = [answers.add(query, given, arm="ab"[n % 2]) for n in range(3)]
        answers.add_event(ids[2], "films", "1", "rating", value=4)
        assert answers.last().id == ids[2]
        assert answers.get(ids[0]).query == query
        assert [kept.id for kept in answers.iter_answers(arm="a")] == [ids[0], ids[2]]
        assert [event.value for event in answers.iter_events()] == [4]
        assert answers.delete_user("ada") == 3
        assert list(answers.iter_events()) == []


def test_unknown_database_is_a_store_error(server):
    """A database that is not there is a store error with a hint."""
    with pytest.raises(StoreError, match="does not exist") as caught:
        Store.open(server.url("nowhere"))
    assert caught.value.hint


def test_a_server_that_went_away_is_a_store_error(server, store_url):
    """When the server stops between two calls, the next one is a retryable store error, and works after its return."""
    with Store.open(store_url) as store:
        store.upsert_items([film("1")], "run")
        server.stop()
        try:
            with pytest.raises(StoreError) as caught:
                store.items("films", ["1"])
        finally:
            server.start()
        assert caught.value.retryable
        assert list(store.items("films", ["1"])) == ["1"]
