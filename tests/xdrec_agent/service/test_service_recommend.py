"""Promises of recommending over HTTP: whole and streamed, degraded and refused, logged by arm."""

from __future__ import annotations

import json
import shutil

import pytest
from service_kit import ASK, events_of, fake_client, serving, settings_at

from xdrec_agent.recommend import RecommendationLog


def test_a_known_user_gets_books_with_reasons(http):
    """k books that they have not got, ranked from 1, each with a reason; the answer is kept under its id."""
    reply = http.post("/v1/recommend", json=ASK | {"k": 3})
    assert reply.status_code == 200
    answer = reply.json()
    assert [item["rank"] for item in answer["items"]] == [1, 2, 3]
    assert {item["item"]["domain"] for item in answer["items"]} == {"books"}
    assert all(item["explanation"]["text"] for item in answer["items"])
    assert http.get(f"/v1/answers/{answer['id']}").json() == answer


def test_titles_and_ids_said_now_count(http):
    """A title in any spelling or an item's id is as good as a history."""
    ask = {"sources": ["films"], "target": "books", "k": 1, "explain": False}
    for like in ("the Ghost Films 2", {"domain": "films", "id": "ghost-2"}):
        answer = http.post("/v1/recommend", json=ask | {"likes": [like]}).json()
        assert answer["items"][0]["item"]["categories"] == ["ghost"]


def test_a_new_user_needs_something_to_go_by(http):
    """Somebody without a history gets recommendations by what they say now, and without that a 400 with a hint."""
    new = ASK | {"user": "newcomer"}
    assert http.post("/v1/recommend", json=new | {"likes": ["Sea films 1"]}).json()["user"] == "newcomer"
    refused = http.post("/v1/recommend", json=new)
    assert refused.status_code == 400
    assert refused.json()["hint"]


def test_a_stream_gives_the_ranking_then_each_reason_then_the_end(http):
    """One `ranking`, one `explanation` for every rank, one `done`, in this order; the log has it with its reasons."""
    reply = http.post("/v1/recommend/stream", json=ASK | {"k": 3})
    assert reply.headers["content-type"].startswith("text/event-stream")
    events = events_of(reply.text)
    assert [name for name, _ in events] == ["ranking", *["explanation"] * 3, "done"]
    assert all(item["explanation"] is None for item in events[0][1]["answer"]["items"])
    assert sorted(data["rank"] for name, data in events if name == "explanation") == [1, 2, 3]
    kept = http.get(f"/v1/answers/{events[-1][1]['answer']}").json()
    assert all(item["explanation"] for item in kept["items"])


def test_a_stream_without_reasons_ends_after_the_ranking(http):
    """Nothing is explained that nobody wants explained."""
    reply = http.post("/v1/recommend/stream", json=ASK | {"explain": False})
    assert [name for name, _ in events_of(reply.text)] == ["ranking", "done"]


@pytest.mark.parametrize("path", ["/v1/recommend", "/v1/recommend/stream"])
@pytest.mark.parametrize(
    ("changes", "status", "kind"),
    [
        ({"target": "music"}, 400, "urn:xdrec:usage-error"),
        ({"target": "films"}, 400, "urn:xdrec:usage-error"),
        ({"likes": ["Spoons films 9"], "user": None}, 404, "urn:xdrec:unknown-title"),
        ({"likes": [{"domain": "films", "id": "nope"}]}, 404, "urn:xdrec:not-found"),
        ({"likes": [{"domain": "music", "id": "nope"}]}, 400, "urn:xdrec:usage-error"),
        ({"k": 0}, 422, "urn:xdrec:invalid-request"),
        ({"about": "x" * 2001}, 422, "urn:xdrec:invalid-request"),
        ({"about": "nul \x00"}, 422, "urn:xdrec:invalid-request"),
        ({"likes": ["x"] * 201}, 422, "urn:xdrec:invalid-request"),
        ({"surprise": 1}, 422, "urn:xdrec:invalid-request"),
    ],
)
def test_a_question_that_makes_no_sense_is_a_problem(http, path, changes, status, kind):
    """Streams too answer with a status and problem+json, not with a broken stream."""
    reply = http.post(path, json=ASK | changes)
    assert (reply.status_code, reply.json()["type"]) == (status, kind)
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["status"] == status


