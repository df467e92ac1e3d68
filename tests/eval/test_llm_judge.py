"""Promises of the pairwise judge: places are found out, users are the units, and what is identical is a tie."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from fake_llm import FakeLLM, status
from typer.testing import CliRunner

from eval.cli import app
from eval.report import html_of, judge_page, markdown_of
from eval.studies import judge_pairs, judge_result, pairs_of, read_explained
from eval.studies.explanations import Explained
from eval.studies.llm_judge import SHOWN, Judged, Preference
from retrieval.errors import DataError, TemplateError, UsageError
from retrieval.templates import load_template
from retrieval.types import Item
from xdrec_agent.errors import LLMRefused, LLMReplyInvalid
from xdrec_agent.llm import LLMClient
from xdrec_agent.settings import LLMSettings
from xdrec_agent.types import Explanation

TEMPLATE = load_template("compare")
FILM = Item(domain="films", id="f", title="Old Harbour", creators=("B. Maker",))
USERS = tuple(f"person-{n:02}" for n in range(24))


def row(user, text, n=0):
    """An explanation of the user's n-th book."""
    item = Item(domain="books", id=f"b{n}", title=f"Book {n}", creators=("A. Writer",))
    said = Explanation(text=text, source="evidence")
    return Explained(
        id=f"{user}/b{n}", user=user, rank=n + 1, item=item, liked=(FILM,), closest=None, relations=(),
        explanation=said, seconds=0.1, right_language=True,
    )  # fmt: skip


def arm(text, users=USERS, books=2):
    """An explanation of each user's books, ends with its place in the list."""
    return [row(user, f"{text} {n}", n) for user in users for n in range(books)]


def says(choose):
    """A judge that chooses by what stands in the first and in the second answer."""

    def text(body):
        found = re.search(
            r"The first answer:\n(.*)\nThe second answer:\n(.*)\nWhich", body["messages"][-1]["content"], re.S
        )
        return json.dumps({"better": choose(*found.groups())}) if found else "Hello there"

    return FakeLLM(text=text)


def by(word):
    """A judge that prefers the answer in which the word stands, wherever it is."""
    return says(lambda first, second: "first" if word in first else "second" if word in second else "tie")


def quiet(_line):
    """Nobody listens."""


async def asked(fake, a, b, what="explanations", **more):
    client = LLMClient(fake.endpoint(), LLMSettings(attempts=1), http_client=fake.http_client())
    async with client:
        found, failed = await judge_pairs(client, TEMPLATE, pairs_of(a, b, what), quiet, **more)
    rng = np.random.default_rng(0)
    return judge_result(found, failed, ("short", "long"), what, ("fake", TEMPLATE.fingerprint), rng)


async def test_a_judge_that_always_says_first_is_found_out_and_decides_nothing():
    """Total position bias, no agreement, and a tie: its answers contradict each other in every pair."""
    found = await asked(says(lambda first, second: "first"), arm("plain"), arm("rich"))
    assert (found.b_wins, found.a_wins, found.ties, found.contradictions, found.pairs) == (0, 0, 0, 48, 48)
    assert (found.says_first.value, found.agreement.value, found.agreement_by_chance) == (1, 0, 0)
    assert found.win_rate == (0.5, None, None)
    assert not found.decided
    assert found.verdict == "a tie: the judge prefers neither short nor long in any pair, n = 24 users, 48 pairs"
    assert judge_page(found).notes[0] == (
        "The judge agrees with itself in 0% of the pairs when places are swapped (0% by chance) and says "
        '"first" in 100% of its decisions (50% without position bias).'
    )


async def test_a_judge_that_looks_at_the_answers_is_believed():
    """It prefers B wherever it stands: all pairs are B's, it agrees with itself, and has no position bias."""
    fake = by("rich")
    found = await asked(fake, arm("plain"), arm("rich"))
    assert (found.b_wins, found.a_wins, found.contradictions) == (48, 0, 0)
    assert (found.agreement.value, found.says_first.value) == (1, 0.5)
    assert found.win_rate[0] == 1
    assert found.verdict.startswith("long is preferred to short: win rate 1.00, p < .001, n = 24 users, 48 pairs")
    assert len(fake.calls) == found.usage.requests == 96
    other = await asked(by("plain"), arm("plain"), arm("rich"))
    assert other.verdict.startswith("short is preferred to long: win rate 1.00, p < .001")


async def test_ties_count_half_and_are_no_contradiction():
    """A judge that prefers B for half of the users and else says tie: a win rate of three quarters."""
    b = [row(user, "rich" if n % 2 else "also", 0) for n, user in enumerate(USERS)]
    found = await asked(by("rich"), arm("plain", books=1), b)
    assert (found.b_wins, found.ties, found.contradictions) == (12, 12, 0)
    rate, low, high = found.win_rate
    assert rate == 0.75
    assert 0.5 < low < 0.75 < high < 1
    assert found.agreement.value == 1


async def test_a_users_pairs_are_averaged():
    """Ten pairs of one user weigh as much as one of another."""
    a = [*arm("plain", USERS[:12], 1), *arm("plain", USERS[12:13], 10)]
    b = [*arm("also", USERS[:12], 1), *arm("rich", USERS[12:13], 10)]
    found = await asked(by("rich"), a, b)
    assert (found.preference.users, found.pairs) == (13, 22)
    assert found.preference.mean == pytest.approx(1 / 13)


