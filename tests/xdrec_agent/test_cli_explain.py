"""Promises of `xdrec explain`: each question in each form, from the kept answers alone where that is enough."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from retrieval.ingest import IngestRequest, ingest
from retrieval.store import Store
from retrieval.types import History, HistoryEntry, Item, Match, Query
from xdrec_agent.cli import app
from xdrec_agent.recommend import RecommendationLog
from xdrec_agent.types import Recommendation, Recommendations

FILM = Item(domain="films", id="alien", title="Alien", aliases=("异形",), categories=("horror",))
BOOKS = [
    Item(domain="books", id="dracula", title="Dracula", categories=("horror",)),
    Item(domain="books", id="emma", title="Emma"),
]


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDREC_MODELS_DIR", str(tmp_path / "models"))
    return tmp_path / "home"


@pytest.fixture
def xdrec(home):
    def run(*arguments):
        return CliRunner().invoke(app, ["--home", str(home), *arguments])

    return run


@pytest.fixture
def answer(home, tmp_path):
    """The id of a kept answer with two books, one of which a relation links to the film."""
    home.mkdir()
    url = f"sqlite:///{home / 'store.sqlite'}"
    with Store.open(url) as store:
        store.upsert_items([FILM, *BOOKS], "run")
        triples = tmp_path / "t.csv"
        triples.write_text("subject,predicate,object\nalien,influenced_by,dracula\n")
        ingest(store, IngestRequest(triples, kind="relations"))
    items = tuple(
        Recommendation(
            rank=n,
            item=book,
            score=1 / n,
            retrieval_rank=n,
            matches=(Match(domain="films", item="alien", similarity=0.4, share=1.0),),
        )
        for n, book in enumerate(BOOKS, 1)
    )
    query = Query(history=History(user="ada", entries=(HistoryEntry(item=FILM),)), target="books", k=2)
    given = Recommendations(user="ada", sources=("films",), target="books", items=items, source="retrieval")
    with RecommendationLog.open(url) as answers:
        return answers.add(query, given)


def test_why_for_people_and_programs(xdrec, answer):
    """Text, JSON and Markdown tell the same: who speaks for it, the path, and in Markdown the picture."""
    done = xdrec("explain", answer)
    assert done.exit_code == 0
    assert "“Dracula”" in done.stdout
    assert "“Alien” was influenced by “Dracula”" in done.stdout
    found = json.loads(xdrec("explain", "--last", "--json").stdout)
    assert (found["answer"], found["rank"], found["source"]) == (answer, 1, "evidence")
    assert [path["relations"][0]["predicate"] for path in found["paths"]] == ["influenced_by"]
    text = xdrec("explain", answer, "1", "--markdown").stdout
    assert text.startswith("# Why “Dracula”")
    assert "```mermaid\nflowchart LR" in text
    assert "《异形》" in xdrec("explain", answer, "--lang", "zh").stdout


def test_over_and_ranks(xdrec, answer):
    """--last takes a rank alone; --over compares two."""
    assert "“Emma”" in xdrec("explain", "--last", "2").stdout
    done = xdrec("explain", "--last", "2", "--over", "1", "--json")
    assert json.loads(done.stdout)["ranks"] == [1, 2]


def test_why_not_needs_the_index(xdrec, answer):
    """What needs scoring needs the encoder, and the error names the command that fetches it."""
    done = xdrec("explain", "--last", "--why-not", "Emma")
    assert done.exit_code == 3
    assert "xdrec models pull" in done.stderr


def test_pictures_are_written_by_suffix(xdrec, answer, tmp_path):
    """SVG or Mermaid, also beside another question; any other suffix is a usage error."""
    drawing, diagram = tmp_path / "why.svg", tmp_path / "why.mmd"
    assert xdrec("explain", answer, "--picture", str(drawing)).exit_code == 0
    assert xdrec("explain", answer, "1", "--over", "2", "--picture", str(diagram)).exit_code == 0
    assert ElementTree.parse(drawing).getroot().tag.endswith("svg")  # noqa: S314 (made here)
    assert diagram.read_text().startswith("flowchart LR")
    assert xdrec("explain", answer, "--picture", str(tmp_path / "why.png")).exit_code == 2
    assert xdrec("explain", answer, "--picture", str(tmp_path / "no" / "why.svg")).exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nothing",),
        ("ANSWER", "--last"),
        ("ANSWER", "9"),
        ("ANSWER", "1", "--over", "1"),
        ("ANSWER", "--over", "2", "--without", "Alien"),
        ("ANSWER", "--markdown", "--json"),
        ("ANSWER", "--lang", "tlh"),
    ],
)
def test_usage_errors(xdrec, answer, arguments):
    """What makes no sense is exit code 2 with a hint."""
    done = xdrec("explain", *(answer if argument == "ANSWER" else argument for argument in arguments))
    assert done.exit_code == 2
    assert "→" in done.stderr or '"hint"' in done.stdout


def test_without_a_store_nothing_is_made(xdrec, home):
    """Looking makes no store."""
    assert xdrec("explain", "--last").exit_code == 3
    assert not home.exists()
