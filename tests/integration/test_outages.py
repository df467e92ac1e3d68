"""Promises of a real service process while what it needs is away: 503 that says what to do, and 200 when it is back.

Nothing is started anew but what was away.
"""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3

import httpx2
import pytest
from chroma_server import ChromaServer
from fake_llm import FakeLLM
from postgres_server import postgres
from socket_llm import SocketLLM
from words_service import ASK, SAY, filled, running

from retrieval.errors import StoreError, VectorStoreError
from retrieval.index import vectors
from retrieval.index.vectors import VectorStore
from retrieval.store import Store
from xdrec_agent.app import Keys
from xdrec_agent.converse import Dialogues

pytestmark = pytest.mark.integration

IDENTITY = {"XDREC_RERANK__STRATEGY": "identity"}
MESSAGES = {"model": "xdrec", "messages": [{"role": "user", "content": SAY["text"]}]}
ITEM = {"domain": "books", "id": "space-1"}
ROUTES = [
    ("GET", "/health/ready", None),
    ("GET", "/v1/domains", None),
    ("GET", "/v1/items?domain=films&q=space", None),
    ("GET", "/v1/dialogues", None),
    ("GET", "/v1/answers/none", None),
    ("POST", "/v1/recommend", ASK),
    ("POST", "/v1/recommend/stream", ASK),
    ("POST", "/v1/explain", {"answer": "none", "rank": 1}),
    ("POST", "/v1/feedback", {"item": ITEM, "kind": "click"}),
    ("POST", "/v1/chat", SAY),
    ("POST", "/v1/chat/completions", MESSAGES),
    ("POST", "/v1/chat/completions", MESSAGES | {"stream": True}),
]


def call(service, method, path, body=None, **headers):
    return httpx2.request(method, f"{service.url}{path}", json=body, headers=headers, timeout=120)


def away(reply):
    """Whether the reply is a 503 that tells a person and a program what to do."""
    told = reply.json() if reply.headers["content-type"] == "application/problem+json" else {}
    return reply.status_code == 503 and bool(told.get("hint")) and int(reply.headers["retry-after"]) > 0


def recommends(service):
    """Whether the next recommendation is a good one."""
    reply = call(service, "POST", "/v1/recommend", ASK)
    return reply.status_code == 200 and len(reply.json()["items"]) == 3


@pytest.fixture(scope="module")
def database():
    with postgres() as server:
        yield server


@pytest.mark.parametrize("keys", ["off", "required"])
def test_a_database_that_is_stopped_and_started(tmp_path, database, keys):
    """Every route says 503 while Postgres is down, with keys or without, and works at its first request afterwards."""
    url = database.new_database()
    home = filled(tmp_path, store_url=url)
    headers = {}
    if keys == "required":
        with Keys.open(url) as kept:
            headers = {"authorization": f"Bearer {kept.create('shop')[1]}"}
    with running(home, XDREC_STORE__URL=url, XDREC_SERVICE__KEYS=keys, **IDENTITY) as service:
        expected = {call(service, *route, **headers).status_code for route in ROUTES}
        assert expected == {200, 404}
        database.stop()
        try:
            for route in ROUTES:
                assert away(call(service, *route, **headers)), route
            assert call(service, "GET", "/health/live").status_code == 200
        finally:
            database.start()
        assert {call(service, *route, **headers).status_code for route in ROUTES} == expected
        failed = [line for line in service.log() if line["message"] == "a request failed"]
    assert failed
    assert all("StoreError" in line["exception"] and line["hint"] for line in failed)


