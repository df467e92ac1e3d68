"""Promises of the load test: it sends when it said it would, every reply is one outcome, and no figure flatters."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import numpy as np
import pytest

from benchmarks.service.http_load import LoadClient, Outcome
from benchmarks.service.load_figures import Measured, beyond_figures, growth, memory_figures, steady_figures
from benchmarks.service.service import RATE, Load, arrivals


@asynccontextmanager
async def serving(*replies):
    """A server whose connections get these replies, one a request, and then an end."""
    left, connections = list(replies), []

    async def handle(reader, writer):
        connections.append(writer)
        while left:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                break
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            writer.write(left.pop(0))
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", connections


OK = b"HTTP/1.1 200 OK\r\nserver-timing: a;dur=1.5, b;dur=2.0\r\nContent-Length: 2\r\n\r\n{}"
FULL = b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


async def test_replies_are_read_to_their_end_and_connections_used_again():
    """Status and the stages' times; the second request goes over the same connection."""
    async with serving(OK, OK) as (url, connections), LoadClient(url, 10) as client:
        assert await client.post("/", b"{}") == Outcome(200, 3.5)
        assert await client.post("/", b"{}") == Outcome(200, 3.5)
        assert len(connections) == 1


async def test_a_closed_connection_is_not_used_again():
    """A server that closes after its answer gets a new connection for the next request."""
    async with serving(FULL, OK) as (url, connections), LoadClient(url, 10) as client:
        assert (await client.post("/", b"{}")).status == 429
        connections[0].close()
        assert (await client.post("/", b"{}")).status == 200


@pytest.mark.parametrize("reply", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nshort"])
async def test_no_answer_is_an_outcome(reply):
    """A connection that breaks is counted, and does not end the run."""
    async with serving(reply) as (url, _), LoadClient(url, 10) as client:
        assert await client.post("/", b"{}") == Outcome(0)


async def test_nobody_listening_is_an_outcome():
    """As when the server has died."""
    async with serving() as (url, _):
        pass
    async with LoadClient(url, 10) as client:
        assert await client.post("/", b"{}") == Outcome(0)


def test_arrivals_are_a_poisson_process_of_the_rate():
    """Ascending times; their gaps have the mean and the deviation of an exponential distribution."""
    due = arrivals(RATE, 600, np.random.default_rng(1))
    gaps = np.diff(due)
    assert (gaps > 0).all()
    assert len(due) == 600 * RATE
    assert abs(gaps.mean() * RATE - 1) < 6 / np.sqrt(len(gaps))
    assert abs(gaps.std() * RATE - 1) < 0.05


async def test_latency_counts_from_when_a_request_was_due():
    """A server that answers nothing for a while is charged for everything that was due meanwhile (open loop)."""
    release, asked = asyncio.Event(), 0

    async def handle(reader, writer):
        nonlocal asked
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
        asked += 1
        if asked == 5:
            release.set()
        await release.wait()
        writer.write(OK.replace(b"\r\n", b"\r\nconnection: close\r\n", 1))
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with LoadClient(url, 60) as client:
            due = np.arange(5) / 50
            found = await Load(client, [str(n) for n in range(20)], np.random.default_rng(0)).run(due)
    assert found.share(200) == 1
    assert (found.latency >= 1000 * (due[-1] - due) - 0.01).all()  # nobody was answered before the last one came
    assert np.allclose(found.overhead, found.latency - 3.5)


def outcomes(status, latency, rate=1.0):
    status, latency = np.array(status), np.array(latency, dtype=float)
    return Measured(np.arange(len(status)) / rate, status, latency, latency[status == 200])


def test_what_was_turned_away_does_not_make_a_percentile_better():
    """Fast answers to some of the requests are no good p99; with all answered it is that of all."""
    half = outcomes([200, 429, 200, 429, 200] * 200, [10.0, 1.0, 10.0, 1.0, 10.0] * 200)
    figures = {f.name: f for f in steady_figures(half, 1.0, "")}
    assert figures["answered at the rate"].met is False
    assert figures["latency, p99"].value == np.inf
    assert figures["latency, p99"].met is False
    assert figures["latency, p50"].value == 10
    assert figures["processor a recommendation"].value == pytest.approx(1000 / 600)
    whole = outcomes([200] * 1000, range(1000))
    assert {f.name: f for f in steady_figures(whole, 1.0, "")}["latency, p99"].value == 990


def test_a_bad_minute_is_not_averaged_away():
    """One slow minute in ten is seen beside the overall p99."""
    latency = np.full(6_000, 20.0)
    latency[600:612] = 900.0
    found = outcomes([200] * 6_000, latency, rate=10)
    assert found.percentile(99) == 20
    assert found.worst_minute(99) == 900


def test_a_leak_is_told_from_a_jump_and_from_warming_up():
    """Slow steady growth fails; a start that grows, noise and a single jump do not."""
    seconds, noise = np.arange(120) * 5.0, np.random.default_rng(3).normal(0, 0.5, 120)
    warm = np.where(seconds < 120, 300 + seconds, 420.0)
    assert abs(growth(seconds, warm + noise).slope) < 0.005
    leak = 400 + seconds * 0.05
    found = growth(seconds, leak + noise)
    assert found.slope == pytest.approx(0.05 * 600 / 418, rel=0.1)
    assert found.low < found.slope < found.high
    assert [f.met for f in memory_figures(list(seconds), list(leak + noise)) if f.target] == [False]
    assert [f.met for f in memory_figures(list(seconds), list(warm + noise)) if f.target] == [True]
    few = slice(0, 7)
    assert [f.met for f in memory_figures(list(seconds[few]), list((leak + noise)[few])) if f.target] == [False]


def test_recovery_means_that_all_are_answered_again():
    """Shedding is wanted, losing is not, and a few quick answers afterwards are no recovery."""
    over = outcomes([200, 429, 429, 429], [50.0, 1, 1, 1])
    good, bad = outcomes([200] * 100, [20.0] * 100), outcomes([200] * 98 + [429] * 2, [20.0] * 100)
    met = {f.name: f.met for f in beyond_figures(over, good, 1, 160, 40) if f.target}
    assert set(met.values()) == {True}
    met = {f.name: f.met for f in beyond_figures(over, bad, 1, 160, 40) if f.target}
    assert (met["answered afterwards"], met["latency afterwards, p99"]) == (False, False)
    nobody = outcomes([0, 500], [1.0, 1])
    met = {f.name: f.met for f in beyond_figures(nobody, good, 1, 160, 40) if f.target}
    assert not met["neither answered nor turned away"]