async def test_whole_answers_are_compared_in_their_order():
    """A pair a user, whatever items are in the lists; the judge sees titles and reasons by rank."""
    b = list(reversed([row(user, f"rich {n}", n) for user in USERS for n in range(3, 6)]))
    fake = by("rich")
    found = await asked(fake, arm("plain"), b, "answers")
    assert (found.pairs, found.b_wins) == (24, 24)
    prompt = next(
        c["messages"][-1]["content"] for c in fake.calls if "first answer:\n- Book 0" in c["messages"][-1]["content"]
    )
    assert "- Book 0 by A. Writer: plain 0\n- Book 1 by A. Writer: plain 1" in prompt
    assert "- Book 3 by A. Writer: rich 3\n- Book 4 by A. Writer: rich 4" in prompt
    assert "- Old Harbour by B. Maker" in prompt
    with pytest.raises(UsageError, match="differ in") as refused:
        pairs_of(arm("plain"), b, "explanations")
    assert "--what answers" in refused.value.hint


async def test_identical_answers_are_ties_that_nobody_is_asked_about():
    """They cost nothing and say nothing of the judge."""
    fake = says(lambda first, second: "first")
    found = await asked(fake, arm("plain"), arm("plain"))
    assert (found.identical, found.ties, found.agreement, found.says_first) == (48, 48, None, None)
    assert fake.calls == []
    assert "the judge was not asked" in found.trust


async def test_a_pair_that_the_judge_fails_on_is_left_out_and_counted():
    """Never a made-up answer; if too few users are left the failure is the answer."""
    fake = by("rich")
    fake.then(status(400))
    found = await asked(fake, arm("plain", books=1), arm("rich", books=1), at_once=1)
    assert (found.failed, found.pairs) == (1, 23)
    assert "1 pairs were left out" in " ".join(judge_page(found).notes)
    fake.then(*[status(400)] * 200)
    with pytest.raises(LLMRefused):
        await asked(fake, arm("plain"), arm("rich"), at_once=1)


async def test_a_judge_that_answers_something_else_is_a_failed_one():
    """Only first, second or tie is an answer."""
    with pytest.raises(LLMReplyInvalid, match="is no Preference"):
        await asked(FakeLLM(text=lambda body: '{"better": "both"}'), arm("plain"), arm("rich"))


async def test_long_reasons_are_cut_and_that_is_told():
    """The judge sees as much of each; the report says of how many pairs it did not see all."""
    found = await asked(by("rich"), arm("plain"), arm("rich " * SHOWN))
    assert found.cut == 48
    assert "saw a reason only in part" in " ".join(judge_page(found).notes)


def test_chance_agreement_is_that_of_independent_answers():
    """Half of the time A and half of the time B in both orders: 50%."""
    answers = [("first", "second"), ("second", "first"), ("first", "first"), ("second", "second")]
    (shown,) = pairs_of([row("u", "x")], [row("u", "y")], "answers")
    made = [
        Judged(replace(shown, user=f"u{n}"), *(Preference(better=word) for word in answers[n % 4])) for n in range(12)
    ]
    assert [one.score for one in made[:4]] == [-1, 1, 0, 0]
    found = judge_result(made, 0, ("a", "b"), "answers", ("m", "f"), np.random.default_rng(0))
    assert (found.agreement_by_chance, found.agreement.value, found.says_first.value) == (0.5, 0.5, 0.5)
    assert found.verdict.startswith("cannot tell: b has a win rate of .50 [")


async def test_nobody_is_named_in_any_form():
    """The report holds counts and rates, no people and no texts."""
    page = judge_page(await asked(by("rich"), arm("plain"), arm("rich")))
    for text in (html_of(page), markdown_of(page), page.json):
        assert "person-" not in text
        assert "Old Harbour" not in text


def test_bad_input_is_refused(tmp_path):
    """A file that is none or holds something else, other people, fewer than ten of them."""
    with pytest.raises(DataError, match="cannot be read"):
        read_explained(tmp_path / "none.jsonl")
    (tmp_path / "bad.jsonl").write_text(arm("x")[0].model_dump_json() + '\n{"id": "x"}\n')
    with pytest.raises(DataError, match="line 2"):
        read_explained(tmp_path / "bad.jsonl")
    with pytest.raises(UsageError, match="differ in 2"):
        pairs_of(arm("x"), arm("x", USERS[1:]), "explanations")
    with pytest.raises(UsageError, match="twice"):
        pairs_of([*arm("x"), *arm("x")], arm("x"), "answers")
    few = [Judged(pair) for pair in pairs_of(arm("x", USERS[:9]), arm("x", USERS[:9]), "answers")]
    with pytest.raises(UsageError, match="9 users are too few"):
        judge_result(few, 0, ("a", "b"), "answers", ("m", "f"), np.random.default_rng(0))


def test_the_command_line_refuses_what_it_cannot_ask(tmp_path):
    """Before a model is looked for: a template of another task, a comparison of something else."""
    file = tmp_path / "a.jsonl"
    file.write_text("".join(f"{one.model_dump_json()}\n" for one in arm("x")))
    assert read_explained(file) == arm("x")
    cli = CliRunner()
    words = ["judge", str(file), str(file)]
    assert cli.invoke(app, [*words, "--what", "covers"]).exit_code == UsageError.exit_code
    wrong = cli.invoke(app, [*words, "--template", "rerank"])
    assert wrong.exit_code in {UsageError.exit_code, TemplateError.exit_code}
    assert "task is compare" in wrong.stderr
