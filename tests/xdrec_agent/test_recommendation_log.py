"""Promises of the log of answers: what was given can be had again, events fit it, and people can be forgotten."""

from __future__ import annotations

import sqlite3
import time

import pytest

from retrieval.errors import StoreError, UsageError
from retrieval.store import Store
from retrieval.types import Filter, History, HistoryEntry, Item, Match, Query
from xdrec_agent.app import delete_user, export_user, open_dialogues, open_recommendation_log
from xdrec_agent.converse import DialogueState
from xdrec_agent.recommend import RecommendationLog
from xdrec_agent.settings import Settings
from xdrec_agent.types import Recommendation, Recommendations

FILM = Item(domain="films", id="a", title="Alien", attributes={"themes": ("space", "fear"), "minutes": 117})
BOOK = Item(domain="books", id="b", title="Blindsight", year=2006, creators=("Peter Watts",))


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'store.sqlite'}"


@pytest.fixture
def answers(url):
    with RecommendationLog.open(url) as answers:
        yield answers


def asked(user="ada", **more):
    return Query(history=History(user=user, entries=(HistoryEntry(item=FILM),)), target="books", **more)


def given(query):
    one = Recommendation(
        rank=1,
        item=BOOK,
        score=0.5,
        retrieval_rank=3,
        matches=(Match(domain="films", item="a", similarity=0.4, share=1.0),),
    )
    return Recommendations(
        user=query.history.user, sources=("films",), target="books", items=(one,), source="retrieval"
    )


def test_an_answer_comes_back_as_it_was_given(answers):
    """Query and answer are the same objects again, under an id that is of letters and figures and never twice."""
    query = asked(text="空间", filter=Filter(year_from=1990, attributes={"themes": ("space",)}))
    ids = [answers.add(query, given(query), arm="b", at=12) for _ in range(50)]
    kept = answers.get(ids[0])
    assert (kept.query, kept.user, kept.arm, kept.created_at) == (query, "ada", "b", 12)
    assert kept.answer == given(query).model_copy(update={"id": ids[0]})
    assert len(set(ids)) == 50
    assert all(id_.isalnum() and len(id_) == 16 for id_ in ids)


def test_the_last_answer_and_an_unknown_one(answers):
    """`last` is the one kept last, also within a second; what is not there is an error that names a command."""
    with pytest.raises(UsageError) as caught:
        answers.last()
    assert "xdrec recommend" in caught.value.hint
    for user in ("ada", "bob", None):
        query = asked(user)
        last = answers.add(query, given(query), at=5)
    assert answers.last().id == last
    assert answers.last().user is None
    with pytest.raises(UsageError) as caught:
        answers.get("'; drop table answers; --")
    assert "--last" in caught.value.hint


def test_an_answer_can_be_kept_anew_when_its_reasons_are_there(answers):
    """`replace` changes the answer alone."""
    id_ = answers.add(asked(), given(asked()))
    answers.update(id_, given(asked()).model_copy(update={"notes": ("written",)}))
    assert answers.get(id_).answer.notes == ("written",)
    assert answers.get(id_).query == asked()
    with pytest.raises(UsageError):
        answers.update("nothing", given(asked()))


def test_events_belong_to_items_of_the_answer(answers):
    """An event is kept with its time; another item, another kind or a value out of range is refused."""
    id_ = answers.add(asked(), given(asked()))
    answers.add_event(id_, "books", "b", "click", at=7)
    answers.add_event(id_, "books", "b", "rating", value=4.5, at=9)
    assert [(e.kind, e.value, e.at) for e in answers.events(id_)] == [("click", None, 7), ("rating", 4.5, 9)]
    for item, kind, value in [
        ("other", "click", None),
        ("b", "stare", None),
        ("b", "rating", 6),
        ("b", "rating", None),
        ("b", "click", 1),
        ("b", "conversion", float("nan")),
    ]:
        with pytest.raises(UsageError):
            answers.add_event(id_, "books", item, kind, value=value)
    with pytest.raises(UsageError):
        answers.add_event("nothing", "books", "b", "click")
    assert len(answers.events(id_)) == 2


