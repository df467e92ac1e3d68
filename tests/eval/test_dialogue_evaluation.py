"""Promises of the dialogue test: that it is large, that it can fail, and that the rules pass it."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import pytest
from fake_llm import FakeLLM, answer, status
from rich.console import Console
from socket_llm import SocketLLM

from eval.studies import load_results, measure_dialogues, merge_results, print_dialogues, save_results
from eval.studies.dialogue_evaluation import ReaderResult, TurnResult, load_dialogues, run_dialogue
from retrieval.errors import DataError
from retrieval.store import Store
from retrieval.types import Item
from xdrec_agent.converse import Lexicon, Understanding
from xdrec_agent.errors import LLMError
from xdrec_agent.settings import Settings

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
    (rules,) = await measure_dialogues(PACK, None)
    shares = {row.kind: row.share for row in rules.rows}
    assert shares["tuned"] >= 0.95
    assert shares["held out"] >= 0.95


def reading(right=(), **changes):
    """A result in which these of four turns are right."""
    turns = (
        TurnResult(
            dialogue="d", number=n, language="en" if n < 3 else "zh", held_out=n == 4, say="?", kind=f"k{n % 2}",
            right=n in right,
        )
        for n in range(1, 5)
    )  # fmt: skip
    return ReaderResult(**({"reader": "rules", "turns": tuple(turns)} | changes))


def test_readers_are_shown_side_by_side():
    """One table by kind of turn with a column a reader, and what a model changes, turn by turn."""
    with_model = reading({1, 2, 3}, reader="rules+m", failed=1)
    out = Console(width=120, record=True, file=io.StringIO())
    print_dialogues([reading({1, 4}), with_model], out, failures=False)
    lines = [line.split() for line in out.export_text().splitlines()]
    assert ["all", "4", "2", "(50.0%)", "3", "(75.0%)"] in lines
    assert ["k0", "2", "1", "(50.0%)", "1", "(50.0%)"] in lines
    assert ["zh", "2", "1", "(50.0%)", "1", "(50.0%)"] in lines
    assert ["held", "out", "1", "1", "(100.0%)", "0", "(0.0%)"] in lines
    (told,) = (" ".join(line) for line in lines if line[:1] == ["rules+m:"])
    assert "2 turns right that the rules read wrongly, 1 the other way (p = 1); no usable answer to 1" in told


def test_results_of_several_models_come_together(tmp_path):
    """A later run of a model takes the place of an earlier one, and others stay; a file that is none is bad data."""
    file = tmp_path / "deep" / "chat.json"
    assert load_results(file) == ()
    first = merge_results((), [reading({1}), reading({1}, reader="rules+a")])
    save_results(file, merge_results(first, [reading({2}), reading({2}, reader="rules+b")]))
    found = load_results(file)
    assert [one.reader for one in found] == ["rules", "rules+a", "rules+b"]
    assert found[0] == reading({2})
    file.write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match=r"chat\.json"):
        load_results(file)


async def test_a_model_is_asked_about_many_dialogues_at_once_and_once_only(tmp_path):
    """Slow replies are waited for together; what was answered before a stop is not asked again; progress is told."""
    fake, most, now = FakeLLM(text=lambda _body: "{}"), 0, 0

    async def slow(fake, body):
        nonlocal most, now
        now += 1
        most = max(most, now)
        for _ in range(20):
            await asyncio.sleep(0)
        now -= 1
        return answer(fake, body)

    fake.then(*[slow] * 500)
    told = []
    with SocketLLM(fake) as llm:
        settings = Settings(home=tmp_path, llm={"base_url": llm.base_url, "model": "fake", "concurrency": 6})
        rules, both = await measure_dialogues(PACK, settings, told.append)
        asked = len(fake.calls)
        again = await measure_dialogues(PACK, settings, told.append)
    assert both.reader == "rules+fake"
    assert both.failed == 0
    assert len(both.turns) == len(rules.turns)
    assert 1 < most <= 6
    assert again == [rules, both]
    assert len(fake.calls) == asked
    assert any("rules+fake" in line for line in told)


async def test_an_outage_is_no_wrong_turn(tmp_path):
    """A server that is away or refuses ends the run with an error, so that nobody takes it for the model's accuracy."""
    fake = FakeLLM()
    fake.then(*[status(401)] * 500)
    with SocketLLM(fake) as llm:
        settings = Settings(home=tmp_path, llm={"base_url": llm.base_url, "model": "fake", "attempts": 1})
        with pytest.raises(LLMError):
            await measure_dialogues(PACK, settings)


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
