"""A small store with an index for the tests of the service."""

from __future__ import annotations

import pytest
from service_kit import serving
from word_encoder import WordEncoder

from retrieval.index import Index
from retrieval.settings import IndexSettings
from retrieval.store import Store
from retrieval.templates import load_template
from retrieval.types import Interaction, Item

WORDS = ["space", "love", "crime", "war", "sea", "city", "ghost", "music"]


@pytest.fixture
def home(tmp_path):
    """A store with films and books, an index of both, and two people."""
    with Store.open(f"sqlite:///{tmp_path}/store.sqlite") as store:
        for domain in ("films", "books"):
            items = [
                Item(domain=domain, id=f"{w}-{n}", title=f"{w.title()} {domain} {n}", categories=(w,), year=1990 + n)
                for w in WORDS
                for n in range(1, 5)
            ]
            store.upsert_items(items, "run")
        known = [("ada", "films", "space-1", 5), ("ada", "films", "space-2", 4), ("bob", "films", "war-1", 5)]
        store.upsert_interactions(
            [Interaction(user=u, domain=d, item=i, value=v, timestamp=n) for n, (u, d, i, v) in enumerate(known)],
            "run",
        )
        with Index(tmp_path / "index", WordEncoder(), load_template("item"), IndexSettings()) as index:
            for domain in ("films", "books"):
                index.build(store, domain)
    return tmp_path


@pytest.fixture
def http(home):
    """A client of a running service without keys."""
    with serving(home) as client:
        yield client
