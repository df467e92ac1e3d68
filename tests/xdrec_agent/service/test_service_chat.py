"""Promises of conversation over HTTP: turns and dialogues, whose they are, and OpenAI's protocol."""

from __future__ import annotations

import json

import openai
import pytest
from service_kit import events_of, serving, settings_at

from retrieval.store import Store
from xdrec_agent.app import Keys
from xdrec_agent.recommend import RecommendationLog

HELLO = {"text": "I loved Space films 1. What should I read?", "sources": ["films"], "target": "books"}


def said(http, **turn):
    """The events of a turn, and the dialogue's id."""
    reply = http.post("/v1/chat", json=turn)
    assert reply.status_code == 200, reply.text
    events = events_of(reply.text)
    return events, events[-1][1]["dialogue"]


def test_a_turn_is_understood_ranked_explained_and_done(http):
    """The events come in this order, each with its name; the ranking fits what was said."""
    events, _ = said(http, **HELLO)
    names = [name for name, _ in events]
    assert (names[0], names[-1]) == ("understood", "done")
    assert names.index("ranked") < names.index("explained")
    ranked = dict(events)["ranked"]["answer"]
    assert ranked["items"][0]["item"]["categories"] == ["space"]


def test_a_dialogue_goes_on_is_listed_read_and_deleted(http):
    """What was said before counts; afterwards nothing is left of it."""
    _, id_ = said(http, **HELLO)
    events, same = said(http, dialogue=id_, text="nothing before 1993")
    assert same == id_
    assert all(one["item"]["year"] >= 1993 for one in dict(events)["ranked"]["answer"]["items"])
    assert [d["id"] for d in http.get("/v1/dialogues").json()["dialogues"]] == [id_]
    assert http.get(f"/v1/dialogues/{id_}").json()["turns"][0]["said"] == HELLO["text"]
    assert http.delete(f"/v1/dialogues/{id_}").status_code == 204
    assert http.get(f"/v1/dialogues/{id_}").status_code == 404
    assert http.post("/v1/chat", json={"dialogue": id_, "text": "more"}).status_code == 404


def test_what_a_conversation_recommends_is_in_the_log(home):
    """With its reasons and its query, like any other answer; feedback on it counts."""
    with serving(home) as http:
        events, _ = said(http, user="ada", **HELLO)
        answer = dict(events)["ranked"]["answer"]
        item = {key: answer["items"][0]["item"][key] for key in ("domain", "id")}
        told = {"answer": answer["id"], "item": item, "kind": "known"}
        assert http.post("/v1/feedback", json=told).json() == {"interaction": True}
    with RecommendationLog(settings_at(home).store_url) as answers:
        kept = answers.get(answer["id"])
    assert kept.user == "ada"
    assert all(one.explanation for one in kept.answer.items)
    with Store(settings_at(home).store_url) as store:
        assert item["id"] in {i.item for i in store.export_user("ada")}


def test_dialogues_are_seen_by_their_owner_only(home):
    """Another's dialogue can be neither read, gone on with nor deleted, and is in nobody else's list."""
    with Keys.open(settings_at(home).store_url) as keys:
        secrets = {user: keys.create("", user=user)[1] for user in ("ada", "bob")}
    with serving(home, key=secrets["ada"], keys="required") as http:
        _, id_ = said(http, **HELLO)
        assert [d["id"] for d in http.get("/v1/dialogues").json()["dialogues"]] == [id_]
        bob = {"authorization": f"Bearer {secrets['bob']}"}
        assert http.get("/v1/dialogues", headers=bob).json() == {"dialogues": []}
        assert http.get("/v1/dialogues", params={"user": "ada"}, headers=bob).status_code == 403
        assert http.get(f"/v1/dialogues/{id_}", headers=bob).status_code == 404
        assert http.post("/v1/chat", json={"dialogue": id_, "text": "more"}, headers=bob).status_code == 404
        assert http.delete(f"/v1/dialogues/{id_}", headers=bob).status_code == 404
        assert http.get(f"/v1/dialogues/{id_}").status_code == 200


@pytest.fixture
def client(http):
    """OpenAI's own client, talking to the application."""
    return openai.OpenAI(base_url="http://127.0.0.1/v1", api_key="none", http_client=http, max_retries=0)


def user(text):
    return {"role": "user", "content": text}


ASKED = user("I loved Space films 1 and Space films 2. Which books should I read?")


def test_openais_client_talks_to_the_recommender(client):
    """A completion is text that names the books, with OpenAI's own fields."""
    assert [model.id for model in client.models.list()] == ["xdrec"]
    reply = client.chat.completions.create(model="xdrec", messages=[ASKED], temperature=0.3, max_tokens=99)
    assert "1. Space books" in reply.choices[0].message.content
    assert (reply.choices[0].finish_reason, reply.model) == ("stop", "xdrec")


def test_openais_client_streams(client):
    """The pieces make the same text, and the last ones say that it is over and what it cost."""
    whole = client.chat.completions.create(model="xdrec", messages=[ASKED]).choices[0].message.content
    chunks = list(
        client.chat.completions.create(
            model="xdrec", messages=[ASKED], stream=True, stream_options={"include_usage": True}
        )
    )
    pieces = [choice for chunk in chunks for choice in chunk.choices]
    assert len(pieces) > 3
    assert sorted("".join(piece.delta.content or "" for piece in pieces)) == sorted(whole)
    assert pieces[-1].finish_reason == "stop"
    assert chunks[-1].usage.total_tokens == 0


@pytest.mark.parametrize("forget", [False, True], ids=["remembered", "read again"])
def test_a_history_leads_back_to_its_conversation(client, http, forget):
    """With what was said before, the next turn goes on, in the same process or after a restart."""
    first = client.chat.completions.create(model="xdrec", messages=[ASKED]).choices[0].message.content
    if forget:
        del http.app.state.openai_sessions
    history = [{"role": "system", "content": "Be nice."}, ASKED, {"role": "assistant", "content": first}]
    reply = client.chat.completions.create(model="xdrec", messages=[*history, user("nothing before 1994")])
    named = [line for line in reply.choices[0].message.content.splitlines() if line[:3] == "1. "]
    assert "(1994)" in named[0]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"model": "gpt-x", "messages": [ASKED]}, 404),
        ({"model": "xdrec", "messages": []}, 422),
        ({"model": "xdrec", "messages": [{"role": "assistant", "content": "Hello"}]}, 422),
        ({"model": "xdrec", "messages": [user("x" * 2001)]}, 422),
        ({"model": "xdrec", "messages": [user(" ")]}, 422),
    ],
)
def test_completions_that_make_no_sense_are_refused(http, body, status):
    """Another model, nothing said, too much said."""
    reply = http.post("/v1/chat/completions", json=body)
    assert (reply.status_code, reply.headers["content-type"]) == (status, "application/problem+json")


def test_parts_of_a_message_are_one_text(http):
    """Clients may send content in parts."""
    message = {
        "role": "user",
        "content": [{"type": "text", "text": "I loved Space films 1."}, {"type": "text", "text": "Books?"}],
    }
    reply = http.post("/v1/chat/completions", json={"model": "xdrec", "messages": [message], "stream": True})
    assert reply.text.rstrip().endswith("data: [DONE]")
    first = json.loads(reply.text.split("\n")[0].removeprefix("data: "))
    assert first["choices"][0]["delta"]["role"] == "assistant"
