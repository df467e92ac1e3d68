"""How fast and how lean a search is. Reads a prepared dataset, produces figures, measured in a process of its own.

    python -m benchmarks.retrieval.speed HOME MODEL_FOLDER

is that process: it opens the dataset as a user's program would, with nothing else in memory, and prints what it found
as JSON.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from collections import Counter
from itertools import islice
from pathlib import Path
from time import perf_counter, process_time, time
from typing import Final

import numpy as np
import psutil

from benchmarks.figures import Figure, figure
from eval.data import Dataset, Say, index_dir, store_url
from retrieval.encoder import SentenceEncoder
from retrieval.errors import BackendError
from retrieval.index import Index, Snapshot
from retrieval.ranking import Retriever, eligible
from retrieval.settings import IndexSettings, RetrieverSettings
from retrieval.store import Store
from retrieval.templates import load_template
from retrieval.types import Filter, Frozen, History, HistoryEntry, Item, Query

CALLS: Final = 300
HISTORY: Final = 20
K: Final = 100
WARM_UP: Final = 10
"""Searches that are not timed."""
_SOURCE, _TARGET = "films", "books"
_HEAVY: Final = ("torch", "transformers", "sentence_transformers", "chromadb")
_LIMIT_MS: Final = 30.0
_INDEXED: Final = 4_000
_ROUNDS: Final = 3
_INDEX_DOMAIN: Final = "books"
_INDEX_SHARE: Final = 0.88


class Measured(Frozen):
    """What the process found; times in milliseconds, one a call."""

    items: int
    opened_ms: float
    """From the start of opening to a snapshot that can be searched."""
    first_answer_s: float
    """From the start of the process to its first ranking."""
    plain_ms: tuple[float, ...]
    filtered_ms: tuple[float, ...]
    kept: float
    """Share of the catalogue that the filter keeps."""
    peak_mib: float
    heavy: tuple[str, ...]
    """Heavy libraries that were imported."""


def measure_speed(data: Dataset, model: Path, say: Say) -> list[Figure]:
    """Percentiles of `CALLS` searches without and with a filter, the time to open, and the process' peak memory."""
    say(f"timing 2 x {CALLS} searches in a process of their own")
    command = [sys.executable, "-P", "-m", "benchmarks.retrieval.speed", str(data.home), str(model)]
    run = subprocess.run(command, check=False, capture_output=True, text=True)
    if run.returncode != 0:
        raise BackendError(f"the timed process failed: {run.stderr.strip()[-500:]}", hint="run it again alone")
    found = Measured.model_validate_json(run.stdout.splitlines()[-1])
    what = f"k={K}, {HISTORY} {_SOURCE} liked, {found.items:,} {_TARGET}"
    resident = "resident, mapped vectors included"
    heavy = ", ".join(found.heavy) or f"none of {', '.join(_HEAVY)}"
    return [
        *_percentiles("search", found.plain_ms, what),
        *_percentiles("search, filtered", found.filtered_ms, f"{what}, the filter keeps {found.kept:.0%}"),
        figure("open", found.opened_ms, "ms", note="store and index, until a search can begin"),
        figure("first answer", found.first_answer_s, "s", note="since the process began"),
        figure("peak memory of a searching process", found.peak_mib, "MiB", 1, resident, "< 1024"),
        figure("heavy libraries imported by a search", len(found.heavy), "", len(_HEAVY), heavy, "0"),
    ]


def _percentiles(name: str, times: tuple[float, ...], note: str) -> list[Figure]:
    targets = {50: None, 95: f"< {_LIMIT_MS:g}", 99: None}
    return [
        figure(f"{name}, p{percent}", float(np.percentile(times, percent)), "ms", len(times), note, target)
        for percent, target in targets.items()
    ]


