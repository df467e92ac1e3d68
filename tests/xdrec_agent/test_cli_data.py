"""Promises of the commands about data and people: nothing is made by looking, and nothing of a person is forgotten."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner
from word_encoder import WordEncoder

from retrieval.index import INTERACTIONS_FILE, Index
from retrieval.settings import IndexSettings
from retrieval.store import Store
from retrieval.templates import load_template
from xdrec_agent.app.indexes import index_state
from xdrec_agent.app.personal_data import PLACES
from xdrec_agent.cli import app

FILMS = "id,title\na,Alien\nc,Cube\n"
RATINGS = "user,item,rating\nada,a,5\nada,c,9\nbob,a,4\nbob,gone,4\n"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDREC_MODELS_DIR", str(tmp_path / "models"))
    return tmp_path / "home"


@pytest.fixture
def xdrec(home):
    """Run a command in a home of its own."""

    def run(*arguments, stdin=None):
        return CliRunner().invoke(app, ["--home", str(home), *arguments], input=stdin)

    return run


@pytest.fixture
def filled(xdrec, tmp_path):
    """A home with two films, a good rating of each user and a refused one."""
    for name, text in {"films.csv": FILMS, "ratings.csv": RATINGS}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert xdrec("ingest", "films", str(tmp_path / name)).exit_code == 0


@pytest.mark.parametrize("command", ["domains", "index", "users list", "users export ada", "doctor", "llm status"])
def test_looking_makes_nothing(xdrec, home, command):
    """Where there is no store, no command but ingest makes one; the error names ingest."""
    done = xdrec(*command.split())
    assert done.exit_code in {2, 3}
    assert not home.exists()


def test_a_missing_store_is_named(xdrec, home):
    """A wrong working folder is recognised by the path in the message."""
    done = xdrec("domains")
    assert str(home / "store.sqlite") in done.stderr
    assert "xdrec ingest DOMAIN FILE" in done.stderr


@pytest.mark.usefixtures("filled")
def test_domains_say_that_an_index_cannot_be_compared_without_the_encoder(xdrec):
    """Sizes are shown all the same, and the command that fetches the encoder."""
    (shown,) = json.loads(xdrec("domains", "--json").stdout)
    assert (shown["items"], shown["interactions"], shown["index"]) == (2, 2, "unknown")
    assert "xdrec models pull minilm-taste" in xdrec("domains").stdout


@pytest.mark.usefixtures("filled")
def test_an_index_is_missing_then_current_then_stale_and_never_of_another_encoder(home):
    """Each state comes with the command that mends it."""
    with Store.open(f"sqlite:///{home / 'store.sqlite'}") as store:

        def state(fingerprint="words"):
            encoder = WordEncoder(fingerprint)
            with Index(home / "index", encoder, load_template("item"), IndexSettings()) as index:
                return index_state(index, store.domains()[0])

        assert (state().state, state().next) == ("missing", "xdrec index films")
        with Index(home / "index", WordEncoder(), load_template("item"), IndexSettings()) as index:
            index.build(store, "films")
        assert (state().state, state().next) == ("current", "")
        assert (state("other").state, state("other").next) == ("mismatch", "xdrec index films --rebuild")
        store.delete_items("films", ["a"])
        assert (state().state, state().next) == ("stale", "xdrec index films")


@pytest.mark.usefixtures("filled")
def test_deleted_items_are_gone_with_their_interactions(xdrec):
    """Known ones are counted, and the next command named; unknown ones are an error."""
    done = xdrec("items", "delete", "films", "a", "never-there")
    assert (done.exit_code, done.stdout) == (0, "films: 1 deleted\n")
    assert "xdrec index films" in done.stderr
    assert json.loads(xdrec("users", "list", "--json").stdout) == []
    assert xdrec("items", "delete", "films", "a").exit_code == 2


@pytest.mark.usefixtures("filled")
def test_an_export_holds_what_every_place_keeps_of_this_person_alone(xdrec):
    """The store's interactions and the rows that the import refused."""
    kept = json.loads(xdrec("users", "export", "ada").stdout)
    assert [i["item"] for i in kept["interactions"]] == ["a"]
    assert [r["row"]["rating"] for r in kept["rejected_rows"]] == ["9"]
    assert "bob" not in json.dumps(kept)


