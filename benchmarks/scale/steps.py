"""The steps of the benchmark of size, each in a process of its own. Reads a step and files, produces what it found.

    python -m benchmarks.scale.steps STEP HOME POOL ARGUMENT…

writes JSON to stdout, as the last line; the index's progress comes before it. `ingest FILE…` takes in files named
DOMAIN-KIND-….csv, `index DOMAIN` indexes, `search` and `exact` rank the same queries with and without cells.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter
from typing import Final

import numpy as np

from benchmarks.retrieval.speed import WARM_UP, peak_mib, random_queries, search_times
from benchmarks.scale.catalogue import FIRST_YEAR, SOURCE, TARGET, YEARS, Pool, PoolEncoder
from eval.data import index_dir, store_url
from retrieval.index import Index
from retrieval.ingest import IngestRequest, ingest
from retrieval.ranking import Retriever, eligible, history_profiles
from retrieval.settings import IndexSettings, RetrieverSettings
from retrieval.store import Store
from retrieval.templates import load_template
from retrieval.types import Filter, Frozen, Query

CALLS: Final = 100
COMPARED: Final = 40
"""Queries ranked exactly, too: most of a second each at a million items."""
_ALL: Final = 10**9
"""A limit that no catalogue reaches."""
FILTERS: Final[Mapping[str, Filter]] = {
    "": Filter(),
    "half": Filter(year_from=FIRST_YEAR + YEARS // 2),
    "a fiftieth": Filter(year_from=FIRST_YEAR + YEARS - 2),
}
"""Filters by the share of the catalogue that they keep."""
SIGNALS: Final[Mapping[str, tuple[str, ...] | None]] = {"all": None, "text": ("text",)}
"""Which sources have a say in a comparison with exact search."""

Ranked = dict[str, tuple[tuple[str, ...], ...]]
"""For each of `SIGNALS` the item ids of every query."""


class Ingested(Frozen):
    """What an import found; times in seconds."""

    items: int
    items_s: float
    interactions: int
    interactions_s: float
    peak_mib: float


class Indexed(Frozen):
    """What an index run found; times in seconds."""

    embedded: int
    encode_s: float
    total_s: float
    peak_mib: float


class Searched(Frozen):
    """What searches found; times in milliseconds, one a call."""

    wall_ms: dict[str, tuple[float, ...]]
    """For each of `FILTERS`."""
    processor_ms: tuple[float, ...]
    """Of the searches without a filter."""
    parts_ms: dict[str, float]
    """What single parts of a search take; medians."""
    first_s: float
    """The first search, with all that is loaded at first use."""
    peak_mib: float
    ranked: Ranked


class Compared(Frozen):
    """What exact searches found; times in milliseconds, one a call."""

    wall_ms: tuple[float, ...]
    ranked: Ranked


def _ingest(home: Path, _pool: Pool, *files: str) -> Ingested:
    counts, seconds = {"items": 0, "interactions": 0}, {"items": 0.0, "interactions": 0.0}
    with Store.open(store_url(home)) as store:
        for file in map(Path, files):
            domain, kind = file.name.split("-")[:2]
            began = perf_counter()
            (report,) = ingest(store, IngestRequest(file, domain))
            seconds[kind] += perf_counter() - began
            counts[kind] += report.added
    times = {f"{kind}_s": taken for kind, taken in seconds.items()}
    return Ingested(**counts, **times, peak_mib=peak_mib())


def _index(home: Path, pool: Pool, domain: str) -> Indexed:
    with Store.open(store_url(home)) as store, _opened(home, pool, IndexSettings()) as index:
        report = index.build(store, domain, progress=lambda done, total: print(done, total, flush=True))  # noqa: T201
    return Indexed(embedded=report.embedded, encode_s=report.encode_s, total_s=report.total_s, peak_mib=peak_mib())


def _search(home: Path, pool: Pool) -> Searched:
    with Store.open(store_url(home)) as store, _opened(home, pool, IndexSettings()) as index:
        queries = random_queries(store, SOURCE, TARGET, CALLS + WARM_UP)
        retriever = Retriever(store, index, RetrieverSettings())
        began = perf_counter()
        retriever.rank(queries[-1])
        first = perf_counter() - began
        times = {
            name: search_times(retriever, [query.model_copy(update={"filter": wanted}) for query in queries])
            for name, wanted in FILTERS.items()
        }
        return Searched(
            wall_ms={name: wall for name, (wall, _) in times.items()},
            processor_ms=times[""][1],
            parts_ms=_parts(retriever, queries[:COMPARED]),
            first_s=first,
            peak_mib=peak_mib(),
            ranked=_ranked(store, index, queries),
        )


def _exact(home: Path, pool: Pool) -> Compared:
    with Store.open(store_url(home)) as store, _opened(home, pool, IndexSettings(exact_limit=_ALL)) as index:
        queries = random_queries(store, SOURCE, TARGET, COMPARED + WARM_UP)
        wall, _ = search_times(Retriever(store, index, RetrieverSettings()), queries)
        return Compared(wall_ms=wall, ranked=_ranked(store, index, queries))


def _opened(home: Path, pool: Pool, settings: IndexSettings) -> Index:
    return Index(index_dir(home), PoolEncoder(pool), load_template("item"), settings)


def _ranked(store: Store, index: Index, queries: list[Query]) -> Ranked:
    found = {}
    for name, signals in SIGNALS.items():
        retriever = Retriever(store, index, RetrieverSettings(signals=signals))
        found[name] = tuple(retriever.rank(query).ids for query in queries[:COMPARED])
    return found


def _parts(retriever: Retriever, queries: list[Query]) -> dict[str, float]:
    """Median milliseconds of what a search is made of, each alone."""
    users, target = retriever.collaborative(), retriever.index.snapshot(TARGET)
    liked = [history_profiles(query, retriever.index, retriever.settings)[0] for query in queries]
    found = [retriever.rank(query).ids for query in queries]
    half = FILTERS["half"]
    calls: dict[str, Callable[[int], object]] = {
        "profile": lambda n: history_profiles(queries[n], retriever.index, retriever.settings),
        "filter": lambda _: eligible(target, half),
        "bm25": lambda n: target.bm25.scores(liked[n].texts),
        "popularity": lambda n: users.popularity(target, queries[n].history.last_seen),
        "co-occurrence": lambda n: users.cooccurrence(liked[n].rows, target),
        "neighbours": lambda n: users.neighbours(liked[n].rows, target, None),
        "items from the store": lambda n: retriever.store.items(TARGET, found[n]),
    }
    return {name: float(np.median([_timed(call, n) for n in range(len(queries))])) for name, call in calls.items()}


def _timed(call: Callable[[int], object], n: int) -> float:
    began = perf_counter()
    call(n)
    return 1000 * (perf_counter() - began)


_STEPS: Final[Mapping[str, Callable[..., Frozen]]] = {
    "ingest": _ingest, "index": _index, "search": _search, "exact": _exact
}  # fmt: skip

if __name__ == "__main__":
    step, home, pool, *arguments = sys.argv[1:]
    print(_STEPS[step](Path(home), Pool(Path(pool)), *arguments).model_dump_json())  # noqa: T201
