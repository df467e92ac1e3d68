"""The matrix as a picture. Reads squares by row and column, produces SVG that takes its colours from the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from eval.report.plots import State, element

_ROW: Final = 50
_HEAD: Final = 30
_LABELS: Final = 20.0
"""Percent of the width that the rows' names take."""


@dataclass(frozen=True)
class Square:
    """A difference, its interval, and whether it helps."""

    text: str
    ends: str
    state: State


def grid(rows: Sequence[tuple[str, Sequence[Square | None]]], columns: Sequence[str], description: str) -> Markup:
    """Squares in rows and columns, at least one of either; None is an empty place.

    Args:
        description: what a screen reader says of it.
    """
    width = (100 - _LABELS) / len(columns)
    parts = [
        element("text", name, class_="label", x=_percent(_LABELS + (at + 0.5) * width), y=18, text_anchor="middle")
        for at, name in enumerate(columns)
    ]
    for number, (name, squares) in enumerate(rows):
        top = _HEAD + number * _ROW
        parts.append(element("text", name, class_="label", x="0%", y=top + _ROW // 2 + 4))
        for at, square in enumerate(squares):
            if square is not None:
                parts.append(_square(square, _LABELS + at * width, width, top))
    height = _HEAD + _ROW * len(rows)
    return element("svg", *parts, class_="plot", width="100%", height=height, role="img", aria_label=description)


def _square(square: Square, left: float, width: float, top: int) -> Markup:
    middle, wide = _percent(left + width / 2), _percent(width - 0.8)
    return element(
        "g",
        element("rect", class_="square", x=_percent(left + 0.4), y=top + 2, width=wide, height=_ROW - 4, rx=4),
        element("text", square.text, class_="label", x=middle, y=top + 22, text_anchor="middle"),
        element("text", square.ends, class_="tick", x=middle, y=top + 38, text_anchor="middle"),
        class_=square.state,
    )


def _percent(value: float) -> str:
    return f"{value:.3f}%"
