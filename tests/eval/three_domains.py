"""A little world of three domains: people of three tastes, who like three things here and two of their kind there."""

from __future__ import annotations

from contextlib import contextmanager

from word_encoder import WordEncoder

from eval.data import Dataset
from retrieval.index import Index
from retrieval.settings import IndexSettings
from retrieval.store import Store
from retrieval.templates import load_template
from retrieval.types import Interaction, Item

DOMAINS = ("films", "books", "music")
TASTES = ("space", "crime", "love")
PEOPLE = 60


def item(domain, taste, n):
    kinds = (f"{taste} stories", "everything")
    return Item(domain=domain, id=f"{taste}-{n}", title=f"{taste} {domain} {n}", categories=kinds, description=taste)


def interactions(per_taste):
    """Four films, three songs and two books of their taste, in this order; the last book is somebody's own."""
    for n in range(PEOPLE):
        taste, user = TASTES[n % 3], f"user {n}"
        for m in range(4):
            yield Interaction(user=user, domain="films", item=f"{taste}-{(n + m) % 7}", value=5, timestamp=m)
        for m in range(3):
            yield Interaction(user=user, domain="music", item=f"{taste}-{(n + 2 * m) % 6}", value=4, timestamp=10 + m)
        yield Interaction(user=user, domain="books", item=f"{taste}-{n % 5}", value=5, timestamp=20)
        own = 10 + n // 3
        if own < per_taste:
            yield Interaction(user=user, domain="books", item=f"{taste}-{own}", value=5, timestamp=21)


@contextmanager
def open_world(home, encoder=None, per_taste=60):
    """The world, indexed; with so many items of each taste in each domain."""
    with (
        Store.open(f"sqlite:///{home / 'store.sqlite'}") as store,
        Index(home / "index", encoder or WordEncoder(), load_template("item"), IndexSettings()) as index,
    ):
        items = [item(domain, taste, n) for domain in DOMAINS for taste in TASTES for n in range(per_taste)]
        store.upsert_items(items, "run")
        store.upsert_interactions(list(interactions(per_taste)), "run")
        for domain in DOMAINS:
            index.build(store, domain)
        yield Dataset(store, index, home, DOMAINS)
