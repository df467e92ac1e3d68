"""Promises of the picture: well-formed whatever the titles are, and it shows what the evidence holds."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from retrieval.types import Candidate, Entity, History, HistoryEntry, Item, Match, Path, Relation
from xdrec_agent.explain import load_locale
from xdrec_agent.grounding import gather
from xdrec_agent.posthoc import draw, mermaid, svg

LOCALE = load_locale("en", "short")
SVG = "{http://www.w3.org/2000/svg}"


def evidence(film="Blade Runner", book="Do Androids Dream?", theme="memory", step="Philip K. Dick"):
    """Two films, of which one shares a theme with the book and the other is linked to it by a path of two steps."""
    films = [
        Item(domain="films", id="f1", title=film, attributes={"themes": (theme,)}),
        Item(domain="films", id="f2", title="Total Recall"),
    ]
    found = Item(domain="books", id="b1", title=book, attributes={"themes": (theme,)})
    matches = tuple(
        Match(domain="films", item=f.id, similarity=0.5, share=share)
        for f, share in zip(films, (0.7, 0.3), strict=True)
    )
    one, other = (Entity(domain=i.domain, id=i.id, name=i.title) for i in (films[1], found))
    author = Entity(id=step, name=step)
    path = Path(
        start=one,
        end=other,
        relations=(
            Relation(subject=one, predicate="written_by", object=author),
            Relation(subject=other, predicate="written_by", object=author),
        ),
    )
    history = History(entries=tuple(HistoryEntry(item=f) for f in films))
    candidate = Candidate(item=found, score=1, matches=matches)
    return gather(candidate, history, None, 3, lambda _liked, _item: [path])


def texts(drawn):
    root = ElementTree.fromstring(svg(drawn))  # noqa: S314 (made here)
    return root, ["".join(node.itertext()) for node in root.iter(f"{SVG}text")]


def test_the_picture_shows_items_traits_and_relations():
    """Films at the left with their shares, the book at the right; relations point the way in which they are true."""
    drawn = draw(evidence(), LOCALE)
    root, shown = texts(drawn)
    assert {"Total Recall (30%)", "memory", "Philip K. Dick", "was written by"} <= set(shown)
    labels = {key: node.label for key, node in drawn.nodes.items()}
    arrows = {(labels[start], labels[end]) for start, end, _ in drawn.arrows}
    assert arrows == {
        ("Blade Runner", "memory"),
        ("memory", "Do Androids Dream?"),
        ("Total Recall", "Philip K. Dick"),
        ("Do Androids Dream?", "Philip K. Dick"),
    }
    layers = [node.layer for node in drawn.nodes.values()]
    assert drawn.nodes["books:b1"].layer == max(layers)
    assert root.find(f"{SVG}title").text == "Do Androids Dream?"
    assert "Total Recall → was written by → Philip K. Dick" in root.find(f"{SVG}desc").text


def test_nothing_lies_outside_or_upon_another():
    """Boxes are within the frame and do not overlap, also with long titles in wide letters."""
    drawn = draw(
        evidence(film="银翼杀手" * 30, book="A very long title of very many words " * 9, theme="m" * 200), LOCALE
    )
    root, _ = texts(drawn)
    width, height = float(root.get("width")), float(root.get("height"))
    boxes = [
        tuple(float(box.get(side)) for side in ("x", "y", "width", "height"))
        for box in root.iter(f"{SVG}rect")
        if box.get("class") != "back"
    ]
    assert len(boxes) == len(drawn.nodes)
    for x, y, wide, tall in boxes:
        assert 0 <= x <= x + wide <= width
        assert 0 <= y <= y + tall <= height
    for n, (x, y, wide, tall) in enumerate(boxes):
        for x2, y2, wide2, tall2 in boxes[n + 1 :]:
            assert x + wide <= x2 or x2 + wide2 <= x or y + tall <= y2 or y2 + tall2 <= y


def test_one_item_alone_is_a_picture_too():
    """Where nothing is known (a query by text) there is one box."""
    found = gather(Candidate(item=Item(domain="books", id="b", title="Dune"), score=1), History(), "sand", 3)
    drawn = draw(found, LOCALE)
    assert texts(drawn)[1] == ["Dune"]
    assert mermaid(drawn).startswith('flowchart LR\n  n0["Dune"]:::found\n')


def test_the_style_reaches_nothing_else_on_a_page():
    """Every rule is bound to the picture's class, and nothing is loaded from anywhere."""
    text = svg(draw(evidence(), LOCALE))
    style = re.search("<style>(.*)</style>", text)[1].replace("@media(prefers-color-scheme:dark){", "")
    selectors = [rule.partition("{")[0].lstrip("}") for rule in re.findall(r"[^{}]*{", style)]
    assert all(selector.startswith(".xdrec-picture") for selector in selectors)
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


HOSTILE = st.text(max_size=60) | st.sampled_from(
    [
        '"]; click n0 "javascript:alert(1)"',
        "</text><script>alert(1)</script>",
        "&lt;b&gt;",
        "end",
        "%%{init}%%",
        "`1. x`",
    ]
)


@given(HOSTILE.filter(str.strip), HOSTILE.filter(str.strip), HOSTILE.filter(str.strip), HOSTILE.filter(str.strip))
def test_titles_are_text_and_nothing_else(film, book, theme, step):
    """Whatever titles, themes and names hold, the SVG is well-formed with known elements, the Mermaid has its lines."""
    drawn = draw(evidence(film, book, theme, step), LOCALE)
    root, _ = texts(drawn)
    known = {"svg", "title", "desc", "style", "defs", "marker", "path", "rect", "text"}
    assert {node.tag.removeprefix(SVG) for node in root.iter()} <= known
    assert len(list(root.iter(f"{SVG}rect"))) == len(drawn.nodes) + 1
    for line in mermaid(drawn).splitlines()[1:]:
        assert re.fullmatch(
            r'  (n\d+\["[\w ,:!?’–—…、，。：！？（）#;]*"\]:::\w+'
            r'|n\d+ -->(\|"[\w ,:!?’–—…、，。：！？（）#;]*"\|)? n\d+|classDef .*)',
            line,
        )
