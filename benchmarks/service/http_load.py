"""A lean HTTP client for load. Reads a path and a body, produces status and Server-Timing of the reply.

A client library costs about a millisecond of processor a request, which on shared cores is taken from the server that
is measured. This one knows what a load generator needs: POST over kept connections, replies with a content-length.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from time import monotonic
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

_STATUS: Final = re.compile(rb"HTTP/1\.1 ([0-9]{3})")
_LENGTH: Final = re.compile(rb"\r\ncontent-length: ([0-9]+)", re.I)
_STAGE: Final = re.compile(rb"dur=([0-9.]+)")
_FRESH_S: Final = 2.0
_TIMING: Final = re.compile(rb"\r\nserver-timing: ([^\r]*)", re.I)

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Outcome:
    """What came back: status, 0 if nothing did, and the sum of the reply's Server-Timing in milliseconds."""

    status: int
    stages_ms: float = 0.0


class LoadClient:
    """Sends any number of requests at a time, each over a connection of its own that is used again afterwards."""

    def __init__(self, url: str, timeout_s: float) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._timeout_s = timeout_s
        self._idle: list[tuple[float, Connection]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _exc: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for _, (_, writer) in self._idle:
            writer.close()

    async def post(self, path: str, body: bytes) -> Outcome:
        """Send JSON and read the reply to its end; a broken connection is an outcome, not an error."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._exchange(await self._connection(), path, body)
        except (OSError, EOFError, TimeoutError):
            return Outcome(0)

    async def _connection(self) -> Connection:
        """One that was used a moment ago, else a new one: a server may close those that have been idle for long."""
        while self._idle:
            since, connection = self._idle.pop()
            if monotonic() - since < _FRESH_S:
                return connection
            connection[1].close()
        return await asyncio.open_connection(self._host, self._port)

    async def _exchange(self, connection: Connection, path: str, body: bytes) -> Outcome:
        reader, writer = connection
        done = False
        try:
            head = f"POST {path} HTTP/1.1\r\nhost: {self._host}\r\ncontent-type: application/json\r\n"
            writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
            reply = await reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(reply)
            await reader.readexactly(int(length[1]) if length else 0)
            done = b"connection: close" not in reply.lower()
        finally:
            if done:
                self._idle.append((monotonic(), connection))
            else:
                writer.close()
        status, timing = _STATUS.match(reply), _TIMING.search(reply)
        stages = sum(map(float, _STAGE.findall(timing[1]))) if timing else 0.0
        return Outcome(int(status[1]) if status else 0, stages)
