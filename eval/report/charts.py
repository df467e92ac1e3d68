"""Charts of a report. Reads values, intervals and names, produces inline SVG that takes its colours from the page.

No chart library draws them: matplotlib and Vega write a fixed width, and colours as style attributes. A page whose
content security policy allows its own style sheet alone shows none of these, and they follow neither the width of the
window nor light and dark. Here places across are percentages and sizes are pixels, so a chart fills any width while its
text stays readable, and `charts.css` holds all colours. A report of three charts takes 25 kB.

Names come from other people's run folders: `element` makes them printable and escapes them.
"""

from __future__ import annotations

import itertools
import math
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from xml.etree import ElementTree

from markupsafe import Markup

from eval.stats import number_text

LABEL_DISTANCE: Final = 17
"""Pixels that labels keep from each other."""
_TOP: Final = 36
_BOTTOM: Final = 44
"""Pixels above and below the area of a chart, for the names of its axes."""
_PICTURE_WIDTH: Final = 760
_PICTURE_MARGIN: Final = 14
_BIDI: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: str) -> str:
    """The text without characters that control terminals or direction, or that XML lacks; line breaks stay."""
    bad = {"Cc", "Cs", "Cn"}
    return "".join(
        "\ufffd" if c in _BIDI or (c != "\n" and unicodedata.category(c) in bad) else c for c in text.expandtabs(1)
    )


def one_line(text: str) -> str:
    """The text likewise, on one line."""
    return printable(" ".join(text.split()))


@dataclass(frozen=True)
class Scale:
    """Values from `low` to `high`, which differ, along an axis; `left` and `right` are percent left free at its ends.

    `log`: the axis is logarithmic; both ends are powers of ten.
    """

    low: float
    high: float
    left: float = 4.0
    right: float = 4.0
    log: bool = False

    @classmethod
    def decades(cls, values: Sequence[float], left: float = 4.0, right: float = 4.0) -> Scale:
        """A logarithmic axis of whole decades around the values, which are above 0."""
        low = math.floor(math.log10(min(values)) + 1e-9)
        high = max(math.ceil(math.log10(max(values)) - 1e-9), low + 1)
        return cls(10.0**low, 10.0**high, left, right, log=True)

    def share(self, value: float) -> float:
        """How far along the axis a value lies, in [0, 1] if it is inside."""
        if self.log:
            return math.log10(value / self.low) / math.log10(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def percent(self, value: float) -> float:
        """The place of a value, in percent of the width."""
        return self.left + (100 - self.left - self.right) * self.share(value)

    def __call__(self, value: float) -> str:
        """The place of a value as SVG writes it."""
        return f"{self.percent(value):.3f}%"

    def ticks(self, number: int = 5) -> list[tuple[float, str]]:
        """About so many round values (on a logarithmic axis the powers of ten) and how they are written."""
        if self.log:
            powers = range(round(math.log10(self.low)), round(math.log10(self.high)) + 1)
            return [(10.0**power, number_text(10.0**power, max(0, -power))) for power in powers]
        raw = (self.high - self.low) / number
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        inside = range(math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9) + 1)
        return [(n * step, number_text(n * step, decimals) if n else "0") for n in inside]


def element(name: str, *children: str, **attributes: object) -> Markup:
    """An SVG element. `class_` stands for class, and `_` in other names for a hyphen."""
    written = [(key.rstrip("_").replace("_", "-"), _clean(value)) for key, value in attributes.items()]
    head = Markup("").join(Markup(' {}="{}"').format(key, value) for key, value in written)
    body = Markup("").join(_clean(child) for child in children)
    return Markup("<{0}{1}>{2}</{0}>").format(name, head, body)


def _clean(value: object) -> str:
    return value if isinstance(value, Markup) else one_line(str(value))


