"""A picture as SVG. Reads boxes and arrows, produces one element that needs nothing else, on light and dark ground."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final
from xml.etree import ElementTree

from retrieval.templates import visible
from xdrec_agent.posthoc.picture import Picture

_COLUMN: Final = 290  # pixels from one layer to the next
_BOX: Final = 170
_LINE: Final = 17
_GAP: Final = 18
_LANE: Final = 24
_PAD: Final = 9
_MARGIN: Final = 14
_WIDE: Final = 22  # columns of text in a box; a Chinese character takes two
_LINES: Final = 3
_CLASS: Final = "xdrec-picture"
_TIP: Final = f"{_CLASS}-tip"
# Every rule is bound to the class: in a page, the style of one picture must not reach anything else.
_STYLE: Final = f"""
.{_CLASS}{{--line:#6b7280;--ink:#1f2937;--paper:#fff;--known:#dbeafe;--thing:#f3f4f6;--found:#dcfce7}}
@media(prefers-color-scheme:dark){{.{_CLASS}{{--line:#9ca3af;--ink:#f3f4f6;--paper:#111827;--known:#1e3a5f;
--thing:#374151;--found:#14532d}}}}
.{_CLASS} text{{font:13px system-ui,sans-serif;fill:var(--ink)}}
.{_CLASS} text.label{{font-size:11px;paint-order:stroke;stroke:var(--paper);stroke-width:4px;stroke-linejoin:round}}
.{_CLASS} rect{{stroke:var(--line)}}.{_CLASS} rect.back{{fill:var(--paper);stroke:none}}
.{_CLASS} .known{{fill:var(--known)}}.{_CLASS} .thing{{fill:var(--thing)}}.{_CLASS} .found{{fill:var(--found)}}
.{_CLASS} .arrow{{stroke:var(--line);fill:none}}.{_CLASS} .tip{{fill:var(--line)}}
""".replace("\n", "")


def svg(drawn: Picture) -> str:
    """The picture as one SVG element that needs nothing else and is readable on light and dark ground."""
    places = _layout(drawn)
    width = max(x for x, *_ in places.values()) + _BOX + _MARGIN
    lowest = max(y + tall for _, y, tall, _ in places.values())
    lanes = _lanes(drawn, places, lowest)
    height = max([lowest, *lanes.values()]) + _MARGIN
    size = {"viewBox": f"0 0 {width} {height}", "width": str(width), "height": str(height)}
    root = ElementTree.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "class": _CLASS, "role": "img", **size})
    ElementTree.SubElement(root, "title").text = visible(drawn.title)
    ElementTree.SubElement(root, "desc").text = _described(drawn)
    ElementTree.SubElement(root, "style").text = _STYLE
    marker = {"id": _TIP, "viewBox": "0 0 8 8", "refX": "8", "refY": "4", "markerWidth": "7", "markerHeight": "7"}
    tip = ElementTree.SubElement(ElementTree.SubElement(root, "defs"), "marker", {**marker, "orient": "auto"})
    ElementTree.SubElement(tip, "path", {"class": "tip", "d": "M0 0 8 4 0 8z"})
    ElementTree.SubElement(root, "rect", {"class": "back", "width": "100%", "height": "100%"})
    for arrow in drawn.arrows:
        curve = _curve(places[arrow[0]], places[arrow[1]], lanes.get(arrow))
        ElementTree.SubElement(root, "path", {"class": "arrow", "d": curve, "marker-end": f"url(#{_TIP})"})
    for key, node in drawn.nodes.items():
        _draw_box(root, places[key], node.kind)
    for arrow in drawn.arrows:
        _draw_label(root, places[arrow[0]], places[arrow[1]], lanes.get(arrow), arrow[2])
    return ElementTree.tostring(root, encoding="unicode") + "\n"


_Place = tuple[int, int, int, list[str]]
"""Left, top and height of a box in pixels, and its lines."""


def _layout(drawn: Picture) -> dict[str, _Place]:
    """Each layer a column, centred on the tallest."""
    lines = {key: _wrapped(node.text) for key, node in drawn.nodes.items()}
    tall = {key: 2 * _PAD + _LINE * len(rows) for key, rows in lines.items()}
    layers: dict[int, list[str]] = {}
    for key, node in drawn.nodes.items():
        layers.setdefault(node.layer, []).append(key)
    heights = {layer: sum(tall[key] + _GAP for key in keys) - _GAP for layer, keys in layers.items()}
    places: dict[str, _Place] = {}
    for column, layer in enumerate(sorted(layers)):
        top = _MARGIN + (max(heights.values()) - heights[layer]) // 2
        for key in layers[layer]:
            places[key] = (_MARGIN + column * _COLUMN, top, tall[key], lines[key])
            top += tall[key] + _GAP
    return places


def _draw_box(root: ElementTree.Element, place: _Place, kind: str) -> None:
    left, top, tall, lines = place
    box = {"x": left, "y": top, "width": _BOX, "height": tall, "rx": 7}
    ElementTree.SubElement(root, "rect", {"class": kind, **{name: str(value) for name, value in box.items()}})
    for number, line in enumerate(lines):
        at = {"x": str(left + _BOX // 2), "y": str(top + _PAD + _LINE * number + 13), "text-anchor": "middle"}
        ElementTree.SubElement(root, "text", at).text = line


def _lanes(drawn: Picture, places: dict[str, _Place], lowest: int) -> dict[tuple[str, str, str], int]:
    """How far down an arrow that passes a column goes round it: each with a label by itself, the others together."""
    wide = [arrow for arrow in drawn.arrows if abs(places[arrow[0]][0] - places[arrow[1]][0]) > _COLUMN]
    labels = sorted({arrow[2] for arrow in wide})
    return {arrow: lowest + _LANE * (1 + labels.index(arrow[2])) for arrow in wide}


def _curve(start: _Place, end: _Place, lane: int | None) -> str:
    """The path of an arrow; one with a lane goes down to it, along and up again."""
    x1, y1, x2, y2 = _ends(start, end)
    if lane is None:
        middle = (x1 + x2) // 2
        return f"M{x1} {y1}C{middle} {y1} {middle} {y2} {x2} {y2}"
    turn = (_COLUMN - _BOX) // 2 * (1 if x1 < x2 else -1)
    down = f"M{x1} {y1}C{x1 + turn} {y1} {x1 + turn} {lane} {x1 + 2 * turn} {lane}"
    return f"{down}L{x2 - 2 * turn} {lane}C{x2 - turn} {lane} {x2 - turn} {y2} {x2} {y2}"


def _draw_label(root: ElementTree.Element, start: _Place, end: _Place, lane: int | None, label: str) -> None:
    if not label:
        return
    x1, y1, x2, y2 = _ends(start, end)
    height = (y1 + y2) // 2 if lane is None else lane
    at = {"class": "label", "x": str((x1 + x2) // 2), "y": str(height - 4), "text-anchor": "middle"}
    ElementTree.SubElement(root, "text", at).text = _wrapped(label)[0]


def _ends(start: _Place, end: _Place) -> tuple[int, int, int, int]:
    """From the side of one box that faces the other to that one's."""
    y1, y2 = start[1] + start[2] // 2, end[1] + end[2] // 2
    if start[0] <= end[0]:
        return start[0] + _BOX, y1, end[0], y2
    return start[0], y1, end[0] + _BOX, y2


def _described(drawn: Picture) -> str:
    """The arrows in words, for those who do not see them."""
    names = {key: visible(node.label) for key, node in drawn.nodes.items()}
    return "; ".join(
        f"{names[start]} → {visible(label)} → {names[end]}" if label else f"{names[start]} → {names[end]}"
        for start, end, label in drawn.arrows
    )


def _wrapped(text: str) -> list[str]:
    """At most `_LINES` lines of at most `_WIDE` columns; what is longer ends in an ellipsis."""
    lines: list[str] = [""]
    for word in _words(visible(text)):
        if _columns(lines[-1] + word.rstrip()) > _WIDE and lines[-1]:
            lines.append("")
        lines[-1] += word
    lines = [line.strip() for line in lines]
    if len(lines) > _LINES:
        lines = [*lines[: _LINES - 1], f"{lines[_LINES - 1]}…"]
    return lines


def _words(text: str) -> Iterable[str]:
    """Pieces between which a line may break: words with their blank, single wide characters, parts of endless words."""
    piece = ""
    for char in text:
        piece += char
        if char == " " or _columns(char) == 2 or _columns(piece) >= _WIDE:
            yield piece
            piece = ""
    yield piece


def _columns(text: Sequence[str]) -> int:
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)