def test_a_store_that_somebody_else_writes_to(tmp_path):
    """What must be kept and cannot within the time that the URL allows is a 503; reading goes on."""
    url = f"sqlite:///{tmp_path}/store.sqlite?timeout=0.05"
    with running(filled(tmp_path), XDREC_STORE__URL=url, **IDENTITY) as service:
        assert recommends(service)
        writer = sqlite3.connect(tmp_path / "store.sqlite", isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        try:
            refused = call(service, "POST", "/v1/recommend", ASK)
            assert away(refused)
            assert "another process is writing" in refused.json()["hint"]
            assert call(service, "GET", "/v1/domains").status_code == 200
        finally:
            writer.rollback()
            writer.close()
        assert recommends(service)


def test_a_store_whose_file_is_away_for_a_while(tmp_path):
    """It is missed at once, no empty one is made in its place, and when it is back everything is."""
    store = tmp_path / "store.sqlite"
    with running(filled(tmp_path), **IDENTITY) as service:
        assert recommends(service)
        parts = [file for file in tmp_path.iterdir() if file.name.startswith("store.sqlite")]
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        for file in parts:
            file.rename(elsewhere / file.name)
        for route in ROUTES:
            assert away(call(service, *route)), route
        assert not store.exists()
        for file in elsewhere.iterdir():
            file.rename(tmp_path / file.name)
        assert recommends(service)


def test_a_store_that_is_replaced(tmp_path):
    """Another file in the same place is what is answered from; beside the old one's log it is not touched."""
    other = filled(tmp_path / "other", words=["moon", "war", "sea"])
    with running(filled(tmp_path / "home"), **IDENTITY) as service:
        store = tmp_path / "home" / "store.sqlite"
        assert recommends(service)
        os.replace(other / "store.sqlite", store)
        refused = call(service, "GET", "/v1/domains")
        assert away(refused)
        assert "-wal" in refused.json()["hint"]
        for end in ("-wal", "-shm"):
            store.with_name(f"store.sqlite{end}").unlink()
        (found,) = call(service, "GET", "/v1/items?domain=films&q=moon+films+1").json()["items"]
        assert found["id"] == "moon-1"


def test_a_chroma_that_is_killed_and_started(tmp_path):
    """A search needs no Chroma: every route goes on while it is down. Indexing says so, and works when it is back."""
    server = ChromaServer(tmp_path / "chroma")
    url, home = server.url, tmp_path / "home"
    try:
        filled(home, chroma_url=url)
        with running(home, XDREC_INDEX__CHROMA_URL=url, **IDENTITY) as service:
            expected = [call(service, *route).status_code for route in ROUTES]
            server.stop()
            assert [call(service, *route).status_code for route in ROUTES] == expected
            assert recommends(service)
            with pytest.raises(VectorStoreError) as caught:
                filled(home, chroma_url=url, words=["moon"])
            assert (caught.value.hint, caught.value.retryable) == ("is the Chroma server up?", True)
            assert recommends(service)
            server = ChromaServer(tmp_path / "chroma", server.port)
            filled(home, chroma_url=url, words=["moon"])
            liked = ASK | {"user": "somebody", "likes": ["Moon films 1"]}
            answer = call(service, "POST", "/v1/recommend", liked).json()
            assert answer["items"][0]["item"]["id"].startswith("moon")
    finally:
        server.stop()


def test_a_chroma_that_accepts_and_says_nothing(tmp_path, monkeypatch):
    """A server that hangs is an error as well, and not a thread that waits for ever."""
    monkeypatch.setattr(vectors, "_CONNECT_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as mute, pytest.raises(VectorStoreError, match="timed out"):
        VectorStore(tmp_path, f"http://127.0.0.1:{mute.getsockname()[1]}")


def test_a_model_that_goes_and_comes(tmp_path):
    """Without it answers are the retriever's, marked with the reason; with it they are its own, without a restart."""
    settings = {
        "XDREC_RERANK__STRATEGY": "listwise-logprob",
        "XDREC_CHAT__MODEL": "always",
        "XDREC_LLM__MODEL": "fake",
        "XDREC_LLM__ATTEMPTS": "1",
        "XDREC_LLM__CACHE": "off",
        "XDREC_LLM__RECOVERY_S": "0.01",
    }
    with SocketLLM(FakeLLM()) as llm:
        port = llm.port
        settings["XDREC_LLM__BASE_URL"] = llm.base_url
        with running(filled(tmp_path), **settings) as service:
            answer = call(service, "POST", "/v1/recommend", ASK).json()
            assert (answer["source"], answer["degraded"]) == ("listwise-logprob", False)
            llm.stop()
            answer = call(service, "POST", "/v1/recommend", ASK).json()
            assert (answer["source"], answer["degraded"], len(answer["items"])) == ("retrieval", True, 3)
            assert str(port) in answer["reason"]
            assert all(item["explanation"]["source"] == "evidence" for item in answer["items"])
            said = call(service, "POST", "/v1/chat", SAY)
            assert said.status_code == 200
            assert '"degraded":true' in said.text.partition("event: ranked")[0]
            assert "xdrec_degraded_total 2.0" in call(service, "GET", "/metrics").text
            with SocketLLM(FakeLLM(), port):
                answers = (call(service, "POST", "/v1/recommend", ASK).json() for _ in range(100))
                assert next(one for one in answers if not one["degraded"])["source"] == "listwise-logprob"


def test_what_waits_in_a_pool_is_not_used_after_a_restart(tmp_path, database):
    """Connections to a server that was started anew meanwhile are never handed out."""
    url = database.new_database()
    with Store.open(url) as store, Dialogues.open(url) as dialogues:
        assert not store.domain_names()
        database.stop()
        database.start()
        assert not store.domain_names()
        assert dialogues.list() == ()


def test_a_missing_file_is_not_made_anew(tmp_path):
    """A store that was deleted is an error, and stays deleted; one that never was is made."""
    url = f"sqlite:///{tmp_path}/new/store.sqlite"
    with Store.open(url) as store:
        assert list(store.domain_names()) == []
        shutil.rmtree(tmp_path / "new")
        (tmp_path / "new").mkdir()
        for _ in range(2):
            with pytest.raises(StoreError, match="gone") as caught:
                store.domain_names()
        assert caught.value.hint
        assert list((tmp_path / "new").iterdir()) == []
