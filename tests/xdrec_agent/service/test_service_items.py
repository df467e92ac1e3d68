"""Promises of search as you type, of health, metrics, logs and the description of the service."""

from __future__ import annotations

import json
import logging
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from service_kit import ASK, opener, serving, settings_at
from starlette.testclient import TestClient

from retrieval.errors import StoreError, UsageError
from retrieval.store import Store
from retrieval.types import Interaction, Item
from xdrec_agent.service.app import create_app
from xdrec_agent.service.logs import JsonLines
from xdrec_agent.service.title_search import TitleSearch


@pytest.fixture
def search(tmp_path):
    """A search over a handful of books."""
    titles = ["Dune", "Dune Messiah", "The Moon and Dunes", "Harry Potter", "Emma", "三体", "Amélie"]
    with Store.open(f"sqlite:///{tmp_path}/store.sqlite") as store:
        store.upsert_items([Item(domain="books", id=f"b{n}", title=t) for n, t in enumerate(titles)], "run")
        known = Interaction(user="ada", domain="books", item="b1", value=5)
        store.upsert_interactions([known], "run")
        yield TitleSearch(store)


@pytest.mark.parametrize(
    ("query", "titles"),
    [
        ("dune", ["Dune", "Dune Messiah", "The Moon and Dunes"]),
        ("dun", ["Dune Messiah", "Dune", "The Moon and Dunes"]),
        ("mess dun", ["Dune Messiah"]),
        ("the mo", ["The Moon and Dunes"]),
        ("hary pot", ["Harry Potter"]),
        ("三", ["三体"]),
        ("amelie", ["Amélie"]),
        ("  ", []),
        ("xyzzy", []),
    ],
)
def test_titles_are_found_while_they_are_typed(search, query, titles):
    """The exact one first, then what more people know, then words inside, and misspelled ones if nothing else fits."""
    assert [item.title for item in search.find("books", query, 5)] == titles


def test_search_follows_the_catalogue(search):
    """What was added a moment ago is found; a domain that is not there is named."""
    search._store.upsert_items([Item(domain="books", id="new", title="Zazie")], "run")
    assert [item.id for item in search.find("books", "zaz", 5)] == ["new"]
    with pytest.raises(UsageError, match="no domain"):
        search.find("music", "zaz", 5)


def test_domains_and_items_over_http(http):
    """Sizes of the domains, and at most `limit` items."""
    assert [d["domain"] for d in http.get("/v1/domains").json()["domains"]] == ["books", "films"]
    found = http.get("/v1/items", params={"domain": "films", "q": "spa", "limit": 2}).json()["items"]
    assert [item["title"] for item in found] == ["Space films 1", "Space films 2"]
    assert http.get("/v1/items", params={"domain": "music", "q": "spa"}).status_code == 400


def test_the_description_documents_every_problem(http):
    """Each route under /v1 says which problems it may answer with, in the right media type, with examples."""
    described = http.get("/openapi.json").json()
    assert described["components"]["schemas"]["RecommendRequest"]["examples"]
    for path, methods in described["paths"].items():
        if path.startswith("/v1"):
            for method in methods.values():
                assert {"401", "422", "429", "503"} <= set(method["responses"])
                assert set(method["responses"]["422"]["content"]) == {"application/problem+json"}


def test_metrics_count_by_stage_and_route(http):
    """Stages, routes by their pattern and not by ids, and the service's own part."""
    id_ = http.post("/v1/recommend", json=ASK).json()["id"]
    http.get(f"/v1/answers/{id_}")
    text = http.get("/metrics").text
    for line in ('xdrec_stage_seconds_count{stage="retrieval"} 1.0', "xdrec_overhead_seconds_count 1.0"):
        assert line in text
    assert 'xdrec_requests_total{route="/v1/answers/{id_}",status="200"} 1.0' in text
    assert id_ not in text


