"""The learning curve. Reads the rows of a training's log, produces a picture of them (SVG)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from retrieval.files import write_atomic

_WIDTH: Final = 640
_HEIGHT: Final = 220
"""Of one panel."""
_LEFT: Final = 56
_RIGHT: Final = _WIDTH - 16
_STYLE: Final = (
    "text{font:12px sans-serif;fill:#57606a}.title{font-weight:600;fill:#24292f}"
    ".axis{stroke:#d0d7de}.raw{stroke:#9ecbff}.line{stroke:#0969da}.chance{stroke:#cf222e;stroke-dasharray:4 4}"
    "polyline{fill:none;stroke-width:2}.raw{stroke-width:1}"
)

Points = list[tuple[float, float]]


def write_curve(path: Path, rows: Sequence[Mapping[str, float]], metric: str) -> None:
    """Draw the loss of the steps above, the validation figure below, with that of chance where it is known.

    Args:
        rows: each has `step`; those of steps have `loss`, those of validations `eval_METRIC`.

    Raises:
        OSError: it cannot be written.
    """
    last = max(row["step"] for row in rows)
    losses: Points = [(row["step"], row["loss"]) for row in rows if "loss" in row]
    figures: Points = [(row["step"], row[f"eval_{metric}"]) for row in rows if f"eval_{metric}" in row]
    chance = next((row[f"eval_chance_{metric}"] for row in rows if f"eval_chance_{metric}" in row), None)
    validation = {"line": figures} | ({} if chance is None else {"chance": [(0, chance), (last, chance)]})
    title = f"validation {metric}" + ("" if chance is None else ", chance dashed")
    upper = _panel(0, "training loss (nats)", {"raw": losses, "line": _smooth(losses)}, last)
    lower = _panel(_HEIGHT, title, validation, last)
    write_atomic(
        path,
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{2 * _HEIGHT}"'
        f' viewBox="0 0 {_WIDTH} {2 * _HEIGHT}" role="img" aria-label="Learning curve">'
        f'<style>{_STYLE}</style><rect width="100%" height="100%" fill="#fff"/>{upper}{lower}</svg>',
    )


def _smooth(points: Points) -> Points:
    """Means over a twentieth of the steps."""
    width = max(1, len(points) // 20)
    parts = [points[end - width : end] for end in range(width, len(points) + 1, width)]
    return [(part[-1][0], sum(value for _, value in part) / width) for part in parts]


def _panel(top: int, title: str, lines: Mapping[str, Points], last: float) -> str:
    values = [value for points in lines.values() for _, value in points] or [0.0]
    low, high = min(values), max(values)
    slack = (high - low or abs(high) or 1.0) * 0.08
    bottom, height = top + _HEIGHT - 28, _HEIGHT - 56

    def x(step: float) -> float:
        return _LEFT + (_RIGHT - _LEFT) * step / max(1, last)

    def y(value: float) -> float:
        return bottom - height * (value - low + slack) / (high - low + 2 * slack)

    parts = [f'<text class="title" x="{_LEFT}" y="{top + 18}">{title}</text>']
    for value in (low, (low + high) / 2, high):
        parts.append(f'<line class="axis" x1="{_LEFT}" x2="{_RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.3f}</text>')
    for name, points in lines.items():
        drawn = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in points)
        parts.append(f'<polyline class="{name}" points="{drawn}"/>')
    parts.append(f'<text x="{_LEFT}" y="{bottom + 18}">0</text>')
    parts.append(f'<text x="{_RIGHT}" y="{bottom + 18}" text-anchor="end">{last:.0f} steps</text>')
    return "".join(parts)