def test_an_unknown_title_names_the_nearest(http):
    """The same help as on the command line."""
    problem = http.post("/v1/recommend", json=ASK | {"likes": ["Spoons films 9"]}).json()
    assert any("films" in title for title in problem["nearest"])
    assert problem["hint"]


def test_without_a_model_the_answer_is_marked(home):
    """The retriever's order, degraded and why, and it is counted."""
    with serving(home, strategy="hybrid") as http:
        answer = http.post("/v1/recommend", json=ASK).json()
        assert answer["degraded"]
        assert "does not run" in answer["reason"]
        assert "xdrec_degraded_total 1.0" in http.get("/metrics").text
        assert http.get("/health/ready").json()["status"] == "degraded"


def test_with_a_model_its_order_counts(home):
    """A model that answers takes part: what it cost is in the answer."""
    fake, client = fake_client()
    with serving(home, client, strategy="listwise-logprob") as http:
        answer = http.post("/v1/recommend", json=ASK | {"explain": False}).json()
    assert not answer["degraded"]
    assert answer["usage"]["rerank"]["requests"] > 0
    assert fake.calls


def test_a_lost_index_is_a_503_until_it_is_back(home):
    """What is missing is named with the command that makes it, and nothing has to be restarted."""
    with serving(home) as http:
        shutil.move(home / "index", home / "away")
        for reply in (http.post("/v1/recommend", json=ASK), http.get("/health/ready")):
            assert reply.status_code == 503
            assert "xdrec index" in reply.json()["hint"]
            assert int(reply.headers["retry-after"]) > 0
        shutil.move(home / "away", home / "index")
        assert http.post("/v1/recommend", json=ASK).status_code == 200
        assert http.get("/health/ready").status_code == 200


def test_the_log_knows_what_was_shown_by_which_arm(home):
    """Every answer is kept with the query, its items and the user's arm; nobody's arm changes."""
    arms = [
        {"name": "plain", "share": 1},
        {"name": "varied", "share": 1, "settings": {"retriever": {"diversity": 0.5}}},
    ]
    users = [f"user-{n}" for n in range(12)]
    with serving(home, arms=arms) as http:
        for user in (*users, *users):
            http.post("/v1/recommend", json=ASK | {"user": user, "likes": ["Sea films 1"], "explain": False})
    with RecommendationLog(settings_at(home).store_url) as answers:
        kept = list(answers.iter_answers())
    assert len(kept) == 24
    arms_of = {user: {one.arm for one in kept if one.user == user} for user in users}
    assert all(len(found) == 1 for found in arms_of.values())
    assert set.union(*arms_of.values()) == {"plain", "varied"}
    assert all(one.query.target == "books" and one.answer.items for one in kept)


def test_answers_need_not_be_kept(home):
    """With answers.keep off there is no id, and no log."""
    with serving(home, keep=False) as http:
        reply = http.post("/v1/recommend/stream", json=ASK)
    assert events_of(reply.text)[-1][1]["answer"] is None
    with RecommendationLog(settings_at(home).store_url) as answers:
        assert not list(answers.iter_answers())


def test_hostile_texts_come_back_as_data(http):
    """What a caller writes is never markup: JSON, with a type that no browser runs, and a policy that forbids it."""
    reply = http.post("/v1/recommend", json=ASK | {"target": "<script>alert(1)</script>"})
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'self'" in reply.headers["content-security-policy"]
    assert "unsafe-inline" not in reply.headers["content-security-policy"]
    assert "<script>" in json.loads(reply.text)["detail"]
