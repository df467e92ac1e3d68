"""Promises of feedback: it changes the next recommendation, and the log knows which arm it belongs to."""

from __future__ import annotations

import pytest
from service_kit import ASK, serving, settings_at

from retrieval.store import Store
from xdrec_agent.recommend import RecommendationLog


def first(http, **changes):
    """The first recommended book and the answer's id."""
    answer = http.post("/v1/recommend", json=ASK | {"explain": False} | changes).json()
    return {"domain": "books", "id": answer["items"][0]["item"]["id"]}, answer["id"]


@pytest.mark.parametrize("told", [{"kind": "known"}, {"kind": "rating", "value": 2}, {"kind": "conversion"}])
def test_what_is_known_is_not_recommended_again(http, told):
    """After "already read", a rating or a purchase the book is gone from the next answer."""
    item, answer = first(http)
    noted = http.post("/v1/feedback", json={"item": item, "answer": answer} | told)
    assert noted.json() == {"interaction": True}
    assert first(http)[0] != item


def test_a_rating_of_a_source_item_changes_the_next_recommendation(http):
    """What somebody comes to like pulls the next answer its way."""
    before = first(http, user="bob")[0]
    for n in (1, 2, 3):
        like = {"item": {"domain": "films", "id": f"music-{n}"}, "kind": "rating", "value": 5, "user": "bob"}
        assert http.post("/v1/feedback", json=like).json() == {"interaction": True}
    books = http.post("/v1/recommend", json=ASK | {"user": "bob", "explain": False}).json()["items"]
    assert before["id"].startswith("war")
    assert any(book["item"]["id"].startswith("music") for book in books[:4])


def test_a_click_is_in_the_log_and_no_taste(home):
    """Looking at something is not liking it: the log has the event, the history has not."""
    with serving(home) as http:
        item, answer = first(http)
        told = {"item": item, "answer": answer, "kind": "click"}
        assert http.post("/v1/feedback", json=told).json() == {"interaction": False}
        assert first(http)[0] == item
    with RecommendationLog(settings_at(home).store_url) as answers:
        assert [(event.item, event.kind) for event in answers.events(answer)] == [(item["id"], "click")]


def test_the_latest_rating_counts(home):
    """Somebody may change their mind."""
    with serving(home) as http:
        for value in (1, 5):
            told = {"item": {"domain": "films", "id": "sea-1"}, "kind": "rating", "value": value, "user": "ada"}
            http.post("/v1/feedback", json=told)
    with Store(settings_at(home).store_url) as store:
        assert [i.value for i in store.export_user("ada") if i.item == "sea-1"] == [5]


@pytest.mark.parametrize(
    ("told", "status"),
    [
        ({"item": {"domain": "books", "id": "nope"}, "kind": "known", "user": "ada"}, 404),
        ({"item": {"domain": "books", "id": "sea-1"}, "kind": "known", "answer": "nope"}, 404),
        ({"item": {"domain": "books", "id": "sea-1"}, "kind": "rating", "user": "ada"}, 422),
        ({"item": {"domain": "books", "id": "sea-1"}, "kind": "rating", "value": 6, "user": "ada"}, 422),
        ({"item": {"domain": "books", "id": "sea-1"}, "kind": "click", "value": 1, "user": "ada"}, 422),
    ],
)
def test_feedback_on_nothing_is_refused(http, told, status):
    """An unknown item or answer, a rating without stars, a click with some."""
    assert http.post("/v1/feedback", json=told).status_code == status


def test_an_item_that_the_answer_did_not_show_is_refused(http):
    """Nothing gets credit for what it has not shown."""
    _, answer = first(http)
    told = {"item": {"domain": "books", "id": "music-4"}, "kind": "click", "answer": answer}
    assert http.post("/v1/feedback", json=told).status_code == 400
