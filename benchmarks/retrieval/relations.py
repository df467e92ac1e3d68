"""What relations cost. Reads a generated file of triples, produces figures of time and memory.

`python -m benchmarks.retrieval.relations --triples 1000000` runs it in a process of its own: memory is that of the
whole process.
"""

from __future__ import annotations

import resource
import sys
import tempfile
from pathlib import Path
from random import Random
from time import perf_counter, process_time
from typing import Annotated, Final

import typer
from rich.console import Console

from benchmarks.figures import Figure, make_report, print_report, write_report
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
    figures = [Figure(name="memory before", value=_memory(), unit="MiB", n=1)]
    with Store.open(url) as store, RelationStore.open(store.database) as relations:
        for name in ("ingest", "the same file again"):
            began, worked = perf_counter(), process_time()
            (report,) = ingest(store, IngestRequest(file, kind="relations"))
            seconds, busy = perf_counter() - began, process_time() - worked
            note = f"{seconds:.0f} s of wall time; {report.added:,} new, {report.unchanged:,} as they were"
            figures.append(Figure(name=name, value=busy, unit="s (processor)", n=triples, note=note))
        figures.append(Figure(name="most memory of both", value=_memory(), unit="MiB", n=1))
        graph = RelationGraph(relations)
        began = perf_counter()
        graph.candidates([("films", ids["films"][0])], "books", 1)
        figures.append(Figure(name="load", value=perf_counter() - began, unit="s", n=triples))
        figures.append(Figure(name="most memory with the graph", value=_memory(), unit="MiB", n=1))
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
    return [
        Figure(name=name, value=1000 * sorted(seconds)[len(seconds) // 2], unit="ms, median", n=len(seconds), note=note)
        for name, seconds, note in (
            ("100 candidates", candidates, f"{_STARTS} liked items"),
            ("paths to one item", paths, f"{_STARTS} liked items"),
        )
    ]


def _memory() -> float:
    """The most that the process has used, in MiB (Linux counts KiB, macOS bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def main(
    triples: Annotated[int, typer.Option(min=1000, help="How many.")] = 200_000,
    json_: Annotated[Path | None, typer.Option("--json", help="A file for the figures.")] = None,
) -> None:
    """Measure, print, and write what was measured."""
    with tempfile.TemporaryDirectory() as folder:
        report = make_report("relations", measure_relations(triples, Path(folder)))
    print_report(report, Console(highlight=False))
    if json_ is not None:
        write_report(report, json_)


if __name__ == "__main__":
    typer.run(main)