@pytest.mark.parametrize("log_text", [False, True])
def test_logs_hold_nobodys_words(home, log_text, caplog):
    """Neither what was searched for nor who asked, unless `log_text` is set."""
    caplog.set_level(logging.INFO)
    with serving(home, log_text=log_text) as http:
        http.get("/v1/items", params={"domain": "films", "q": "secret wish"})
        http.post("/v1/recommend", json=ASK | {"likes": ["Space films 1"], "about": "secret wish"})
    lines = [json.loads(JsonLines().format(record)) for record in caplog.records if record.name == "xdrec.access"]
    assert [(line["route"], line["status"]) for line in lines] == [("/v1/items", 200), ("/v1/recommend", 200)]
    text = json.dumps(lines)
    assert ("secret" in text) is log_text
    assert "ada" not in text


class Broken(Store):
    """Once it has an error fails at reading items, telling what was asked for, and so does what led to it."""

    error = None

    def items(self, domain, ids):
        if self.error is None:
            return super().items(domain, ids)
        try:
            return {}[f"secret {ids}"]
        except KeyError as exc:
            raise self.error(f"secret {ids}") from exc


@pytest.mark.parametrize("log_text", [False, True])
@pytest.mark.parametrize(("error", "status"), [(StoreError, 503), (RuntimeError, 500)])
def test_failures_are_logged_without_anybodys_words(home, log_text, error, status, caplog):
    """Where it failed and how, in every link of the chain; what the exceptions say only if that is asked for."""

    stores = []

    @asynccontextmanager
    async def opened(settings):
        async with opener()(settings) as parts:
            with Broken(settings.store_url) as store:
                stores.append(store)
                yield replace(parts, store=store)

    app = create_app(settings_at(home, log_text=log_text), opened)
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as http:
        stores[0].error = error
        reply = http.post("/v1/recommend", json=ASK | {"likes": [{"domain": "films", "id": "space-1"}]})
    assert (reply.status_code, reply.headers["content-type"]) == (status, "application/problem+json")
    text = "\n".join(JsonLines(log_text=log_text).format(record) for record in caplog.records)
    assert ("secret" in text) is log_text
    for part in ("a request failed", "test_service_items.py", "KeyError"):
        assert part in text


def test_a_lost_task_is_logged_without_anybodys_words():
    """asyncio's messages show whole exceptions: only the first line of them is kept."""
    record = logging.LogRecord("asyncio", logging.ERROR, "", 1, "Task exception was never retrieved\nsecret", (), None)
    assert json.loads(JsonLines().format(record))["message"] == "Task exception was never retrieved"
    assert "secret" in JsonLines(log_text=True).format(record)


def test_cors_is_off_unless_asked_for(home):
    """Pages of other origins may only call if they are named."""
    ask = {"origin": "https://shop.example", "access-control-request-method": "POST"}
    with serving(home) as http:
        assert "access-control-allow-origin" not in http.options("/v1/recommend", headers=ask).headers
    with serving(home, cors_origins=["https://shop.example"]) as http:
        reply = http.options("/v1/recommend", headers=ask)
        assert reply.headers["access-control-allow-origin"] == "https://shop.example"


def test_what_is_not_there_is_a_problem(http):
    """Unknown paths and methods speak problem+json too."""
    for reply, status in ((http.get("/v2/nothing"), 404), (http.put("/v1/recommend"), 405)):
        assert (reply.status_code, reply.headers["content-type"]) == (status, "application/problem+json")


def test_a_service_without_indexes_is_not_ready(tmp_path):
    """It runs, says 503 and what to do."""
    with Store.open(settings_at(tmp_path).store_url) as store:
        store.upsert_items([Item(domain="books", id="b", title="B")], "run")
    with serving(tmp_path) as http:
        assert http.get("/health/live").status_code == 200
        reply = http.get("/health/ready")
        assert (reply.status_code, "xdrec index" in reply.json()["hint"]) == (503, True)
