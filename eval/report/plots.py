"""The kinds of plots that a report has. Reads differences, scores and costs, produces SVG drawings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from markupsafe import Markup

from eval.report.charts import LABEL_DISTANCE, Chart, Scale, drawing, element
from eval.stats import ALPHA, SequentialInterval

State = Literal["better", "worse", "inconclusive", "described"]
"""What a comparison came to; "described" is one that was not tested. Also the class that colours it."""

_ROW: Final = 46
_GROUP: Final = 30
_MATRIX_ROW: Final = 50
_MATRIX_HEAD: Final = 30
_MATRIX_NAMES: Final = 20.0
"""Percent of the width that the names of a matrix's rows take."""


def verdict_state(mean: float, p: float | None) -> State:
    """What a test of a difference came to at 5%; p None: there was nothing to test."""
    if p is None or p > ALPHA:
        return "inconclusive"
    return "better" if mean > 0 else "worse"


@dataclass(frozen=True)
class ForestRow:
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
class CostPoint:
    """An arm in a plot of quality (up) against cost (right, from 0)."""

    label: str
    cost: float
    quality: float
    first: bool = False


@dataclass(frozen=True)
class MatrixCell:
    """A difference, its interval, and whether it helps."""

    text: str
    interval: str
    state: State


def forest(rows: Sequence[ForestRow], description: str, sides: tuple[str, str]) -> Markup:
    """Differences and their intervals below each other, with the zero line; at least one.

    Args:
        description: what a screen reader says of it.
        sides: who is better left and right of zero.
    """
    ends = [v for row in rows for v in (row.mean, row.low, row.high) if v is not None]
    low, high = min(0.0, *ends), max(0.0, *ends)
    slack = (high - low or 0.1) * 0.06
    scale = Scale(low - slack, high + slack)
    drawn: list[Markup] = []
    bottom, group = 0, ""
    for row in rows:
        if row.group != group:
            group = row.group
            drawn.append(element("text", group, class_="group", x="0%", y=bottom + 20))
            bottom += _GROUP
        drawn.append(_forest_row(row, scale, bottom))
        bottom += _ROW
    grid = [
        element("line", class_="grid", x1=scale(v), x2=scale(v), y1=0, y2=bottom) for v, _ in scale.ticks() if v != 0
    ]
    zero = element("line", class_="zero", x1=scale(0), x2=scale(0), y1=0, y2=bottom + 6)
    ticks = [
        element("text", text, class_="tick", x=scale(value), y=bottom + 20, text_anchor="middle")
        for value, text in scale.ticks()
    ]
    left = element("text", f"◂ {sides[0]}", class_="side", x="0%", y=bottom + 40)
    right = element("text", f"{sides[1]} ▸", class_="side", x="100%", y=bottom + 40, text_anchor="end")
    return drawing(description, bottom + _ROW, [*grid, zero, *drawn, *ticks, left, right])


def _forest_row(row: ForestRow, scale: Scale, top: int) -> Markup:
    middle = top + 32
    parts = [
        element("text", row.label, class_="label", x="0%", y=top + 18),
        element("text", row.text, class_="value", x="100%", y=top + 18, text_anchor="end"),
    ]
    if row.low is not None and row.high is not None:
        ends = scale(row.low), scale(row.high)
        kind = "whisker unsure" if row.unsure else "whisker"
        parts.append(element("line", class_=kind, x1=ends[0], x2=ends[1], y1=middle, y2=middle))
        parts += [element("line", class_="cap", x1=x, x2=x, y1=middle - 4, y2=middle + 4) for x in ends]
    parts.append(element("circle", class_="point", cx=scale(row.mean), cy=middle, r=5))
    return element("g", *parts, class_=row.state)


