"""Promises of limits: bodies, turns, and what a client that goes away leaves behind."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from contextlib import AsyncExitStack, asynccontextmanager

import httpx2
import pytest
from fake_llm import FakeLLM, Hangs
from service_kit import ASK, fake_client, opener, settings_at

from xdrec_agent.service.app import create_app
from xdrec_agent.service.limits import RateLimiter
from xdrec_agent.service.middleware import ConcurrencyLimiter, GcFreeze, LoadShedding, Metrics
from xdrec_agent.service.problems import TooManyRequests


def test_a_large_body_is_refused(http):
    """Whether its length is said or not, before anything is made of it."""
    big = json.dumps(ASK | {"about": "x" * 300_000}).encode()
    for content in (big, iter([big[:1000], big[1000:]])):
        reply = http.post("/v1/recommend", content=content, headers={"content-type": "application/json"})
        assert (reply.status_code, reply.headers["content-type"]) == (413, "application/problem+json")


def test_a_body_in_pieces_is_read(http):
    """A body of unknown length that is not too large is as good as any other."""
    body = json.dumps(ASK).encode()
    reply = http.post("/v1/recommend", content=iter([body[:7], body[7:]]), headers={"content-type": "application/json"})
    assert reply.status_code == 200


async def test_the_limiter_lets_some_work_some_wait_and_turns_the_rest_away():
    """At most `concurrency` work and `queue` wait; a turn that ends lets the next one in."""
    limiter = ConcurrencyLimiter(2, 1, Metrics())
    release, working = asyncio.Event(), []

    async def work(name):
        async with limiter.slot():
            working.append(name)
            await release.wait()

    tasks = [asyncio.create_task(work(name)) for name in "abc"]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert working == ["a", "b"]
    with pytest.raises(TooManyRequests) as caught:
        await work("d")
    assert caught.value.retry_after_s >= 1
    release.set()
    await asyncio.gather(*tasks)
    assert working == ["a", "b", "c"]
    await work("e")


async def test_one_who_gives_up_waiting_leaves_the_queue():
    """A place in the queue is free again when its owner has gone."""
    limiter = ConcurrencyLimiter(1, 1, Metrics())
    async with limiter.slot():
        waiting = asyncio.create_task(limiter.slot().__aenter__())
        await asyncio.sleep(0)
        assert limiter.full
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert not limiter.full


async def call(app, path, receive):
    """Call the application (ASGI) with a request whose messages `receive` gives; the messages that it sends."""
    sent = []

    async def send(message):
        sent.append(message)

    headers = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")]
    scope = {"type": "http", "asgi": {"version": "3.0"}, "method": "POST", "path": path, "raw_path": path.encode()}
    scope |= {"query_string": b"", "headers": headers, "http_version": "1.1", "scheme": "http", "root_path": ""}
    await app(scope | {"client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80)}, receive, send)
    return sent


@pytest.mark.parametrize("path", ["/v1/recommend", "/v1/recommend/stream"])
@pytest.mark.parametrize("strategy", ["listwise-logprob", "identity"], ids=["while ranking", "while explaining"])
async def test_a_client_that_goes_away_stops_the_models_work(home, path, strategy):
    """The model's request is given up and the turn is free, whatever the model was doing for the client."""
    hang, fake = Hangs(), FakeLLM()
    fake.then(*[hang] * 50)
    app = create_app(settings_at(home, strategy=strategy), opener(fake_client(fake)[1]))
    messages = [{"type": "http.request", "body": json.dumps(ASK | {"k": 2}).encode(), "more_body": False}]

    async def receive():
        if messages:
            return messages.pop()
        await hang.begun.wait()
        return {"type": "http.disconnect"}

    async with app.router.lifespan_context(app):
        await call(app, path, receive)
        assert hang.cancelled.is_set()
        assert "xdrec_in_flight 0.0" in app.state.xdrec.metrics.text().decode()