def test_evaluation_reads_by_arm_and_time(answers):
    """More answers than a page, each once and in order, with the events of the same answers."""
    for n in range(450):
        id_ = answers.add(asked(f"u{n}"), given(asked(f"u{n}")), arm="ab"[n % 2], at=n)
        answers.add_event(id_, "books", "b", "click", at=n + 1)
    assert [kept.created_at for kept in answers.iter_answers()] == list(range(450))
    assert [kept.created_at for kept in answers.iter_answers(arm="a", since=440)] == [440, 442, 444, 446, 448]
    assert [event.at for event in answers.iter_events(arm="a", since=440)] == [441, 443, 445, 447, 449]


def test_a_person_is_exported_and_forgotten_with_their_events(tmp_path):
    """Answers are a place of personal data; nobody else's go."""
    settings = Settings(home=tmp_path)
    Store.open(settings.store_url).close()
    with pytest.raises(UsageError):
        export_user(settings, "ada")
    with RecommendationLog.open(settings.store_url) as answers:
        ids = {user: answers.add(asked(user), given(asked(user))) for user in ("ada", "bob")}
        answers.add_event(ids["ada"], "books", "b", "known")
    (exported,) = export_user(settings, "ada")["answers"]
    assert (exported["id"], exported["events"][0]["kind"]) == (ids["ada"], "known")
    assert delete_user(settings, "ada")["answers"] == 1
    with RecommendationLog.open(settings.store_url) as answers:
        assert answers.of_user("ada") == ()
        assert list(answers.iter_events()) == []
        assert [kept.user for kept in answers.iter_answers()] == ["bob"]


def test_looking_makes_no_tables(url, tmp_path):
    """A store without answers stays one when somebody looks for them."""
    Store.open(url).close()
    with RecommendationLog(url) as answers, pytest.raises(UsageError):
        answers.last()
    connection = sqlite3.connect(tmp_path / "store.sqlite")
    tables = connection.execute("select name from sqlite_master").fetchall()
    connection.close()
    assert ("answers",) not in tables


def test_an_answer_of_another_version_is_an_error_with_a_hint(answers, tmp_path):
    """What cannot be read any more is named, and what to do."""
    id_ = answers.add(asked(), given(asked()))
    with sqlite3.connect(tmp_path / "store.sqlite") as connection:
        connection.execute("update answers set payload = '{\"novel\": 1}'")
    connection.close()
    with pytest.raises(StoreError) as caught:
        answers.get(id_)
    assert caught.value.hint == "recommend again"


def test_the_log_is_bounded_in_age(answers):
    """What is older than the bound goes with its events, a few hundred at a time; what is younger stays."""
    day, now = 86_400, int(time.time())
    old = [answers.add(asked(), given(asked()), at=now - 40 * day) for _ in range(3)]
    young = answers.add(asked(), given(asked()), at=now - 20 * day)
    answers.add_event(old[0], "books", "b", "click")
    answers.add_event(young, "books", "b", "click")
    assert answers.forget_old(days=30, most=100) == 3
    assert answers.forget_old(days=30, most=100) == 0
    assert [kept.id for kept in answers.iter_answers()] == [young]
    assert [event.answer for event in answers.iter_events()] == [young]


def test_the_log_is_bounded_in_number(answers):
    """The latest stay, never more than the bound."""
    ids = [answers.add(asked(), given(asked())) for _ in range(12)]
    while answers.forget_old(days=365, most=5):
        pass
    assert [kept.id for kept in answers.iter_answers()] == ids[-5:]
    answers.add(asked(), given(asked()))
    assert answers.forget_old(days=365, most=5) == 1


def test_opening_the_log_on_the_command_line_tidies_it(tmp_path):
    """`xdrec recommend` and `xdrec chat` keep to the bounds of the settings without a service that runs."""
    settings = Settings(home=tmp_path, answers={"most": 2}, chat={"most": 1})
    for _ in range(5):
        with open_recommendation_log(settings) as answers:
            answers.add(asked(), given(asked()))
        with open_dialogues(settings) as dialogues:
            dialogues.start(DialogueState())
    with open_recommendation_log(settings) as answers, open_dialogues(settings) as dialogues:
        assert (len(list(answers.iter_answers())), len(dialogues.list())) == (2, 1)
