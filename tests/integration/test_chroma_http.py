"""Retrieval through a real Chroma server."""

from __future__ import annotations

import pytest
from chroma_server import ChromaServer
from word_encoder import WordEncoder

from retrieval.errors import VectorStoreError
from retrieval.index import Index
from retrieval.ranking import Retriever
from retrieval.settings import IndexSettings, RetrieverSettings
from retrieval.store import Store
from retrieval.templates import load_template
from retrieval.types import History, HistoryEntry, Item, Query

pytestmark = pytest.mark.integration


@pytest.fixture
def chroma(tmp_path):
    server = ChromaServer(tmp_path / "chroma-server")
    yield server
    server.stop()


@pytest.fixture
def store(tmp_path):
    with Store.open(f"sqlite:///{tmp_path / 'store.sqlite'}") as store:
        films = [Item(domain="films", id=f"f{n}", title=f"Film {n}", description=f"star ship w{n}") for n in range(5)]
        books = [Item(domain="books", id=f"b{n}", title=f"Book {n}", description=f"tea w{n}") for n in range(60)]
        store.upsert_items([*films, *books], "run")
        yield store


def query(k=3):
    entry = HistoryEntry(item=Item(domain="films", id="f3", title="Film 3"))
    return Query(history=History(entries=(entry,)), target="books", k=k)


def index_at(folder, url, **settings):
    return Index(folder, WordEncoder(), load_template("item"), IndexSettings(chroma_url=url, **settings))


def test_the_server_does_what_the_embedded_one_does(tmp_path, chroma, store):
    """Indexing, updating, deleting and searching, also by codes, work through a server, with the same ranking."""
    rankings = []
    for name, url in (("served", chroma.url), ("embedded", None)):
        with index_at(tmp_path / name, url) as index:
            for domain in ("films", "books"):
                index.build(store, domain)
            rankings.append(Retriever(store, index, RetrieverSettings()).rank(query()))
    assert rankings[0] == rankings[1]
    assert not (tmp_path / "served" / "chroma").exists()

    store.delete_items("books", ["b3"])
    store.upsert_items([Item(domain="books", id="new", title="New", description="star ship w3")], "later")
    with index_at(tmp_path / "served", chroma.url, exact_limit=10) as index:
        report = index.build(store, "books")
        assert (report.embedded, report.deleted) == (1, 1)
        found = Retriever(store, index, RetrieverSettings()).rank(query(k=60)).ids
        assert ("new" in found, "b3" in found) == (True, False)


def test_a_server_that_is_gone(tmp_path, chroma, store):
    """Without its server a run of the index says so and what to look at; searches go on, of large catalogues, too."""
    with index_at(tmp_path / "index", chroma.url, exact_limit=10) as index:
        for domain in ("films", "books"):
            index.build(store, domain)
        chroma.stop()
        with pytest.raises(VectorStoreError, match=chroma.url) as caught:
            index.build(store, "books")
        assert caught.value.hint == "is the Chroma server up?"
        assert caught.value.retryable
        assert len(Retriever(store, index, RetrieverSettings()).rank(query()).ids) == 3
