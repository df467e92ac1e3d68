"""The evidence as a picture. Reads evidence, produces boxes and arrows from the films to the book, as SVG or Mermaid.

Liked items are at the left, the recommended one at the right, between them what they share and what the paths pass
through. Titles and names are text: they are escaped, whatever they hold. The SVG is one element that needs nothing else
and is readable on light and dark ground.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from xml.etree.ElementTree import Element, SubElement, tostring

from retrieval.templates import visible
from retrieval.types import Entity, Item, Path
from xdrec_agent.explain import Locale
from xdrec_agent.grounding import Evidence

_SHARED: Final = ("creator", "person", "series", "theme", "category")
_SHARED_MOST: Final = 5
_HARMLESS: Final = " ,:!?’–—…、，。：！？（）"

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

Arrow = tuple[str, str, str]
"""From, to, and label."""


@dataclass(frozen=True)
class Node:
    """A box: what it says, its layer from the left, and its class: "known", "thing" or "found"."""

    label: str
    layer: int
    kind: str
    note: str = ""

    @property
    def text(self) -> str:
        """The label with its note."""
        return f"{self.label} ({self.note})" if self.note else self.label


@dataclass
class Picture:
    """Boxes by key and arrows, in the order in which they were found."""

    title: str
    nodes: dict[str, Node] = field(default_factory=dict)
    arrows: dict[Arrow, None] = field(default_factory=dict)


def draw(evidence: Evidence, locale: Locale) -> Picture:
    """The boxes and arrows of a piece of evidence, in the locale's language."""
    end = _key(evidence.item)
    picture = Picture(locale.title(evidence.item))
    last = max([2, *(len(path.relations) for path in evidence.paths)]) if evidence.known else 0
    for known in evidence.known:
        picture.nodes[_key(known.item)] = Node(locale.title(known.item), 0, "known", f"{known.match.share:.0%}")
    picture.nodes[end] = Node(locale.title(evidence.item), last, "found")
    for path in evidence.paths:
        _add_path(picture, path, locale, last)
    joined = {key for arrow in picture.arrows for key in arrow[:2]}
    for known in evidence.known:
        start = _key(known.item)
        shared = [(f"trait:{t.casefold()}", t) for t in evidence.shared(known.label, *_SHARED)[:_SHARED_MOST]]
        for key, trait in shared:
            picture.nodes.setdefault(key, Node(locale.for_people.trait(trait), 1, "thing"))
            picture.arrows |= {(start, key, ""): None, (key, end, ""): None}
        if not shared and start not in joined:
            picture.arrows[start, end, ""] = None
    return picture


def _add_path(picture: Picture, path: Path, locale: Locale, last: int) -> None:
    """A path's things between its ends, a layer each, and its relations in the direction in which they are true."""
    at = _key(path.start)
    for step, relation in enumerate(path.relations, 1):
        forward = _key(relation.subject) == at
        other = relation.object if forward else relation.subject
        if step < len(path.relations):
            picture.nodes.setdefault(_key(other), Node(other.name, min(step, last - 1), "thing"))
        words = relation.predicate.replace("_", " ")
        sentence = locale.sentences.relations.get(relation.predicate, "{predicate}")
        label = sentence.format(subject="", object="", predicate=words).strip()
        picture.arrows[(at, _key(other), label) if forward else (_key(other), at, label)] = None
        at = _key(other)


def _key(thing: Item | Entity) -> str:
    return f"{thing.domain}:{thing.id}" if thing.domain else f"name:{thing.id}"


def mermaid(picture: Picture) -> str:
    """The picture as a Mermaid flowchart, from left to right."""
    ids = {key: f"n{number}" for number, key in enumerate(picture.nodes)}
    lines = ["flowchart LR"]
    lines += [f'  {ids[key]}["{_entities(node.text)}"]:::{node.kind}' for key, node in picture.nodes.items()]
    for start, end, label in picture.arrows:
        words = f'|"{_entities(label)}"|' if label else ""
        lines.append(f"  {ids[start]} -->{words} {ids[end]}")
    colours = {"known": "#dbeafe", "thing": "#f3f4f6", "found": "#dcfce7"}
    lines += [f"  classDef {kind} fill:{fill},stroke:#6b7280,color:#1f2937" for kind, fill in colours.items()]
    return "\n".join(lines) + "\n"


def _entities(text: str) -> str:
    """Text as Mermaid shows it as it is: what might be a mark to it or to Markdown stands as its number."""
    return "".join(c if c.isalnum() or c in _HARMLESS else f"#{ord(c)};" for c in visible(text))


class _Box(NamedTuple):
    """Left, top and height of a box in pixels, and its lines."""

    left: int
    top: int
    height: int
    lines: list[str]

    @property
    def middle(self) -> int:
        """Half its height from the top, where arrows begin and end."""
        return self.top + self.height // 2


