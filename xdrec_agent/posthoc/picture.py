"""The evidence as a picture. Reads evidence, produces boxes and arrows from the films to the book.

Liked items stand at the left, the recommended one at the right, between them what they share and what relations lead
over. Titles and names are text: they are escaped, whatever they hold.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from retrieval.templates import visible
from retrieval.types import Entity, Item, Path
from xdrec_agent.explain import Voice
from xdrec_agent.grounding import Evidence
from xdrec_agent.posthoc.realisation import percent, shown

_SHARED: Final = ("creator", "person", "series", "theme", "category")
_SHARED_MOST: Final = 5
_HARMLESS: Final = " ,:!?’–—…、，。：！？（）"


@dataclass
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
    """Boxes by key, in the order in which they were found, and arrows (from, to, label)."""

    title: str
    nodes: dict[str, Node] = field(default_factory=dict)
    arrows: list[tuple[str, str, str]] = field(default_factory=list)

    def arrow(self, start: str, end: str, label: str = "") -> None:
        """Add an arrow unless it is there."""
        if (start, end, label) not in self.arrows:
            self.arrows.append((start, end, label))


def picture(evidence: Evidence, voice: Voice) -> Picture:
    """The boxes and arrows of a piece of evidence, in the voice's language."""
    found = _key(evidence.item)
    out = Picture(voice.title(evidence.item))
    widths = [len(path.relations) for path in evidence.paths]
    last = max([2, *widths]) if evidence.known else 0
    for known in evidence.known:
        out.nodes[_key(known.item)] = Node(voice.title(known.item), 0, "known", percent(known.match.share))
    out.nodes[found] = Node(voice.title(evidence.item), last, "found")
    for path in evidence.paths:
        _walk(out, path, voice, last)
    joined = {start for start, _, _ in out.arrows} | {end for _, end, _ in out.arrows}
    for known in evidence.known:
        start = _key(known.item)
        shared = evidence.shared(known.label, *_SHARED)[:_SHARED_MOST]
        for trait in shared:
            key = f"trait:{trait.casefold()}"
            out.nodes.setdefault(key, Node(voice.trait(trait, shown), 1, "thing"))
            out.arrow(start, key)
            out.arrow(key, found)
        if not shared and start not in joined:
            out.arrow(start, found)
    return out


def _walk(out: Picture, path: Path, voice: Voice, last: int) -> None:
    """A path's things between its ends, a layer each, and its relations in the direction in which they are true."""
    at = path.start
    for step, relation in enumerate(path.relations, 1):
        forward = _same(relation.subject, at)
        near = relation.object if forward else relation.subject
        end = step == len(path.relations)
        if not end:
            out.nodes.setdefault(_key(near), Node(near.name, min(step, last - 1), "thing"))
        words = relation.predicate.replace("_", " ")
        pattern = voice.sentences.relations.get(relation.predicate)
        label = pattern.format(subject="", object="", predicate=words).strip() if pattern else words
        start, stop = (at, near) if forward else (near, at)
        out.arrow(_key(start), _key(stop), label)
        at = near


def _same(one: Entity, other: Entity) -> bool:
    return (one.domain, one.id) == (other.domain, other.id)


def _key(thing: Item | Entity) -> str:
    return f"{thing.domain}:{thing.id}" if thing.domain else f"name:{thing.id}"


def mermaid(drawn: Picture) -> str:
    """The picture as a Mermaid flowchart, from left to right."""
    ids = {key: f"n{number}" for number, key in enumerate(drawn.nodes)}
    lines = ["flowchart LR"]
    for key, node in drawn.nodes.items():
        lines.append(f'  {ids[key]}["{_entities(node.text)}"]:::{node.kind}')
    for start, end, label in drawn.arrows:
        words = f'|"{_entities(label)}"|' if label else ""
        lines.append(f"  {ids[start]} -->{words} {ids[end]}")
    lines += [
        "  classDef known fill:#dbeafe,stroke:#6b7280,color:#1f2937",
        "  classDef thing fill:#f3f4f6,stroke:#6b7280,color:#1f2937",
        "  classDef found fill:#dcfce7,stroke:#6b7280,color:#1f2937",
    ]
    return "\n".join(lines) + "\n"


def _entities(text: str) -> str:
    """Text as Mermaid shows it as it is: what might be a mark to it or to Markdown stands as its number."""
    return "".join(c if c.isalnum() or c in _HARMLESS else f"#{ord(c)};" for c in visible(text))
