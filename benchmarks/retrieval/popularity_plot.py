"""The curve of popularity's say. Reads the figures of `benchmarks.retrieval.popularity`, produces a picture (SVG)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from benchmarks.figures import Figure
from benchmarks.retrieval.popularity import ALONE, LIFT, SEEN, SHARES
from eval.report import Scale, element
from retrieval.settings import RetrieverSettings

_WIDTH: Final = 720
_HEIGHT: Final = 360
_LEFT: Final = 60
_RIGHT: Final = 690
_TOP: Final = 40
_BOTTOM: Final = 300
_STYLE: Final = (
    "text{font:12px sans-serif;fill:#57606a}.title{font-weight:600;fill:#24292f}.grid{stroke:#d0d7de}"
    ".line{fill:none;stroke:#0969da;stroke-width:2}.point{fill:#0969da}.default{fill:#cf222e}.alone{fill:#57606a}"
)


def write_picture(path: Path, figures: Iterable[Figure]) -> None:
    """Recall on seen items (up) against popularity lift (right) of the validation users: a point for each share."""
    value = {figure.name.removeprefix("validation, "): figure.value for figure in figures}
    arms = [*(f"{share:g}" for share in SHARES), ALONE]
    points = [(value[f"{arm}, {LIFT}"], value[f"{arm}, {SEEN}"]) for arm in arms]
    across, up = (Scale(0.0, max(part) * 1.1) for part in zip(*points, strict=True))
    x_of, y_of = _axis(across, _LEFT, _RIGHT), _axis(up, _BOTTOM, _TOP)
    parts = [element("rect", width=_WIDTH, height=_HEIGHT, fill="white")]
    parts.append(element("text", "Recall@100 among seen items, by popularity's share", class_="title", x=_LEFT, y=20))
    parts.append(element("text", "mean popularity of the first ten, times the catalogue's", x=_LEFT, y=_BOTTOM + 40))
    for tick, text in across.ticks():
        parts.append(element("text", text, x=x_of(tick), y=_BOTTOM + 18, text_anchor="middle"))
    for tick, text in up.ticks():
        parts.append(element("line", class_="grid", x1=_LEFT, x2=_RIGHT, y1=y_of(tick), y2=y_of(tick)))
        parts.append(element("text", text, x=_LEFT - 8, y=y_of(tick) + 4, text_anchor="end"))
    places = " ".join(f"{x_of(x)},{y_of(y)}" for x, y in points[:-1])
    parts.append(element("polyline", class_="line", points=places))
    default = f"{RetrieverSettings().popularity:g}"
    for arm, (x, y) in zip(arms, points, strict=True):
        kind = "default" if arm == default else "alone" if arm == ALONE else "point"
        label = f"{arm} (default)" if arm == default else arm
        parts.append(element("circle", class_=kind, cx=x_of(x), cy=y_of(y), r=5))
        parts.append(element("text", label, x=x_of(x), y=y_of(y) + 20, text_anchor="middle"))
    drawing = element(
        "svg",
        element("style", _STYLE),
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        role="img",
        aria_label="Recall at 100 against popularity lift",
    )
    path.write_text(drawing + "\n", encoding="utf-8")


def _axis(scale: Scale, start: int, end: int) -> Callable[[float], float]:
    return lambda value: round(start + (end - start) * (value - scale.low) / (scale.high - scale.low), 1)
