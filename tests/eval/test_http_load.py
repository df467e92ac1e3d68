"""Promises of the load generator: it sends when it said it would, and every reply is one outcome."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import numpy as np
import pytest

from eval.bench_service import RATE, _arrivals
from eval.http_load import LoadClient, Outcome


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
    due = _arrivals(RATE, 600, np.random.default_rng(1))
    gaps = np.diff(due)
    assert (gaps > 0).all()
    assert len(due) == 600 * RATE
    assert abs(gaps.mean() * RATE - 1) < 6 / np.sqrt(len(gaps))
    assert abs(gaps.std() * RATE - 1) < 0.05