def scatter(points: Sequence[CostPoint], description: str, cost: str, quality: str) -> Markup:
    """Quality against cost, a labelled point an arm; at least one.

    Args:
        description: what a screen reader says of it.
        cost, quality: what the axes are called.
    """
    low, high = min(p.quality for p in points), max(p.quality for p in points)
    slack = (high - low or abs(high) or 1.0) * 0.2
    across = Scale(0, max(p.cost for p in points) * 1.1 or 1.0)
    height = max(240, LABEL_DISTANCE * len(points) + 60)
    chart = Chart(across, Scale(low - slack, high + slack), (cost, quality), height=height)
    label_places = chart.apart([point.quality for point in points])
    for point, label_y in zip(points, label_places, strict=True):
        with chart.group("first" if point.first else "other"):
            chart.point(point.cost, point.quality, radius=6)
            chart.label(point.label, point.cost, label_y, "after" if point.cost < across.high * 0.6 else "before")
    return chart.svg(description)


def sequential(
    looks: Sequence[SequentialInterval], margin: float, state: State, description: str, sides: tuple[str, str]
) -> Markup:
    """Intervals (up) after each look (across, from 0 users), with the zero line and the margins; at least one.

    Args:
        margin: the largest difference that does not matter.
        state: what the last look came to.
        description: what a screen reader says of it.
        sides: who is better below and above zero.
    """
    last = looks[-1]
    ends = [abs(end) for look in looks for end in (look.low, look.high)]
    # The first looks say little, and would flatten the rest.
    reach = min(max(ends), 4 * max(abs(last.low), abs(last.high), margin))
    chart = Chart(
        Scale(0, last.users * 1.05), Scale(-reach, reach), ("users", sides[1]), height=310, below=sides[0], ticks=6
    )
    chart.across(0, "zero")
    for end in (-margin, margin):
        chart.across(end, "zero unsure")
    for look in looks:
        with chart.group(state if look is last else "inconclusive"):
            chart.whisker(look.users, max(look.low, -reach), min(look.high, reach))
            chart.point(look.users, max(-reach, min(look.mean, reach)))
    return chart.svg(description)


def matrix_plot(
    rows: Sequence[tuple[str, Sequence[MatrixCell | None]]], columns: Sequence[str], description: str
) -> Markup:
    """Cells in named rows and columns, at least one of either; None is an empty place.

    Args:
        description: what a screen reader says of it.
    """
    width = (100 - _MATRIX_NAMES) / len(columns)
    lefts = [_MATRIX_NAMES + at * width for at in range(len(columns))]
    parts = [
        element("text", name, class_="label", x=f"{left + width / 2:.3f}%", y=18, text_anchor="middle")
        for name, left in zip(columns, lefts, strict=True)
    ]
    for number, (name, cells) in enumerate(rows):
        top = _MATRIX_HEAD + number * _MATRIX_ROW
        parts.append(element("text", name, class_="label", x="0%", y=top + _MATRIX_ROW // 2 + 4))
        parts += [
            _matrix_cell(cell, left, width, top) for cell, left in zip(cells, lefts, strict=True) if cell is not None
        ]
    return drawing(description, _MATRIX_HEAD + _MATRIX_ROW * len(rows), parts)


def _matrix_cell(cell: MatrixCell, left: float, width: float, top: int) -> Markup:
    place = {"x": f"{left + 0.4:.3f}%", "y": top + 2, "width": f"{width - 0.8:.3f}%", "height": _MATRIX_ROW - 4}
    middle = f"{left + width / 2:.3f}%"
    return element(
        "g",
        element("rect", class_="square", rx=4, **place),
        element("text", cell.text, class_="label", x=middle, y=top + 22, text_anchor="middle"),
        element("text", cell.interval, class_="tick", x=middle, y=top + 38, text_anchor="middle"),
        class_=cell.state,
    )


def shares(better: float, equal: float, worse: float) -> Markup:
    """A bar of the shares of users (adding up to 1) for whom an arm is better, equal and worse."""
    parts, start = [], 0.0
    for name, share in (("better", better), ("equal", equal), ("worse", worse)):
        parts.append(element("rect", class_=name, x=f"{100 * start:.2f}%", y=0, width=f"{100 * share:.2f}%", height=6))
        start += share
    return element("svg", *parts, class_="shares", width="100%", height=6, aria_hidden="true")
