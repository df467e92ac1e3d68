"""What relations cost. Reads a generated file of triples, produces figures of time and memory.

Memory is that of the whole process, so nothing else is measured in it.
"""

from __future__ import annotations

from pathlib import Path
from random import Random
from time import perf_counter, process_time
from typing import Final

from benchmarks.figures import Figure, figure
from benchmarks.retrieval.speed import peak_mib
from retrieval.ingest import IngestRequest, ingest
from retrieval.relations import RelationGraph
from retrieval.store import Key, RelationStore, Store
from retrieval.types import Item

_SEED: Final = 1
_STARTS: Final = 50
_QUESTIONS: Final = 20
_BATCH: Final = 1000


def measure_relations(triples: int, folder: Path) -> list[Figure]:
    """Ingest, again, load and ask, with an item for every ten triples and entities of very different degrees."""
    url, file, rng = f"sqlite:///{folder / 'store.sqlite'}", folder / "triples.csv", Random(_SEED)  # noqa: S311
    ids = {domain: [f"{domain}-{n}" for n in range(triples // 20)] for domain in ("films", "books")}
    with Store.open(url) as store:
        for domain, names in ids.items():
            for start in range(0, len(names), _BATCH):
                part = names[start : start + _BATCH]
                store.upsert_items([Item(domain=domain, id=name, title=name) for name in part], "bench")
    _write(file, triples, ids, rng)
    figures = [figure("memory before", peak_mib(), "MiB")]
    with Store.open(url) as store, RelationStore.open(store.database) as relations:
        for name in ("ingest", "the same file again"):
            began, worked = perf_counter(), process_time()
            (report,) = ingest(store, IngestRequest(file, kind="relations"))
            seconds, busy = perf_counter() - began, process_time() - worked
            note = f"{seconds:.0f} s of wall time; {report.added:,} new, {report.unchanged:,} as they were"
            figures.append(figure(name, busy, "s (processor)", triples, note))
        figures.append(figure("most memory of both", peak_mib(), "MiB"))
        graph = RelationGraph(relations)
        began = perf_counter()
        graph.candidates([("films", ids["films"][0])], "books", 1)
        figures.append(figure("load", perf_counter() - began, "s", triples))
        figures.append(figure("most memory with the graph", peak_mib(), "MiB"))
        figures += _questions(graph, ids, rng)
    return figures


def _write(file: Path, triples: int, ids: dict[str, list[str]], rng: Random) -> None:
    with file.open("w", encoding="utf-8") as lines:
        lines.write("subject,predicate,object\n")
        for _ in range(triples):
            subject = rng.choice(ids[rng.choice(("films", "books"))])
            predicate = rng.choice(("written_by", "set_in", "won_award", "about"))
            lines.write(f"{subject},{predicate},entity {int(rng.paretovariate(0.6)) % (triples // 4)}\n")


def _questions(graph: RelationGraph, ids: dict[str, list[str]], rng: Random) -> list[Figure]:
    candidates, paths = [], []
    for _ in range(_QUESTIONS):
        starts: list[Key] = [("films", name) for name in rng.sample(ids["films"], _STARTS)]
        began = perf_counter()
        found = graph.candidates(starts, "books", 100)
        candidates.append(perf_counter() - began)
        began = perf_counter()
        graph.paths(starts, found[0][0])
        paths.append(perf_counter() - began)
    note, times = f"{_STARTS} liked items", {"100 candidates": candidates, "paths to one item": paths}
    return [
        figure(name, 1000 * sorted(seconds)[len(seconds) // 2], "ms, median", len(seconds), note)
        for name, seconds in times.items()
    ]
