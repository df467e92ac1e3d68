"""Small pictures. Reads points and bars in units of their axes, produces inline SVG.

Colours come from the page's style by class (`bar`, `line`, `dot`, `whisker`, `rule`, `axis`), so that light and dark
are the page's affair.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree

from markupsafe import Markup

WIDTH: Final = 360
HEIGHT: Final = 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 12, 40


@dataclass(frozen=True)
class Axis:
    """From `low` to `high`, which differ; `ticks` are values that get a number, none: round ones are found."""

    label: str
    low: float
    high: float
    ticks: tuple[float, ...] = ()


class Picture:
    """One picture; things are drawn over what was drawn before. Coordinates are in units of the axes."""

    def __init__(self, title: str, x: Axis, y: Axis) -> None:
        self.title = title
        self._x, self._y = x, y
        self._svg = ElementTree.Element("svg", {"viewBox": f"0 0 {WIDTH} {HEIGHT}", "role": "img", "aria-label": title})
        ElementTree.SubElement(self._svg, "title").text = title
        self._axes()

    def bar(self, start: float, end: float, height: float, note: str) -> None:
        """A bar from the x axis, or from 0 where that is inside; `note` shows when it is pointed at."""
        foot = min(max(0.0, self._y.low), self._y.high)
        left, right, top, bottom = (
            self._at(start),
            self._at(end),
            self._up(max(height, foot)),
            self._up(min(height, foot)),
        )
        bar = self._draw("rect", "bar", x=left, y=top, width=right - left, height=bottom - top)
        ElementTree.SubElement(bar, "title").text = note

    def line(self, points: Sequence[tuple[float, float]], kind: str = "line") -> None:
        """Straight lines through points."""
        path = " ".join(f"{self._at(x):.1f},{self._up(y):.1f}" for x, y in points)
        ElementTree.SubElement(self._svg, "polyline", {"class": kind, "points": path})

    def dot(self, x: float, y: float, note: str) -> None:
        """A point; `note` shows when it is pointed at."""
        dot = self._draw("circle", "dot", cx=self._at(x), cy=self._up(y), r=3.5)
        ElementTree.SubElement(dot, "title").text = note

    def whisker(self, x: float, low: float, high: float) -> None:
        """An interval of y."""
        self._draw("line", "whisker", x1=self._at(x), y1=self._up(low), x2=self._at(x), y2=self._up(high))

    def across(self, y: float, label: str) -> None:
        """A dashed line over the whole width."""
        self.line([(self._x.low, y), (self._x.high, y)], "rule")
        self._text(label, WIDTH - _RIGHT - 2, self._up(y) - 4, "end")

    def upright(self, x: float, label: str) -> None:
        """A dashed line over the whole height."""
        self.line([(x, self._y.low), (x, self._y.high)], "rule")
        late = x > (self._x.low + self._x.high) / 2
        self._text(label, self._at(x) + (-4 if late else 4), _TOP + 9, "end" if late else "start")

    def markup(self) -> Markup:
        """The picture as part of a page."""
        # Every text went through ElementTree, which escapes it.
        return Markup(ElementTree.tostring(self._svg, encoding="unicode"))  # noqa: S704

    def _at(self, x: float) -> float:
        return _LEFT + (x - self._x.low) / (self._x.high - self._x.low) * (WIDTH - _LEFT - _RIGHT)

    def _up(self, y: float) -> float:
        return HEIGHT - _BOTTOM - (y - self._y.low) / (self._y.high - self._y.low) * (HEIGHT - _TOP - _BOTTOM)

    def _draw(self, name: str, kind: str, **places: float) -> ElementTree.Element:
        values = {key: f"{value:.1f}" for key, value in places.items()}
        return ElementTree.SubElement(self._svg, name, {"class": kind, **values})

    def _text(self, text: str, x: float, y: float, anchor: str) -> ElementTree.Element:
        made = ElementTree.SubElement(self._svg, "text", {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor})
        made.text = text
        return made

    def _axes(self) -> None:
        floor = HEIGHT - _BOTTOM
        for y in self._y.ticks or ticks(self._y.low, self._y.high):
            self._draw("line", "axis", x1=_LEFT, y1=self._up(y), x2=WIDTH - _RIGHT, y2=self._up(y))
            self._text(f"{y:g}", _LEFT - 6, self._up(y) + 4, "end")
        for x in self._x.ticks or ticks(self._x.low, self._x.high):
            self._draw("line", "axis", x1=self._at(x), y1=floor, x2=self._at(x), y2=floor + 4)
            self._text(f"{x:g}", self._at(x), floor + 16, "middle")
        self._text(self._x.label, (_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - 6, "middle")
        middle = (_TOP + floor) / 2
        self._text(self._y.label, 11, middle, "middle").set("transform", f"rotate(-90 11 {middle:.1f})")


def ticks(low: float, high: float) -> tuple[float, ...]:
    """Three to six round numbers from `low` to `high`."""
    rough = (high - low) / 4
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return tuple(round(at * step, 10) for at in range(first, last + 1))