def _measure(home: Path, model: Path) -> Measured:
    began = perf_counter()
    index = Index(index_dir(home), SentenceEncoder("all-MiniLM-L6-v2", model), load_template("item"), IndexSettings())
    with Store.open(store_url(home)) as store, index:
        target = index.snapshot(_TARGET)
        opened = perf_counter() - began
        retriever = Retriever(store, index, RetrieverSettings())
        queries = random_queries(store, _SOURCE, _TARGET, CALLS + WARM_UP)
        retriever.rank(queries[0])
        first = time() - psutil.Process().create_time()
        half = _half(target)
        plain, _ = search_times(retriever, queries)
        filtered, _ = search_times(retriever, [q.model_copy(update={"filter": half}) for q in queries])
        kept = float(eligible(target, half).mean())
    return Measured(
        items=target.manifest.items,
        opened_ms=1000 * opened,
        first_answer_s=first,
        plain_ms=plain,
        filtered_ms=filtered,
        kept=kept,
        peak_mib=peak_mib(),
        heavy=tuple(name for name in _HEAVY if name in sys.modules),
    )


def random_queries(store: Store, source: str, target: str, count: int) -> list[Query]:
    """Queries of `HISTORY` random items of the first 5,000 of a domain; the same ones every time."""
    rng = np.random.default_rng(0)
    items = list(islice(store.iter_items(source), 5_000))
    histories = (rng.choice(len(items), HISTORY, replace=False) for _ in range(count))
    return [
        Query(history=History(entries=tuple(HistoryEntry(item=items[i]) for i in rows)), target=target, k=K)
        for rows in histories
    ]


def search_times(retriever: Retriever, queries: list[Query]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Wall and processor time, in milliseconds, of all queries but the last `WARM_UP`, which are asked first."""
    wall, busy = [], []
    for query in queries[-WARM_UP:] + queries[:-WARM_UP]:
        began, worked = perf_counter(), process_time()
        retriever.rank(query)
        wall.append(1000 * (perf_counter() - began))
        busy.append(1000 * (process_time() - worked))
    return tuple(wall[WARM_UP:]), tuple(busy[WARM_UP:])


def _half(snapshot: Snapshot) -> Filter:
    """The most common categories that together keep about half of the catalogue."""
    lists = snapshot.metadata["categories"].to_pylist()
    counts = Counter(category for categories in lists for category in set(categories))
    chosen: set[str] = set()
    kept = 0
    for category, _ in counts.most_common():
        more = sum(1 for categories in lists if not chosen.isdisjoint(categories) or category in categories)
        if abs(more - len(lists) / 2) < abs(kept - len(lists) / 2):
            chosen.add(category)
            kept = more
        if len(chosen) == 10:
            break
    return Filter(categories=tuple(sorted(chosen)))


def peak_mib() -> float:
    """Peak resident memory of this process. The kernel's counter for children begins with the parent's peak."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def measure_index(data: Dataset, encoder: SentenceEncoder, say: Say) -> list[Figure]:
    """Rate of `Index.build` as a share of the bare encoder's: the fastest rounds, which other load disturbs least.

    The same texts are embedded by the bare sentence-transformers model and indexed by us, in turn, in one process.
    """
    from sentence_transformers import SentenceTransformer

    items = list(islice(data.store.iter_items(_INDEX_DOMAIN), _INDEXED))
    texts = [data.index.template.text(item=item) for item in items]
    bare = SentenceTransformer(str(encoder.folder), device=encoder.device, local_files_only=True)
    bare.encode(texts[:64])
    encoder.encode(texts[:64])
    alone, built = [], []
    for at in range(_ROUNDS):
        say(f"round {at + 1} of {_ROUNDS}: embedding, then indexing {len(texts):,} items")
        began = perf_counter()
        bare.encode(texts, batch_size=encoder.batch_size, normalize_embeddings=True, show_progress_bar=False)
        alone.append(perf_counter() - began)
        built.append(_build(items, data.index))
    share = min(alone) / min(built)
    rates = f"{len(texts) / min(built):.0f} items/s and {len(texts) / min(alone):.0f} texts/s"
    note = f"{rates}, the fastest of {_ROUNDS} rounds each"
    name = "index build rate / bare encoder's rate"
    return [figure(name, share, "ratio", len(texts), note, f">= {_INDEX_SHARE:g}")]


def _build(items: list[Item], like: Index) -> float:
    """Seconds that a first run over a fresh store takes."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with (
            Store.open(store_url(home)) as store,
            Index(home / "index", like.encoder, like.template, IndexSettings()) as index,
        ):
            store.upsert_items(items, "bench")
            return index.build(store, _INDEX_DOMAIN).total_s


if __name__ == "__main__":
    print(_measure(Path(sys.argv[1]), Path(sys.argv[2])).model_dump_json())  # noqa: T201
