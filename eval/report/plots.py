"""Plots of a report. Reads points and intervals, produces inline SVG that takes its colours from the page.

Places across are percentages and sizes are pixels, so a plot fills any width while its text stays readable. All text is
escaped by markupsafe: names come from other people's run folders.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from xml.etree import ElementTree

from markupsafe import Markup

from eval.stats import number_text

State = Literal["better", "worse", "open", "described"]
"""What a comparison came to; "described" is one that was not tested."""

_ROW: Final = 46
_AXIS: Final = 46
_HEADING: Final = 30
_EDGE: Final = 4.0
"""Percent of the width left free on either side of an axis, for the numbers of its ends."""
_PICTURE: Final = 760
_MARGIN: Final = 14
_SPACING: Final = 17
"""Pixels that labels keep from each other."""


@dataclass(frozen=True)
class Effect:
    """A row of a forest plot: a point, its interval (None: there is none), and what is written beside it.

    `unsure` marks an interval that is known to be too short; `group` is written above the first of its rows.
    """

    label: str
    text: str
    mean: float
    low: float | None
    high: float | None
    state: State
    unsure: bool = False
    group: str = ""


@dataclass(frozen=True)
class Dot:
    """An arm in a plot of quality (up) against cost (right, from 0)."""

    label: str
    cost: float
    quality: float
    first: bool = False


@dataclass(frozen=True)
class Look:
    """An interval after so many users, in a plot of a trial."""

    users: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Scale:
    """Values of an axis that runs from `low` to `high`, as percentages of the width."""

    low: float
    high: float

    def __call__(self, value: float) -> str:
        """The place of a value."""
        return f"{_EDGE + (100 - 2 * _EDGE) * (value - self.low) / (self.high - self.low):.3f}%"

    def ticks(self, number: int = 5) -> list[tuple[float, str]]:
        """About so many round values and how they are written."""
        raw = (self.high - self.low) / number
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        inside = range(math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9) + 1)
        return [(n * step, number_text(n * step, decimals) if n else "0") for n in inside]


def element(name: str, *children: str, **attributes: object) -> Markup:
    """An SVG element. `class_` stands for class, and `_` in other names for a hyphen."""
    written = [(key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items()]
    head = Markup("").join(Markup(' {}="{}"').format(key, value) for key, value in written)
    body = Markup("").join(children)
    return Markup("<{0}{1}>{2}</{0}>").format(name, head, body)


def forest(effects: Sequence[Effect], description: str, sides: tuple[str, str]) -> Markup:
    """Differences and their intervals below each other, with the zero line; at least one.

    Args:
        description: what a screen reader says of it.
        sides: who is better left and right of zero.
    """
    ends = [v for e in effects for v in (e.mean, e.low, e.high) if v is not None]
    low, high = min(0.0, *ends), max(0.0, *ends)
    slack = (high - low or 0.1) * 0.06
    scale = Scale(low - slack, high + slack)
    rows, bottom = _rows(effects, scale)
    parts = [
        element("line", class_="grid", x1=scale(v), x2=scale(v), y1=0, y2=bottom) for v, _ in scale.ticks() if v != 0
    ]
    parts.append(element("line", class_="zero", x1=scale(0), x2=scale(0), y1=0, y2=bottom + 6))
    parts += rows
    for value, text in scale.ticks():
        parts.append(element("text", text, class_="tick", x=scale(value), y=bottom + 20, text_anchor="middle"))
    parts.append(element("text", f"◂ {sides[0]}", class_="side", x="0%", y=bottom + 40))
    parts.append(element("text", f"{sides[1]} ▸", class_="side", x="100%", y=bottom + 40, text_anchor="end"))
    return _drawing(description, bottom + _AXIS, parts)


def scatter(dots: Sequence[Dot], description: str, cost: str, quality: str) -> Markup:
    """Quality against cost, a labelled dot an arm; at least one.

    Args:
        description: what a screen reader says of it.
        cost, quality: what the axes are called.
    """
    height = max(240, _SPACING * len(dots) + 60)
    across = Scale(0, max(d.cost for d in dots) * 1.1 or 1.0)
    low, high = min(d.quality for d in dots), max(d.quality for d in dots)
    slack = (high - low or abs(high) or 1.0) * 0.2
    up = Scale(low - slack, high + slack)
    top, bottom = 36, height - 44

    def y_of(value: float) -> float:
        return round(bottom - (bottom - top) * (value - up.low) / (up.high - up.low), 1)

    parts = [element("text", f"▴ {quality}", class_="side", x="0%", y=14)]
    for value, text in up.ticks(4):
        parts.append(element("line", class_="grid", x1="0%", x2="100%", y1=y_of(value), y2=y_of(value)))
        parts.append(element("text", text, class_="tick", x="0%", y=y_of(value) - 4))
    for value, text in across.ticks():
        anchor = "start" if value == 0 else "middle"
        parts.append(element("text", text, class_="tick", x=across(value), y=bottom + 18, text_anchor=anchor))
    parts.append(element("text", f"{cost} ▸", class_="side", x="100%", y=height - 6, text_anchor="end"))
    places = _apart([y_of(d.quality) for d in dots], top, bottom)
    for dot, place in zip(dots, places, strict=True):
        parts.append(_dot(dot, across, y_of(dot.quality), place))
    return _drawing(description, height, parts)


def looks(seen: Sequence[Look], margin: float, state: State, description: str, sides: tuple[str, str]) -> Markup:
    """Intervals (up) after each look (across, from 0 users), with the zero line and the margins; at least one.

    Args:
        margin: the largest difference that does not matter.
        description: what a screen reader says of it.
        sides: who is better below and above zero.
    """
    height, top, bottom = 310, 36, 266
    ends = [end for look in seen for end in (look.low, look.high)]
    # The first looks say little, and would flatten the rest.
    reach = min(max(map(abs, ends)), 4 * max(abs(seen[-1].low), abs(seen[-1].high), margin))
    up, across = Scale(-reach, reach), Scale(0, seen[-1].users * 1.05)

    def y_of(value: float) -> float:
        return round(bottom - (bottom - top) * (min(max(value, -reach), reach) + reach) / (2 * reach), 1)

    parts = [element("text", f"▴ {sides[1]}", class_="side", x="0%", y=14)]
    kinds = {value: "grid" if value else "zero" for value, _ in up.ticks(6)}
    for value, kind in (kinds | {-margin: "zero unsure", margin: "zero unsure"}).items():
        parts.append(element("line", class_=kind, x1="0%", x2="100%", y1=y_of(value), y2=y_of(value)))
    parts += [element("text", text, class_="tick", x="0%", y=y_of(value) - 4) for value, text in up.ticks(6)]
    for value, text in across.ticks():
        anchor = "start" if value == 0 else "middle"
        parts.append(element("text", text, class_="tick", x=across(value), y=bottom + 18, text_anchor=anchor))
    parts.append(element("text", f"▾ {sides[0]}", class_="side", x="0%", y=height - 6))
    parts.append(element("text", "users ▸", class_="side", x="100%", y=height - 6, text_anchor="end"))
    for at, look in enumerate(seen):
        x = across(look.users)
        whisker = element("line", class_="whisker", x1=x, x2=x, y1=y_of(look.low), y2=y_of(look.high))
        point = element("circle", class_="point", cx=x, cy=y_of(look.mean), r=4)
        parts.append(element("g", whisker, point, class_=state if at == len(seen) - 1 else "open"))
    return _drawing(description, height, parts)


def shares(better: float, equal: float, worse: float) -> Markup:
    """A bar of the shares of users (adding up to 1) for whom an arm is better, equal and worse."""
    parts, start = [], 0.0
    for name, share in (("better", better), ("equal", equal), ("worse", worse)):
        parts.append(element("rect", class_=name, x=f"{100 * start:.2f}%", y=0, width=f"{100 * share:.2f}%", height=6))
        start += share
    return element("svg", *parts, class_="shares", width="100%", height=6, aria_hidden="true")


def picture(drawing: Markup) -> str:
    """A drawing as a file of its own, 760 pixels wide, light or dark as its reader likes it."""
    height = int(ElementTree.fromstring(drawing).attrib["height"]) + 2 * _MARGIN  # noqa: S314 - it is our own
    inside = element("svg", drawing, x=_MARGIN, y=_MARGIN, width=_PICTURE - 2 * _MARGIN, height=height - 2 * _MARGIN)
    ground = element("rect", width="100%", height="100%", style="fill: var(--card)")
    return element(
        "svg", element("style", plot_style()), ground, inside, xmlns="http://www.w3.org/2000/svg",
        width=_PICTURE, height=height, viewBox=f"0 0 {_PICTURE} {height}",
    )  # fmt: skip


def plot_style() -> Markup:
    """The style that drawings need: colours, light and dark, and strokes."""
    return Markup(Path(__file__).with_name("plot.css").read_text(encoding="utf-8"))  # noqa: S704 - it is our own


def _drawing(description: str, height: int, parts: Sequence[Markup]) -> Markup:
    return element("svg", *parts, class_="plot", width="100%", height=height, role="img", aria_label=description)


def _rows(effects: Sequence[Effect], scale: Scale) -> tuple[list[Markup], int]:
    """The rows and their headings, and how far down they reach."""
    parts, top, group = [], 0, ""
    for effect in effects:
        if effect.group != group:
            group = effect.group
            parts.append(element("text", group, class_="group", x="0%", y=top + 20))
            top += _HEADING
        parts.append(_effect(effect, scale, top))
        top += _ROW
    return parts, top


def _effect(effect: Effect, scale: Scale, top: int) -> Markup:
    middle = top + 32
    parts = [
        element("text", effect.label, class_="label", x="0%", y=top + 18),
        element("text", effect.text, class_="value", x="100%", y=top + 18, text_anchor="end"),
    ]
    if effect.low is not None and effect.high is not None:
        ends = scale(effect.low), scale(effect.high)
        line = "whisker unsure" if effect.unsure else "whisker"
        parts.append(element("line", class_=line, x1=ends[0], x2=ends[1], y1=middle, y2=middle))
        parts += [element("line", class_="cap", x1=x, x2=x, y1=middle - 4, y2=middle + 4) for x in ends]
    parts.append(element("circle", class_="point", cx=scale(effect.mean), cy=middle, r=5))
    return element("g", *parts, class_=effect.state)


def _dot(dot: Dot, across: Scale, y: float, label_y: float) -> Markup:
    left = dot.cost < across.high * 0.6
    at = across(dot.cost)
    label = element(
        "text", dot.label, class_="label", x=at, dx=11 if left else -11, y=label_y + 4,
        text_anchor="start" if left else "end",
    )  # fmt: skip
    point = element("circle", class_="point", cx=at, cy=y, r=6)
    return element("g", point, label, class_="first" if dot.first else "other")


def _apart(places: Sequence[float], top: int, bottom: int) -> list[float]:
    """The places, moved as little as it takes for labels not to lie on each other."""
    order = sorted(range(len(places)), key=lambda n: places[n])
    moved = list(places)
    for above, below in itertools.pairwise(order):
        moved[below] = max(moved[below], moved[above] + _SPACING)
    limit = float(max(bottom, top + _SPACING * (len(places) - 1)))
    for index in reversed(order):
        moved[index] = min(moved[index], limit)
        limit = moved[index] - _SPACING
    return moved
