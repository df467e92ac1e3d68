"""A home of one's own, in which items are new. Reads prepared data, produces a copy that lacks some of its items.

The copy has a store and an index; items leave both and come back as new ones do: by the store and `Index.add`.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from eval.data import Dataset, Say, index_dir, store_url
from retrieval.index import Index
from retrieval.store import Store


@dataclass(frozen=True)
class ColdHome:
    """The copy after new items came. `seconds`: by domain what `Index.add` took; `new`: ids of the new items."""

    data: Dataset
    new: dict[str, frozenset[str]]
    seconds: dict[str, float]


@contextmanager
def copied(data: Dataset, home: Path) -> Iterator[Dataset]:
    """A copy of the data in an empty folder; nothing of what happens to it reaches the original."""
    home.mkdir(parents=True, exist_ok=True)
    with (
        closing(sqlite3.connect(data.home / "store.sqlite")) as source,
        closing(sqlite3.connect(home / "store.sqlite")) as target,
    ):
        source.backup(target)
    # Links would share the vectors' file, to which additions write.
    shutil.copytree(index_dir(data.home), index_dir(home))
    with (
        Store.open(store_url(home)) as store,
        Index(index_dir(home), data.index.encoder, data.index.template, data.index.settings) as index,
    ):
        yield Dataset(store, index, home, data.domains)


def renew(data: Dataset, ids: Mapping[str, set[str]], say: Say) -> ColdHome:
    """Take these items out of a copy, with whatever anybody did with them, run the index, and add them as new ones."""
    seconds: dict[str, float] = {}
    for domain, names in ids.items():
        items = list(data.store.items(domain, names).values())
        say(f"{domain}: taking {len(items):,} items out")
        data.store.delete_items(domain, names)
        data.index.build(data.store, domain)
        data.store.upsert_items(items, "new")
        say(f"{domain}: adding them again")
        seconds[domain] = data.index.add(data.store, domain, len(items)).total_s
    return ColdHome(data, {domain: frozenset(names) for domain, names in ids.items()}, seconds)
