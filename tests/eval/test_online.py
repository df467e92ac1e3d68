"""Promises of the online comparison: users are the units, the groups are what was configured, and nobody is named."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

from eval.cli import app
from eval.report import html_of, markdown_of, online_page
from eval.studies import judge_log
from eval.studies.online import read_log
from retrieval.errors import UsageError
from retrieval.types import History, HistoryEntry, Item, Query
from xdrec_agent.app import arm_of
from xdrec_agent.llm import Usage
from xdrec_agent.recommend import RecommendationLog
from xdrec_agent.settings import ArmSettings
from xdrec_agent.types import Recommendation, Recommendations

ARMS = (ArmSettings(name="plain", share=1), ArmSettings(name="varied", share=1))
FILM = Item(domain="films", id="a", title="Alien")
BOOKS = tuple(Item(domain="books", id=f"b{n}", title=f"Book {n}") for n in range(3))
QUIET = ("click", "liked", "conversion", "nothing known")


@pytest.fixture
def url(tmp_path):
    (tmp_path / ".xdrec").mkdir()
    return f"sqlite:///{tmp_path / '.xdrec' / 'store.sqlite'}"


@pytest.fixture
def answers(url):
    with RecommendationLog.open(url) as answers:
        yield answers


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def served(answers, user, arm, *, at=1_800_000_000, tokens=100, degraded=False, template="t1"):
    """An answer of three books to the user; its id."""
    query = Query(history=History(user=user, entries=(HistoryEntry(item=FILM),)), target="books")
    answer = Recommendations(
        user=user,
        sources=("films",),
        target="books",
        items=tuple(
            Recommendation(rank=n + 1, item=book, score=0.5, retrieval_rank=n + 1) for n, book in enumerate(BOOKS)
        ),
        source="retrieval",
        degraded=degraded,
        seconds={"rank": 0.25, "explain": 0.5},
        usage={"rerank": Usage(requests=1, prompt_tokens=tokens - 10, completion_tokens=10)},
        templates={"rerank": template},
    )
    return answers.add(query, answer, arm=arm, at=at)


def people(count, arms=ARMS, name="person"):
    """Users with the arms that the hash gives them."""
    return [(f"{name}-{n:04}", arm_of(f"{name}-{n:04}", arms)) for n in range(count)]


def busy(answers, count=120, shares=(0.2, 0.7), **more):
    """Users of two arms, one answer each, of whom these shares click."""
    rng = np.random.default_rng(1)
    chances = dict(zip(("plain", "varied"), shares, strict=True))
    for user, arm in people(count):
        id_ = served(answers, user, arm, **more)
        if rng.random() < chances[arm]:
            answers.add_event(id_, "books", "b0", "click")


def test_the_better_arm_is_found_with_its_costs(answers, rng):
    """The sentence names it, Holm counts all outcomes that differ, and costs stand beside the arms."""
    busy(answers)
    found = judge_log(answers, ARMS, [], rng)
    assert re.match(
        r"varied beats plain by \.\d+ click \[\.\d+, \.\d+\], p < \.001 after Holm, n = \d+ \+ \d+", found.verdict
    )
    assert found.comparisons[0].outcome == "click"
    assert {c.outcome for c in found.comparisons} == set(QUIET)
    clicks = found.comparisons[0].difference
    assert sum(clicks.users) == 120
    assert clicks.mean == pytest.approx(found.arms[1].means["click"] - found.arms[0].means["click"])
    assert found.arms[0].costs == {"tokens": 100, "requests": 1, "seconds": 0.75, "degraded": 0}
    others = [c.verdict for c in found.comparisons[1:]]
    assert all(said.startswith("cannot tell: all users have the same") for said in others)


def test_an_answers_outcomes_are_what_was_done_with_its_items(answers):
    """Clicks, good ratings (of several of an item the last), conversions, and what was known, each 0 or 1 an answer."""
    (user, arm), other = people(1)[0], people(2)[1]
    first, second = served(answers, user, arm), served(answers, user, arm)
    for item in ("b0", "b1", "b0"):
        answers.add_event(first, "books", item, "click")
    answers.add_event(first, "books", "b0", "rating", value=5)
    answers.add_event(first, "books", "b0", "rating", value=3)
    answers.add_event(second, "books", "b1", "rating", value=2)
    answers.add_event(second, "books", "b1", "rating", value=4)
    answers.add_event(second, "books", "b2", "known")
    answers.add_event(second, "books", "b2", "conversion", value=12.5)
    served(answers, *other)
    log = read_log(answers, ARMS, 0)
    values = {outcome: {v for one in log.arms for v in one.values[outcome].tolist()} for outcome in QUIET}
    assert values == {"click": {0.5, 0}, "liked": {0.5, 0}, "conversion": {0.5, 0}, "nothing known": {0.5, 1}}
    assert sum(one.arm.answers for one in log.arms) == 3


def test_users_are_the_units_however_often_they_ask(answers, rng):
    """Fifty answers of one user weigh as much as one."""
    for user, arm in people(60):
        for _ in range(50 if user == "person-0000" else 1):
            served(answers, user, arm)
    found = judge_log(answers, ARMS, ["click"], rng)
    assert sum(arm.users for arm in found.arms) == 60
    assert sum(arm.answers for arm in found.arms) == 109


def test_nobody_and_those_who_changed_arms_are_left_out(answers, rng):
    """Answers without a user, users served by an arm that is not theirs, and arms of an earlier comparison."""
    busy(answers)
    for _ in range(7):
        served(answers, None, "plain")
    moved = people(130)[120:]
    for user, arm in moved:
        served(answers, user, arm)
        served(answers, user, "plain" if arm == "varied" else "varied")
    served(answers, "person-0001", "an-old-arm")
    found = judge_log(answers, ARMS, ["click"], rng)
    assert (found.anonymous, found.moved) == (7, 10)
    assert sum(arm.users for arm in found.arms) == 120
    notes = " ".join(online_page(found).notes)
    assert "10 users were served by an arm that is not theirs" in notes
    assert "7 answers to nobody in particular" in notes


def test_a_sample_ratio_that_is_off_allows_no_verdict(answers, rng):
    """Where one arm lost half of its users no difference is an effect of the arms: no number is given."""
    for n, (user, arm) in enumerate(people(300)):
        if arm == "plain" or n % 3 == 0:
            id_ = served(answers, user, arm)
            answers.add_event(id_, "books", "b0", "click")
    found = judge_log(answers, ARMS, [], rng)
    assert not found.shared_out
    assert found.comparisons == ()
    assert re.match(
        r"no verdict: the arms have \d+ \+ \d+ users where their shares give \d+ \+ \d+ \(p < \.001\)", found.verdict
    )
    page = online_page(found)
    assert page.plots == page.beside == ()
    assert "no verdict" in markdown_of(page)


def test_shares_that_differ_are_what_users_are_held_to(answers, rng):
    """One to four: four times the users in the second arm is as configured."""
    arms = (ArmSettings(name="plain", share=1), ArmSettings(name="varied", share=4))
    for user, arm in people(200, arms):
        served(answers, user, arm)
    found = judge_log(answers, arms, ["click"], rng)
    assert found.shared_out
    assert [arm.share for arm in found.arms] == pytest.approx([0.2, 0.8])
    assert [arm.expected for arm in found.arms] == pytest.approx([40, 160])


def test_few_users_get_no_number(answers, rng):
    """With fewer than ten in an arm it cannot be told, and the sentence says which arm."""
    for user, arm in people(12):
        served(answers, user, arm)
    found = judge_log(answers, ARMS, ["click"], rng)
    assert re.match(r"cannot tell: (plain|varied) has \d users, and a comparison needs 10 in each arm", found.verdict)
    assert found.comparisons[0].difference is None
    assert "cannot tell" in html_of(online_page(found))


def test_only_what_came_later_counts(answers, rng):
    """Answers before `since` are left out with what was done with them."""
    for user, arm in people(40):
        id_ = served(answers, user, arm, at=1_700_000_000)
        answers.add_event(id_, "books", "b0", "click")
        served(answers, user, arm, at=1_800_000_000)
    found = judge_log(answers, ARMS, ["click"], rng, since=1_750_000_000)
    assert found.first == found.last == 1_800_000_000
    assert sum(arm.answers for arm in found.arms) == 40
    assert {arm.means["click"] for arm in found.arms} == {0}


def test_templates_that_changed_and_failures_are_told(answers, rng):
    """An arm that was not the same all the time, or degraded, is no clean comparison."""
    busy(answers, degraded=True)
    user, arm = people(1)[0]
    served(answers, user, arm, template="t2")
    notes = " ".join(online_page(judge_log(answers, ARMS, ["click"], rng)).notes)
    assert f"{arm} was not the same all the time: templates changed (rerank)" in notes
    assert "of the answers of plain were degraded" in notes


def test_nobody_is_named_in_any_form(answers, rng):
    """Neither user ids nor items nor answer ids leave the log."""
    busy(answers)
    page = online_page(judge_log(answers, ARMS, [], rng))
    ids = [kept.id for kept in answers.iter_answers()]
    for text in (html_of(page), markdown_of(page), page.json):
        assert not any(word in text for word in ("person-", "Book 0", "Alien", *ids))


def test_bad_input_is_refused(answers, rng):
    """No answers, one arm, an outcome that is none."""
    with pytest.raises(UsageError, match="no user got an answer"):
        judge_log(answers, ARMS, [], rng)
    with pytest.raises(UsageError, match="1 arms are configured"):
        judge_log(answers, ARMS[:1], [], rng)
    with pytest.raises(UsageError, match="no outcome joy"):
        judge_log(answers, ARMS, ["joy"], rng)


def test_the_command_line_reads_the_configured_arms(answers, tmp_path, monkeypatch):
    """From xdrec.toml and the store to a report; exit code 1 where the sample ratio is off."""
    monkeypatch.chdir(tmp_path)
    arms = "".join(f'[[service.arms]]\nname = "{arm.name}"\nshare = 1\n' for arm in ARMS)
    (tmp_path / "xdrec.toml").write_text(arms, encoding="utf-8")
    busy(answers)
    cli = CliRunner()
    done = cli.invoke(app, ["online", "--outcome", "click", "--json", "--out", "report"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["comparisons"][0]["outcome"] == "click"
    shown = cli.invoke(app, ["online", "--outcome", "click"])
    assert shown.stdout.startswith("varied beats plain by ")
    assert (tmp_path / "report" / "report.html").is_file()
    for user, arm in people(400, name="late"):
        if arm == "varied":
            served(answers, user, arm)
    assert cli.invoke(app, ["online"]).exit_code == 1
    later = cli.invoke(app, ["online", "--since", "2100-01-01"])
    assert later.exit_code == UsageError.exit_code
