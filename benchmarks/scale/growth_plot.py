"""A plot of growth. Reads values by size, produces an SVG of its own with logarithmic scales."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from eval.report import element

_WIDTH: Final = 720
_HEIGHT: Final = 300
_LEFT: Final = 60
_RIGHT: Final = 210
_TOP: Final = 34
_BOTTOM: Final = 30
_COLOURS: Final = ("#0969da", "#9a6700", "#cf222e", "#1a7f37")
_STYLE: Final = (
    "text{font:12px sans-serif;fill:#57606a}.title{font-weight:600;fill:#24292f}.grid{stroke:#d0d7de}"
    "polyline{fill:none;stroke-width:2}"
)
_LABELS_APART: Final = 15


@dataclass(frozen=True)
class Line:
    """A named line through (size, value), all above 0."""

    name: str
    points: tuple[tuple[float, float], ...]


def growth(panels: Mapping[str, Sequence[Line]], description: str) -> str:
    """The panels below each other, each with its title and at least one line."""
    height = _HEIGHT * len(panels)
    parts = [element("style", _STYLE), element("rect", width="100%", height="100%", fill="#fff")]
    for number, (title, lines) in enumerate(panels.items()):
        parts.append(element("g", *_panel(title, lines), transform=f"translate(0 {_HEIGHT * number})"))
    return element(
        "svg", *parts, xmlns="http://www.w3.org/2000/svg", width=_WIDTH, height=height,
        viewBox=f"0 0 {_WIDTH} {height}", role="img", aria_label=description,
    )  # fmt: skip


@dataclass(frozen=True)
class _Axis:
    """Whole powers of ten around the values, from `start` to `end` pixels."""

    low: int
    high: int
    start: float
    end: float

    @classmethod
    def around(cls, values: Sequence[float], start: float, end: float) -> _Axis:
        low = math.floor(math.log10(min(values)) + 1e-9)
        return cls(low, max(math.ceil(math.log10(max(values)) - 1e-9), low + 1), start, end)

    def __call__(self, value: float) -> float:
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self) -> list[float]:
        return [10.0**power for power in range(self.low, self.high + 1)]


def _panel(title: str, lines: Sequence[Line]) -> list[str]:
    across = _Axis.around([x for line in lines for x, _ in line.points], _LEFT, _WIDTH - _RIGHT)
    up = _Axis.around([y for line in lines for _, y in line.points], _HEIGHT - _BOTTOM, _TOP)
    parts: list[str] = [element("text", title, class_="title", x=0, y=16)]
    for tick in up.ticks():
        parts.append(element("line", class_="grid", x1=across.start, x2=across.end, y1=up(tick), y2=up(tick)))
        parts.append(element("text", f"{tick:,g}", x=_LEFT - 8, y=up(tick) + 4, text_anchor="end"))
    for tick in across.ticks():
        parts.append(element("line", class_="grid", x1=across(tick), x2=across(tick), y1=up.start, y2=up.end))
        parts.append(element("text", f"{tick:,.0f}", x=across(tick), y=up.start + 18, text_anchor="middle"))
    label = -math.inf
    for line, colour in sorted(zip(lines, _COLOURS, strict=False), key=lambda pair: up(pair[0].points[-1][1])):
        places = " ".join(f"{across(x)},{up(y)}" for x, y in line.points)
        parts.append(element("polyline", points=places, stroke=colour))
        parts += [element("circle", cx=across(x), cy=up(y), r=3, fill=colour) for x, y in line.points]
        label = max(up(line.points[-1][1]) + 4, label + _LABELS_APART)
        parts.append(element("text", line.name, x=across.end + 10, y=label, style=f"fill:{colour}"))
    return parts
