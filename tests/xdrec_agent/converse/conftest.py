"""What the tests of the conversation share: the demo pack in a store, its index by words, and the rule NLU."""

from __future__ import annotations

from pathlib import Path

import pytest
from word_encoder import WordEncoder

from retrieval.index import Index
from retrieval.ingest import IngestRequest, ingest
from retrieval.ranking import Retriever
from retrieval.settings import IndexSettings, RetrieverSettings
from retrieval.store import Store
from retrieval.templates import load_template
from xdrec_agent.converse import DialogueState, ItemRef, Lexicon, RuleNLU

PACK = Path(__file__).resolve().parents[3] / "examples" / "films-books"


@pytest.fixture(scope="session")
def pack_url(tmp_path_factory):
    url = f"sqlite:///{tmp_path_factory.mktemp('pack')}/store.sqlite"
    with Store.open(url) as store:
        for domain in ("films", "books"):
            ingest(store, IngestRequest(PACK / f"{domain}.csv", domain))
    return url


@pytest.fixture(scope="session")
def store(pack_url):
    with Store.open(pack_url) as store:
        yield store


@pytest.fixture(scope="session")
def lexicon(store):
    return Lexicon(store)


@pytest.fixture(scope="session")
def nlu(lexicon):
    return RuleNLU(lexicon, this_year=2026)


@pytest.fixture(scope="session")
def retriever(store, tmp_path_factory):
    index = Index(tmp_path_factory.mktemp("index"), WordEncoder(), load_template("item"), IndexSettings())
    for domain in ("films", "books"):
        index.build(store, domain)
    return Retriever(store, index, RetrieverSettings())


@pytest.fixture
def refs(lexicon):
    """References to books by id."""

    def make(*ids):
        return tuple(map(ItemRef.of, lexicon.items("books", ids).values()))

    return make


@pytest.fixture
def state():
    return DialogueState(sources=("films",), target="books")