async def test_beyond_the_queue_requests_get_429_and_when_to_come_again(home):
    """While one works and one waits the third is turned away; afterwards everything is as before."""
    release, begun = asyncio.Event(), asyncio.Event()
    fake = FakeLLM()

    async def slow(_fake, body):
        begun.set()
        await release.wait()
        return httpx2.Response(500)

    fake.then(slow)
    app = create_app(
        settings_at(home, strategy="listwise-logprob", concurrency=1, queue=1), opener(fake_client(fake)[1])
    )
    transport = httpx2.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http,
    ):
        ask = ASK | {"explain": False}
        first = asyncio.create_task(http.post("/v1/recommend", json=ask))
        await begun.wait()
        second = asyncio.create_task(http.post("/v1/recommend", json=ask))
        while not app.state.xdrec.limiter.full:  # noqa: ASYNC110 (a limiter tells nobody that it is full)
            await asyncio.sleep(0)
        for path in ("/v1/recommend", "/v1/recommend/stream"):
            third = await http.post(path, json=ask)
            assert (third.status_code, third.json()["retryable"]) == (429, True)
            assert int(third.headers["retry-after"]) > 0
        release.set()
        assert [(await reply).status_code for reply in (first, second)] == [200, 200]
        assert (await http.post("/v1/recommend", json=ask)).status_code == 200


@asynccontextmanager
async def client_of(app):
    """A client of the application, which has started."""
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://127.0.0.1") as http,
    ):
        yield http


async def test_without_a_model_answers_are_computed_in_order(home):
    """A whole answer waits for those before it; one that comes in pieces never does: its reader may be slow."""
    app = create_app(settings_at(home), opener())
    async with client_of(app) as http:
        state = app.state.xdrec
        async with AsyncExitStack() as others:
            for _ in range(state.threads):
                await others.enter_async_context(state.computing(""))
            waiting = asyncio.create_task(http.post("/v1/recommend", json=ASK))
            assert (await http.post("/v1/recommend/stream", json=ASK)).status_code == 200
            assert not waiting.done()
        assert (await waiting).status_code == 200


@pytest.mark.parametrize("shared", [False, True])
async def test_a_client_is_sent_to_another_process_where_others_wait(shared):
    """With several processes a connection ends with the answer if others wait; who is alone keeps it."""

    async def answers(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    async def receive():
        return {"type": "http.request"}

    limiter = ConcurrencyLimiter(2, 1, Metrics())
    app = LoadShedding(answers, limiter, frozenset({"/v1/recommend"}), shared=shared)
    async with limiter.slot():
        (busy, _) = await call(app, "/v1/recommend", receive)
    (idle, _) = await call(app, "/v1/recommend", receive)
    assert ((b"connection", b"close") in busy["headers"]) is shared
    assert idle["headers"] == []


async def test_what_is_there_after_the_start_is_no_garbage():
    """The collector does not go through it again."""

    async def app(scope, receive, send):
        await send({"type": "lifespan.startup.complete"})

    async def nothing(message=None):
        return message

    before = gc.get_freeze_count()
    try:
        await GcFreeze(app)({"type": "lifespan"}, nothing, nothing)
        assert gc.get_freeze_count() > before + 1000
    finally:
        gc.unfreeze()


def test_a_rate_holds_in_a_sliding_window_over_all_processes(tmp_path, monkeypatch):
    """Counters of one folder count together; who is refused is told when there is room again, and there is."""
    now = 7200.0
    monkeypatch.setattr(time, "time", lambda: now)
    one, other = (RateLimiter("4/hour", tmp_path) for _ in range(2))
    for limiter in (one, other, one, other):
        limiter.count("key")
    with pytest.raises(TooManyRequests) as refused:
        one.count("key")
    assert refused.value.retry_after_s == 3600
    now += 3600 + 1800  # half of the earlier window still counts: 2 of 4
    one.count("key")
    other.count("key")
    with pytest.raises(TooManyRequests) as refused:
        one.count("key")
    now += refused.value.retry_after_s
    one.count("key")
    one.count("another key")
    one.close()
    other.close()