@pytest.mark.usefixtures("filled")
def test_deleting_a_person_reaches_every_place_and_nobody_else(xdrec, home):
    """The report counts each place; a second deletion finds nobody."""
    done = xdrec("users", "delete", "ada", "--yes")
    counts = {"interactions": 1, "rejected_rows": 1}
    assert done.stdout == "".join(f"{place}: {counts.get(place, 0)} deleted\n" for place in PLACES)
    left = json.loads(xdrec("users", "export", "bob").stdout)
    assert (len(left["interactions"]), len(left["rejected_rows"])) == (1, 1)
    assert all(b"ada" not in file.read_bytes() for file in (home / "rejects").iterdir())
    assert xdrec("users", "delete", "ada", "--yes").exit_code == 2


@pytest.mark.usefixtures("filled")
def test_a_deletion_reaches_what_an_index_copied(xdrec, home):
    """What an index run copied of a person is exported and deleted with the rest; other people's stays."""
    with (
        Store.open(f"sqlite:///{home / 'store.sqlite'}") as store,
        Index(home / "index", WordEncoder(), load_template("item"), IndexSettings()) as index,
    ):
        index.build(store, "films")
    copied = [{"domain": "films", "item": "a", "preference": 1.0, "timestamp": None}]
    assert json.loads(xdrec("users", "export", "ada").stdout)["indexed_interactions"] == copied
    file = home / "index" / INTERACTIONS_FILE
    assert b"ada" in file.read_bytes()
    assert "indexed_interactions: 1 deleted" in xdrec("users", "delete", "ada", "--yes").stdout
    assert b"ada" not in file.read_bytes()
    assert json.loads(xdrec("users", "export", "bob").stdout)["indexed_interactions"] == [
        copied[0] | {"preference": 0.5}
    ]


@pytest.mark.usefixtures("filled")
def test_nobody_is_deleted_without_a_yes(xdrec):
    """A no at the question leaves everything as it was."""
    assert xdrec("users", "delete", "ada", stdin="n\n").exit_code == 1
    assert json.loads(xdrec("users", "list", "--json").stdout) == ["ada", "bob"]


def test_rows_whose_user_cannot_be_told_are_deleted_and_never_shown(xdrec, tmp_path):
    """A column of an unusual name may hold the person: the row goes with them, but no export shows it."""
    files = {"films.csv": FILMS, "odd.csv": "viewer,item,rating\nada,a,5\nada,gone,4\nbob,gone,4\nada,c\n"}
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    xdrec("ingest", "films", str(tmp_path / "films.csv"))
    assert xdrec("ingest", "films", str(tmp_path / "odd.csv"), "--column", "user=viewer").exit_code == 0
    assert json.loads(xdrec("users", "export", "ada").stdout)["rejected_rows"] == []
    assert "rejected_rows: 2 deleted" in xdrec("users", "delete", "ada", "--yes").stdout


def test_a_domain_may_have_any_name(xdrec, tmp_path):
    """A name with slashes neither fails nor writes a rejects file elsewhere."""
    file = tmp_path / "films.csv"
    file.write_text("id,title\na,Alien\nb,\n", encoding="utf-8")
    done = xdrec("ingest", "../../films", str(file), "--json")
    assert done.exit_code == 0
    kept = json.loads(done.stdout)["rejects_file"]
    assert kept == str(tmp_path / "home" / "rejects" / "..%2F..%2Ffilms-films.csv.jsonl")


@pytest.mark.usefixtures("filled")
def test_relations_are_ingested_without_a_domain(xdrec, home, tmp_path):
    """The report counts by predicate, for people and programs; bad rows are kept; a domain does not go with them."""
    file = tmp_path / "relations.csv"
    file.write_text("subject,predicate,object\na,directed_by,Ridley Scott\na,about,films:none\n", encoding="utf-8")
    done = xdrec("ingest", "--relations", str(file))
    assert (done.exit_code, "1 new" in done.stdout, "1 rejected" in done.stdout) == (0, True, True)
    assert "directed_by" in done.stdout
    assert "line 3" in done.stderr
    assert json.loads((home / "rejects" / "relations-relations.csv.jsonl").read_text())["line"] == 3
    again = json.loads(xdrec("ingest", "--relations", str(file), "--json").stdout)
    assert again["predicates"]["directed_by"] == {"added": 0, "unchanged": 1, "repeated": 0, "rejected": 0}
    assert xdrec("ingest", "films", "--relations", str(file)).exit_code == 2
    assert xdrec("ingest", "films").exit_code == 2
