"""The course of a training. Reads and writes its log (JSON lines), produces a picture of it (SVG)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from retrieval.adapt.checkpoint import WRITE_HINT
from retrieval.files import translated_writes, write_atomic
from retrieval.types import Frozen

_WIDTH: Final = 640
_HEIGHT: Final = 220
_LEFT: Final = 56
_RIGHT: Final = 16
_STYLE: Final = (
    "text{font:12px sans-serif;fill:#57606a}.title{font-weight:600;fill:#24292f}"
    ".axis{stroke:#d0d7de}.raw{stroke:#9ecbff}.line{stroke:#0969da}.chance{stroke:#cf222e;stroke-dasharray:4 4}"
    "polyline{fill:none;stroke-width:2}.raw{stroke-width:1}"
)


class LogRow(Frozen):
    """A line of the log: the loss of a step (mean, in nats), or what validation found after it."""

    step: int
    loss: float | None = None
    tokens: int | None = None
    seconds: float | None = None
    validation: dict[str, float] | None = None


def append_row(path: Path, row: LogRow) -> None:
    """Add a line. Raises BackendError if the disk refuses."""
    with translated_writes(path, WRITE_HINT):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(row.model_dump_json(exclude_none=True) + "\n")


def read_rows(path: Path) -> list[LogRow]:
    """All whole lines; a last one that was cut off is left out."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    return [LogRow.model_validate_json(line) for line in lines]


def trim_rows(path: Path, step: int) -> None:
    """Drop what lies after `step`: a resumed run writes it again."""
    kept = [row for row in read_rows(path) if row.step <= step]
    with translated_writes(path, WRITE_HINT):
        write_atomic(path, "".join(row.model_dump_json(exclude_none=True) + "\n" for row in kept))


def write_curve(path: Path, rows: Sequence[LogRow], metric: str) -> None:
    """Draw the loss of the steps above, validation's figure below, with chance where that is known."""
    losses = [(row.step, row.loss) for row in rows if row.loss is not None]
    found = [(row.step, row.validation) for row in rows if row.validation]
    last = max((row.step for row in rows), default=0)
    parts = [_panel(0, "training loss (nats)", [("raw", losses), ("line", _smooth(losses))], last)]
    figures = [("line", [(step, figure[metric]) for step, figure in found])]
    chance = next((figure.get(f"chance_{metric}") for _, figure in found), None)
    if chance is not None:
        figures.append(("chance", [(0, chance), (last, chance)]))
    title = f"validation {metric}" + ("" if chance is None else ", chance dashed")
    parts.append(_panel(_HEIGHT, title, figures, last))
    size = f'width="{_WIDTH}" height="{2 * _HEIGHT}" viewBox="0 0 {_WIDTH} {2 * _HEIGHT}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="Course of the training">'
    drawing = (
        head + f'<style>{_STYLE}</style><rect width="100%" height="100%" fill="#fff"/>' + "".join(parts) + "</svg>"
    )
    with translated_writes(path, WRITE_HINT):
        write_atomic(path, drawing)


_Points = list[tuple[int, float]]


def _smooth(points: _Points) -> _Points:
    """Means over a twentieth of the steps."""
    width = max(1, len(points) // 20)
    return [
        (points[end - 1][0], sum(value for _, value in points[end - width : end]) / width)
        for end in range(width, len(points) + 1, width)
    ]


def _panel(top: int, title: str, lines: Sequence[tuple[str, _Points]], last: int) -> str:
    values = [value for _, points in lines for _, value in points] or [0.0]
    low, high = min(values), max(values)
    slack = (high - low or abs(high) or 1.0) * 0.08
    low, high = low - slack, high + slack
    bottom, ceiling = top + _HEIGHT - 28, top + 28

    def place(point: tuple[int, float]) -> str:
        x = _LEFT + (_WIDTH - _LEFT - _RIGHT) * point[0] / max(1, last)
        return f"{x:.1f},{bottom - (bottom - ceiling) * (point[1] - low) / (high - low):.1f}"

    parts = [f'<text class="title" x="{_LEFT}" y="{top + 18}">{title}</text>']
    for value in (low + slack, (low + high) / 2, high - slack):
        y = place((0, value)).split(",")[1]
        parts.append(f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{float(y) + 4:.1f}" text-anchor="end">{value:.3f}</text>')
    parts += [f'<polyline class="{name}" points="{" ".join(map(place, points))}"/>' for name, points in lines if points]
    parts.append(f'<text x="{_LEFT}" y="{bottom + 18}">0</text>')
    parts.append(f'<text x="{_WIDTH - _RIGHT}" y="{bottom + 18}" text-anchor="end">{last} steps</text>')
    return "".join(parts)