def svg(picture: Picture) -> str:
    """The picture as one SVG element."""
    boxes = _layout(picture)
    lowest = max(box.top + box.height for box in boxes.values())
    lanes = _lanes(picture, boxes, lowest)
    width = max(box.left for box in boxes.values()) + _BOX + _MARGIN
    height = max([lowest, *lanes.values()]) + _MARGIN
    size = {"viewBox": f"0 0 {width} {height}", "width": str(width), "height": str(height)}
    root = Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "class": _CLASS, "role": "img", **size})
    for tag, text in (("title", visible(picture.title)), ("desc", _described(picture)), ("style", _STYLE)):
        SubElement(root, tag).text = text
    tip = {"id": f"{_CLASS}-tip", "viewBox": "0 0 8 8", "refX": "8", "refY": "4", "markerWidth": "7"}
    marker = SubElement(SubElement(root, "defs"), "marker", {**tip, "markerHeight": "7", "orient": "auto"})
    SubElement(marker, "path", {"class": "tip", "d": "M0 0 8 4 0 8z"})
    SubElement(root, "rect", {"class": "back", "width": "100%", "height": "100%"})
    ends = {arrow: _ends(boxes[arrow[0]], boxes[arrow[1]]) for arrow in picture.arrows}
    for arrow, points in ends.items():
        curve = _curve(*points, lanes.get(arrow))
        SubElement(root, "path", {"class": "arrow", "d": curve, "marker-end": f"url(#{_CLASS}-tip)"})
    for key, node in picture.nodes.items():
        box = boxes[key]
        sides = {"x": box.left, "y": box.top, "width": _BOX, "height": box.height, "rx": 7}
        SubElement(root, "rect", {"class": node.kind} | {side: str(value) for side, value in sides.items()})
        for number, line in enumerate(box.lines):
            _write(root, box.left + _BOX // 2, box.top + _PAD + _LINE * number + 13, line)
    for arrow, (x1, y1, x2, y2) in ends.items():
        if arrow[2]:  # labels last: they lie upon the arrows
            y = lanes.get(arrow, (y1 + y2) // 2) - 4
            _write(root, (x1 + x2) // 2, y, _wrapped(arrow[2])[0], {"class": "label"})
    return tostring(root, encoding="unicode") + "\n"


def _write(root: Element, x: int, y: int, text: str, style: Mapping[str, str] | None = None) -> None:
    SubElement(root, "text", {**(style or {}), "x": str(x), "y": str(y), "text-anchor": "middle"}).text = text


def _layout(picture: Picture) -> dict[str, _Box]:
    """Each layer a column, centred on the tallest."""
    lines = {key: _wrapped(node.text) for key, node in picture.nodes.items()}
    heights = {key: 2 * _PAD + _LINE * len(rows) for key, rows in lines.items()}
    layers: dict[int, list[str]] = {}
    for key, node in picture.nodes.items():
        layers.setdefault(node.layer, []).append(key)
    tall = {layer: sum(heights[key] + _GAP for key in keys) - _GAP for layer, keys in layers.items()}
    boxes: dict[str, _Box] = {}
    for column, layer in enumerate(sorted(layers)):
        top = _MARGIN + (max(tall.values()) - tall[layer]) // 2
        for key in layers[layer]:
            boxes[key] = _Box(_MARGIN + column * _COLUMN, top, heights[key], lines[key])
            top += heights[key] + _GAP
    return boxes


def _lanes(picture: Picture, boxes: Mapping[str, _Box], lowest: int) -> dict[Arrow, int]:
    """How far down an arrow that passes a column goes round it: each with a label by itself, the others together."""
    wide = [arrow for arrow in picture.arrows if abs(boxes[arrow[0]].left - boxes[arrow[1]].left) > _COLUMN]
    labels = sorted({arrow[2] for arrow in wide})
    return {arrow: lowest + _LANE * (1 + labels.index(arrow[2])) for arrow in wide}


def _ends(start: _Box, end: _Box) -> tuple[int, int, int, int]:
    """From the side of one box that faces the other to that one's."""
    if start.left <= end.left:
        return start.left + _BOX, start.middle, end.left, end.middle
    return start.left, start.middle, end.left + _BOX, end.middle


def _curve(x1: int, y1: int, x2: int, y2: int, lane: int | None) -> str:
    """The path of an arrow; one with a lane goes down to it, along and up again."""
    if lane is None:
        middle = (x1 + x2) // 2
        return f"M{x1} {y1}C{middle} {y1} {middle} {y2} {x2} {y2}"
    turn = (_COLUMN - _BOX) // 2 * (1 if x1 < x2 else -1)
    down = f"M{x1} {y1}C{x1 + turn} {y1} {x1 + turn} {lane} {x1 + 2 * turn} {lane}"
    return f"{down}L{x2 - 2 * turn} {lane}C{x2 - turn} {lane} {x2 - turn} {y2} {x2} {y2}"


def _described(picture: Picture) -> str:
    """The arrows in words, for those who do not see them."""
    names = {key: node.label for key, node in picture.nodes.items()}
    parts = ((names[start], label, names[end]) for start, end, label in picture.arrows)
    return "; ".join(" → ".join(visible(part) for part in said if part) for said in parts)


def _wrapped(text: str) -> list[str]:
    """At most `_LINES` lines of at most `_WIDE` columns; what is longer ends in an ellipsis."""
    from rich.console import Console
    from rich.text import Text

    lines = [line.plain.strip() for line in Text(visible(text)).wrap(Console(width=_WIDE), _WIDE)] or [""]
    return lines if len(lines) <= _LINES else [*lines[: _LINES - 1], f"{lines[_LINES - 1]}…"]
