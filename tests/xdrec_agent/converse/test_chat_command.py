"""Promises of `xdrec chat` that need no model and no index."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from retrieval.store import Store
from retrieval.types import Item
from xdrec_agent import cli


@pytest.fixture
def xdrec(tmp_path, monkeypatch):
    monkeypatch.setenv("XDREC_MODELS_DIR", str(tmp_path / "models"))
    encoder = tmp_path / "models" / "minilm-taste"  # never loaded: nothing is ranked here
    encoder.mkdir(parents=True)
    (encoder / "config.json").write_text("{}", encoding="utf-8")
    with Store.open(f"sqlite:///{tmp_path}/store.sqlite") as store:
        items = [("films", "Alien"), ("films", "Stalker"), ("books", "Solaris")]
        store.upsert_items([Item(domain=d, id=t.casefold(), title=t) for d, t in items], "run")

    def run(*arguments, **more):
        return CliRunner().invoke(cli.app, ["--home", str(tmp_path), *arguments], **more)

    return run


def events(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_scripted_dialogue_prints_events_and_can_be_gone_on_with(xdrec):
    """--say and --json: one event a line; --resume knows what was said; --list shows it, --delete ends it."""
    done = xdrec("chat", "--to", "books", "--from", "films", "--say", "no horror", "--json")
    assert done.exit_code == 0, done.output
    assert [event["type"] for event in events(done)] == ["understood", "said", "asked", "done"] or [
        event["type"] for event in events(done)
    ] == ["understood", "asked", "done"]
    id_ = events(done)[-1]["dialogue"]
    done = xdrec("chat", "--resume", id_, "--say", "hello", "--json")
    assert events(done)[0]["state"]["target"] == "books"
    (listed,) = json.loads(xdrec("chat", "--list", "--json").stdout)
    assert (listed["id"], listed["turns"], listed["first"]) == (id_, 2, "no horror")
    assert "no horror" in xdrec("chat", "--list").stdout
    assert xdrec("chat", "--delete", id_).exit_code == 0
    assert xdrec("chat", "--resume", id_, "--say", "hello").exit_code == 2


def test_it_talks_at_the_terminal_until_told_to_stop(xdrec):
    """Lines in, sentences out; the greeting names how to come back; control characters are not shown."""
    done = xdrec("chat", "--to", "books", "--lang", "zh", input="你好\n/quit\n")
    assert done.exit_code == 0, done.output
    assert "你好！" in done.stdout
    assert "xdrec chat --resume" in done.stdout
    shown = xdrec("chat", "--to", "books", "--from", "films", "--say", "I loved “\x1b[2JNo Such Film”").stdout
    assert "No Such Film" in shown
    assert "\x1b" not in shown


def test_what_makes_no_sense_is_a_usage_error(xdrec):
    """A language that is not there, a domain that is not there, a dialogue that is not there."""
    for arguments in (["--lang", "xx"], ["--to", "music", "--say", "x"], ["--delete", "x"], ["--resume", "x"]):
        assert xdrec("chat", *arguments).exit_code == 2