class Chart:
    """A chart with two axes. Coordinates are in units of the axes; what is drawn later lies above.

    Args:
        axes: what the axes are called, across and up.
        below: what stands below the left end, if anything.
        ticks: about how many the axis up has.
    """

    def __init__(
        self, x: Scale, y: Scale, axes: tuple[str, str], *, height: int = 240, below: str = "", ticks: int = 4
    ) -> None:
        self.x, self._y, self._ticks, self.height = x, y, ticks, height
        self._bottom = height - _BOTTOM
        self._parts: list[Markup] = []
        self.text(f"▴ {axes[1]}", "side", "0%", 14)
        for value, _ in y.ticks(ticks):
            self.across(value, "grid")
        for value, written in x.ticks():
            anchor = "start" if x.percent(value) < 5 else "middle"
            self.text(written, "tick", x(value), self._bottom + 18, anchor)
        self.text(f"{axes[0]} ▸", "side", "100%", height - 6, "end")
        if below:
            self.text(f"▾ {below}", "side", "0%", height - 6)

    def y(self, value: float) -> float:
        """Pixels from the top."""
        return round(self._bottom - (self._bottom - _TOP) * self._y.share(value), 1)

    def text(self, text: str, kind: str, x: str, y: float, anchor: str = "start") -> None:
        """Words at a place."""
        self._parts.append(element("text", text, class_=kind, x=x, y=y, text_anchor=anchor))

    def label(self, text: str, x: float, y_pixels: float, side: Literal["before", "after", "below"] = "after") -> None:
        """What a point is called, beside or below the point."""
        dx, dy, anchor = {"before": (-11, 4, "end"), "after": (11, 4, "start"), "below": (0, 22, "middle")}[side]
        self._parts.append(
            element("text", text, class_="label", x=self.x(x), dx=dx, y=y_pixels + dy, text_anchor=anchor)
        )

    def apart(self, values: Sequence[float]) -> list[float]:
        """Pixels from the top for a label at each value, moved as little as it takes to keep them apart."""
        places = [self.y(value) for value in values]
        order = sorted(range(len(places)), key=lambda n: places[n])
        for above, below in itertools.pairwise(order):
            places[below] = max(places[below], places[above] + LABEL_DISTANCE)
        limit = float(max(self._bottom, _TOP + LABEL_DISTANCE * (len(places) - 1)))
        for index in reversed(order):
            places[index] = min(places[index], limit)
            limit = places[index] - LABEL_DISTANCE
        return places

    def across(self, y: float, kind: str = "rule", label: str = "") -> None:
        """A line over the whole width; its label stands above its right end."""
        self._line(kind, "0%", self.y(y), "100%", self.y(y))
        if label:
            self.text(label, "tick", "100%", self.y(y) - 5, "end")

    def upright(self, x: float, label: str) -> None:
        """A dashed line over the whole height, with its label at the top."""
        self._line("rule", self.x(x), _TOP, self.x(x), self._bottom)
        late = self.x.share(x) > 0.5
        self.text(
            label, "tick", f"{self.x.percent(x) + (-1 if late else 1):.3f}%", _TOP - 4, "end" if late else "start"
        )

    def line(self, points: Sequence[tuple[float, float]], kind: str = "line") -> None:
        """Straight lines through points."""
        for (x1, y1), (x2, y2) in itertools.pairwise(points):
            self._line(kind, self.x(x1), self.y(y1), self.x(x2), self.y(y2))

    def bar(self, start: float, end: float, height: float, note: str) -> None:
        """A bar from 0, or from the x axis where 0 is not inside; the note shows when it is pointed at."""
        foot = min(max(0.0, self._y.low), self._y.high)
        top, bottom = sorted((self.y(height), self.y(foot)))
        width = f"{self.x.percent(end) - self.x.percent(start):.3f}%"
        note_element = element("title", note)
        place = {"x": self.x(start), "y": top, "width": width, "height": round(bottom - top, 1)}
        self._parts.append(element("rect", note_element, class_="bar", **place))

    def point(self, x: float, y: float, note: str = "", radius: float = 4) -> None:
        """A point; the note shows when it is pointed at."""
        notes = (element("title", note),) if note else ()
        self._parts.append(element("circle", *notes, class_="point", cx=self.x(x), cy=self.y(y), r=radius))

    def whisker(self, x: float, low: float | None, high: float | None) -> None:
        """An interval upwards, if there is one."""
        if low is not None and high is not None:
            self._line("whisker", self.x(x), self.y(low), self.x(x), self.y(high))

    @contextmanager
    def group(self, kind: str) -> Iterator[None]:
        """What is drawn inside takes the colour of this class."""
        outer, self._parts = self._parts, []
        yield
        outer.append(element("g", *self._parts, class_=kind))
        self._parts = outer

    def svg(self, description: str) -> Markup:
        """The chart; the description is what a screen reader says of it."""
        # The numbers of the axis up lie over what is drawn, so that they can be read.
        numbers = [
            element("text", text, class_="tick", x="0%", y=self.y(value) - 4)
            for value, text in self._y.ticks(self._ticks)
        ]
        return drawing(description, self.height, [*self._parts, *numbers])

    def _line(self, kind: str, x1: str, y1: float, x2: str, y2: float) -> None:
        self._parts.append(element("line", class_=kind, x1=x1, y1=y1, x2=x2, y2=y2))


def drawing(description: str, height: float, parts: Iterable[Markup]) -> Markup:
    """Parts as a drawing that fills the width; the description is what a screen reader says of it."""
    return element("svg", *parts, class_="plot", width="100%", height=height, role="img", aria_label=description)


def picture(*drawings: Markup) -> str:
    """Drawings below each other as a file of its own, 760 pixels wide, light or dark as its reader likes it."""
    inside, top = [], _PICTURE_MARGIN
    for one in drawings:
        height = int(ElementTree.fromstring(one).attrib["height"])  # noqa: S314 - it is our own
        width = _PICTURE_WIDTH - 2 * _PICTURE_MARGIN
        inside.append(element("svg", one, x=_PICTURE_MARGIN, y=top, width=width, height=height))
        top += height + _PICTURE_MARGIN
    ground = element("rect", width="100%", height="100%", style="fill: var(--card)")
    return element(
        "svg", element("style", chart_style()), ground, *inside, xmlns="http://www.w3.org/2000/svg",
        width=_PICTURE_WIDTH, height=top, viewBox=f"0 0 {_PICTURE_WIDTH} {top}",
    )  # fmt: skip


def chart_style() -> Markup:
    """The style that drawings need: colours, light and dark, and strokes."""
    return Markup(Path(__file__).with_name("charts.css").read_text(encoding="utf-8"))  # noqa: S704 - it is our own
