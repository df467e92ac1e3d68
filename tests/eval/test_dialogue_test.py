"""Promises of the dialogue test: that it is large, that it can fail, and that the rules pass it."""

from __future__ import annotations

from pathlib import Path

import pytest

from eval.dialogue_report import measured
from eval.dialogue_test import load_dialogues, run_dialogue
from retrieval.errors import DataError
from retrieval.store import Store
from retrieval.types import Item
from xdrec_agent.converse.lexicon import Lexicon
from xdrec_agent.converse.understanding import Understanding

PACK = Path(__file__).resolve().parents[2] / "examples" / "films-books"


def test_the_set_is_large_in_both_languages():
    """At least 160 turns, 60 in each language, a third of all held out."""
    dialogues = load_dialogues()
    turns = {lang: sum(len(d.turns) for d in dialogues if d.language == lang) for lang in ("en", "zh")}
    held = sum(len(d.turns) for d in dialogues if d.held_out)
    assert sum(turns.values()) >= 160
    assert min(turns.values()) >= 60
    assert 0.3 <= held / sum(turns.values()) <= 0.4


async def test_the_rules_alone_read_95_percent_right():
    """Of the turns that they were made with and of the held-out ones."""
    (rules,) = await measured(PACK, None)
    assert rules.tuned[0].share >= 0.95
    assert rules.held_out[0].share >= 0.95


async def test_a_reader_that_understands_nothing_fails(tmp_path):
    """What a turn should have changed and did not is wrong, and said."""
    (script,) = (d for d in load_dialogues() if d.id == "en-length")

    async def nothing(text, state):
        return Understanding()

    with Store.open(f"sqlite:///{tmp_path}/store.sqlite") as store:
        ids = {i for t in script.turns for i in (*t.like, *t.shows)}
        domain = {i: "films" if i.endswith("2000") else "books" for i in ids}
        store.upsert_items([Item(domain=domain[i], id=i, title=i) for i in ids], "run")
        results = await run_dialogue(script, Lexicon(store), nothing)
    assert [r.right for r in results] == [False, False, False, False]
    assert any("likes" in wrong for wrong in results[0].wrong)
    assert any("k:" in wrong for wrong in results[3].wrong)


def test_a_file_that_is_none_is_bad_data(tmp_path):
    """With its name."""
    path = tmp_path / "d.yaml"
    path.write_text("- {id: x, turns: 3}", encoding="utf-8")
    with pytest.raises(DataError, match=r"d\.yaml"):
        load_dialogues(path)
