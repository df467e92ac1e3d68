"""Promises of `xdrec ingest` where there is an index: a new item can be recommended as soon as the command returns."""

from __future__ import annotations

import json
import shutil

import pytest
from little_encoder import save_encoder
from typer.testing import CliRunner

from xdrec_agent.cli import app

WORDS = ("space", "ships", "love", "paris", "crime", "london")
ABOUT = {"space": "space ships", "love": "love paris", "crime": "crime london"}


def catalogue(prefix, names, about):
    rows = (f"{prefix}-{n},{name},{about}" for n, name in enumerate(names))
    return "\n".join(["id,title,description", *rows]) + "\n"


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    save_encoder(folder / "minilm-taste", WORDS)
    return folder


@pytest.fixture
def models(tmp_path, encoder, monkeypatch):
    folder = tmp_path / "models"
    shutil.copytree(encoder, folder)
    monkeypatch.setenv("XDREC_MODELS_DIR", str(folder))
    monkeypatch.setenv("XDREC_DEVICE", "cpu")
    return folder


@pytest.fixture
def xdrec(tmp_path, models):
    """Run a command in a home of its own; text is given as a file."""

    def run(*arguments, text=None):
        if text is not None:
            (tmp_path / "rows.csv").write_text(text, encoding="utf-8")
            arguments = (*arguments, str(tmp_path / "rows.csv"))
        return CliRunner().invoke(app, ["--home", str(tmp_path / "home"), *arguments])

    return run


@pytest.fixture
def indexed(xdrec):
    """Films and books of three themes, indexed."""
    for domain in ("films", "books"):
        for theme, about in ABOUT.items():
            names = [f"{theme} {domain} {n}" for n in range(3)]
            done = xdrec("ingest", domain, text=catalogue(f"{theme}-{domain}", names, about))
            assert (done.exit_code, done.stderr) == (0, "")  # without an index nothing is said of one
    assert xdrec("index").exit_code == 0


def books_for(xdrec, title):
    asked = ("recommend", "--from", "films", "--to", "books", "--like", title, "--rerank", "identity")
    done = xdrec(*asked, "--no-explain", "--json", "-k", "20")
    assert done.exit_code == 0, done.stderr
    return [item["item"]["title"] for item in json.loads(done.stdout)["items"]]


@pytest.mark.usefixtures("indexed")
def test_a_new_item_is_recommended_after_ingest(xdrec):
    """One command, no `xdrec index`: the item is first where it fits best, and others keep their places."""
    before = books_for(xdrec, "space films 1")
    done = xdrec("ingest", "books", text=catalogue("new", ["Voyager"], "space ships space ships"))
    assert done.exit_code == 0
    assert "books: new in the index: 1 (" in done.stderr
    after = books_for(xdrec, "space films 1")
    assert after.index("Voyager") < after.index("love books 0")
    assert [title for title in after if title != "Voyager"] == before


@pytest.mark.usefixtures("indexed")
def test_json_stays_alone_on_stdout(xdrec):
    """What became of the index is a remark, no data."""
    done = xdrec("ingest", "books", "--json", text=catalogue("new", ["Voyager"], "space"))
    assert json.loads(done.stdout)["added"] == 1
    assert "new in the index: 1" in done.stderr


@pytest.mark.usefixtures("indexed")
def test_many_new_items_wait_for_a_run(xdrec, monkeypatch):
    """More than `index.incremental_limit`: nothing is embedded, and the command that does it is named."""
    monkeypatch.setenv("XDREC_INDEX__INCREMENTAL_LIMIT", "2")
    done = xdrec("ingest", "books", text=catalogue("new", ["A", "B", "C"], "space"))
    assert "books: new and not in the index: 3 → xdrec index books" in done.stderr
    assert not {"A", "B", "C"} & set(books_for(xdrec, "space films 1"))


@pytest.mark.usefixtures("indexed")
def test_it_can_be_turned_off(xdrec, monkeypatch):
    """With 0 ingesting is what it was: rows go into the store, and nothing is said of the index."""
    monkeypatch.setenv("XDREC_INDEX__INCREMENTAL_LIMIT", "0")
    done = xdrec("ingest", "books", text=catalogue("new", ["Voyager"], "space"))
    assert (done.exit_code, done.stderr) == (0, "")
    assert "Voyager" not in books_for(xdrec, "space films 1")


@pytest.mark.usefixtures("indexed")
def test_without_the_encoder_items_are_ingested_all_the_same(xdrec, models):
    """A missing model is no reason to refuse a catalogue: it is said what to do."""
    shutil.rmtree(models)
    done = xdrec("ingest", "books", text=catalogue("new", ["Voyager"], "space"))
    assert done.exit_code == 0
    assert "1 new" in done.stdout
    assert "the index is as it was" in done.stderr
    assert "xdrec models pull minilm-taste" in done.stderr
