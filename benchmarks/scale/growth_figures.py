"""The benchmark of size in figures. Reads what was found at each size, produces figures for the report and a plot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from markupsafe import Markup

from benchmarks.figures import Figure, figure
from benchmarks.retrieval.speed import HISTORY, K
from benchmarks.scale.scale import SIZES, Grown
from benchmarks.scale.steps import SIGNALS
from eval.report import Chart, Scale, picture

_MEMORY_MIB: Final = 1024
_SEARCH_MS: Final = 150
_RECALL: Final = 0.95
_WHAT: Final = f"{K} candidates, {HISTORY} liked items"


def scale_figures(found: Sequence[Grown]) -> list[Figure]:
    """Every size's figures; targets are those of a million items."""
    return [figure for grown in found for figure in _figures(grown)]


def write_plot(found: Sequence[Grown], path: Path) -> None:
    """Times and memory by size, on logarithmic scales."""
    times = {
        "search, p95 (ms)": [_percentile(g.searched.wall_ms[""], 95) for g in found],
        "search, median (ms)": [_percentile(g.searched.wall_ms[""], 50) for g in found],
        "exact search, median (ms)": [_percentile(g.compared.wall_ms, 50) for g in found],
    }
    memory = {
        "searching process (MiB)": [g.searched.peak_mib for g in found],
        "ingest (MiB)": [g.ingested.peak_mib for g in found],
        "index (MiB)": [g.indexed.peak_mib for g in found],
    }
    sizes = [g.items for g in found]
    panels = {"milliseconds a search": times, "peak memory in MiB": memory}
    path.write_text(picture(*(_panel(name, sizes, series) for name, series in panels.items())), encoding="utf-8")


def _panel(name: str, sizes: Sequence[float], series: Mapping[str, Sequence[float]]) -> Markup:
    """A line for each series, with its name at its end."""
    across = Scale.decades(sizes, left=9, right=28)
    up = Scale.decades([value for values in series.values() for value in values])
    chart = Chart(across, up, ("items", name), height=300)
    label_places = chart.apart([values[-1] for values in series.values()])
    for number, ((label, values), place) in enumerate(zip(series.items(), label_places, strict=True)):
        with chart.group(f"series series{number}"):
            points = list(zip(sizes, values, strict=True))
            chart.line(points)
            for point in points:
                chart.point(*point)
            chart.label(label, sizes[-1], place)
    return chart.svg(f"{name}, by items")


def _figures(grown: Grown) -> Iterator[Figure]:
    last, at = grown.items >= SIZES[-1], f"{grown.items:,} items: "

    def sized(name: str, value: float, unit: str, n: int, note: str = "", *, below: float | None = None) -> Figure:
        return figure(at + name, value, unit, n, note, f"< {below:g}" if last and below is not None else None)

    ingested, indexed, searched = grown.ingested, grown.indexed, grown.searched
    yield sized("ingest", ingested.items / max(ingested.items_s, 1e-9), "items/s", ingested.items)
    yield sized("peak memory of ingest", ingested.peak_mib, "MiB", 1, below=_MEMORY_MIB)
    if ingested.interactions:
        rate = ingested.interactions / ingested.interactions_s
        yield sized("ingest of interactions", rate, "rows/s", ingested.interactions)
    seconds = indexed.total_s - indexed.encode_s
    note = "a run that embeds what was new; without the encoder, the snapshot of all items included"
    yield sized("index", seconds, "s", indexed.embedded, note)
    yield sized("peak memory of index", indexed.peak_mib, "MiB", 1)
    if grown.killed is not None:
        wanted, left = grown.killed.wanted, grown.killed.wanted - grown.killed.done
        note = f"of {wanted:,}, the first run was killed half way"
        yield figure(f"{at}embedded after a kill", indexed.embedded, note=note, target=f"<= {left}")
    for name, wall in searched.wall_ms.items():
        label = f"search, filter keeps {name}" if name else "search"
        processor = f"; processor {_percentile(searched.processor_ms, 95):.0f} ms" if not name else ""
        yield sized(f"{label}, p50", _percentile(wall, 50), "ms", len(wall), _WHAT)
        yield sized(f"{label}, p95", _percentile(wall, 95), "ms", len(wall), _WHAT + processor, below=_SEARCH_MS)
    for name, part in searched.parts_ms.items():
        yield sized(f"of it {name}", part, "ms", len(grown.compared.wall_ms))
    yield sized("first search", searched.first_s, "s", 1, "with all that is loaded at first use")
    yield sized("peak memory of a searching process", searched.peak_mib, "MiB", 1, "resident, mapped files included")
    yield sized("exact search, p50", _percentile(grown.compared.wall_ms, 50), "ms", len(grown.compared.wall_ms), _WHAT)
    for name in SIGNALS:
        yield _recall(f"{at}recall of exact search, {name}", searched.ranked[name], grown.compared.ranked[name])


def _recall(name: str, ranked: Sequence[Sequence[str]], exact: Sequence[Sequence[str]]) -> Figure:
    shares = [len(set(a) & set(b)) / len(b) for a, b in zip(ranked, exact, strict=True)]
    value = float(np.mean(shares))
    note = f"share of its {K} candidates; the worst query {min(shares):.2f}"
    return figure(name, value, "", len(shares), note, f">= {_RECALL}")


def _percentile(values: Sequence[float], percent: int) -> float:
    return float(np.percentile(values, percent))
