"""How soon a new item can be recommended. Reads prepared data, produces a copy in which items are new, and figures.

The copy has a store and an index; items leave both and come back as new ones do: by the store and `Index.add`. A
retriever that is running all the while stands for a service. Items come by the command line, and by the index of a
process that has its encoder loaded; what counts is when that retriever's ranking holds the item.
"""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Final

import numpy as np

from benchmarks.figures import Figure, figure
from eval.data import Dataset, Say, index_dir, store_url
from retrieval.errors import DataError
from retrieval.index import Index
from retrieval.ranking import Retriever
from retrieval.settings import RetrieverSettings
from retrieval.store import Store
from retrieval.types import History, HistoryEntry, Item, Query

WITHIN_S: Final = 1.0
COMMANDS: Final = 3
_WARM: Final = 10
_K: Final = 100


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


def bench_at_once(data: Dataset, say: Say, commands: int = COMMANDS) -> list[Figure]:
    """As `measure_at_once`, on a copy that is thrown away."""
    with tempfile.TemporaryDirectory() as home, copied(data, Path(home)) as copy:
        return measure_at_once(copy, say, commands)


def measure_at_once(data: Dataset, say: Say, commands: int) -> list[Figure]:
    """From the end of `xdrec ingest`, and from an item's row in the store, to the ranking that holds it.

    Args:
        data: a copy: new items are added to it. The configured encoder must be the index's.
        commands: how often `xdrec ingest` is run.
    """
    source, target = data.domains[:2]
    liked = next(iter(data.store.iter_items(source)))
    query = Query(history=History(entries=(HistoryEntry(item=liked),)), target=target, k=_K)
    with Index(data.index.folder, data.index.encoder, data.index.template, data.index.settings) as index:
        running = Retriever(data.store, index, RetrieverSettings(signals=("text",)))
        running.rank(query)
        warm = [_added(data, running, query, _like(liked, target, f"warm {n}")) for n in range(_WARM)]
        ingested, found = [], []
        for n in range(commands):
            say(f"xdrec ingest, {n + 1} of {commands}")
            item = _like(liked, target, f"command-{n}")
            ingested.append(_ingest(data, item))
            found.append(_found(running, query, item))
    by_command = "new item, from the end of xdrec ingest until it is ranked"
    by_index = "new item, from its row in the store until it is ranked, encoder loaded"
    running_note = "by a retriever that was running"
    return [
        figure(by_command, max(found), "s, most", len(found), running_note, f"<= {WITHIN_S:g}"),
        figure("xdrec ingest of one item", float(np.median(ingested)), "s, median", len(ingested)),
        figure(by_index, float(np.median(warm)), "s, median", len(warm), f"most {max(warm):.2f} s"),
    ]


def _like(item: Item, domain: str, name: str) -> Item:
    """An item of that domain with the same text, which nothing fits better."""
    return Item(domain=domain, id=name, title=item.title, creators=item.creators, categories=item.categories)


def _added(data: Dataset, running: Retriever, query: Query, item: Item) -> float:
    data.store.upsert_items([item], item.id)
    began = perf_counter()
    data.index.add(data.store, item.domain, 1)
    _found(running, query, item)
    return perf_counter() - began


def _ingest(data: Dataset, item: Item) -> float:
    """Seconds that the command takes for a file of this one item."""
    file = data.home / "new.jsonl"
    file.write_text(item.model_dump_json(include={"id", "title", "creators", "categories"}) + "\n", encoding="utf-8")
    command = [str(Path(sys.executable).with_name("xdrec")), "--home", str(data.home), "ingest", item.domain, str(file)]
    began = perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = perf_counter() - began
    if done.returncode or "new in the index: 1" not in done.stderr:
        raise DataError(f"xdrec ingest did not take the item in: {done.stdout} {done.stderr}")
    return seconds


def _found(running: Retriever, query: Query, item: Item) -> float:
    """Seconds until the ranking holds the item. Raises DataError if it does not."""
    began = perf_counter()
    if item.id not in running.rank(query).ids:
        raise DataError(f"{item.id} was added and is not ranked")
    return perf_counter() - began
