"""Limits of a dialogue and of a key. Read who asks, produce a turn, or an error that says when to come again.

Dialogue locks are of one process; rates count on disk, so that all processes of a service, and the MCP server beside
it, count together.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from retrieval.errors import UsageError
from xdrec_agent.errors import DialogueBusy
from xdrec_agent.llm import disk_errors, open_disk_cache
from xdrec_agent.service.problems import TooManyRequests

MOST_WAITING: Final = 2
"""Turns that wait for the running one of their dialogue: a user who stops a reply and asks anew, on two devices."""
_RETRY_S: Final = 1
_RATE: Final = re.compile(r"(\d+)\s*(?:/|per)\s*(\d*)\s*(second|minute|hour|day)s?")
_SECONDS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
_COUNTERS_BYTES: Final = 64 * 2**20  # a key needs some hundred


@dataclass
class _Queue:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    length: int = 0


class DialogueLocks:
    """One turn of a dialogue at a time, in order of arrival; for one event loop.

    Between processes the store refuses a change of what another one has changed (`Dialogues.keep`), with the same
    error. Nothing is left of a dialogue that has no turn.
    """

    def __init__(self) -> None:
        self._queues: dict[str, _Queue] = {}

    def queued(self, dialogue: str) -> int:
        """How many turns of the dialogue run or wait."""
        queue = self._queues.get(dialogue)
        return queue.length if queue else 0

    @asynccontextmanager
    async def turn(self, dialogue: str) -> AsyncIterator[None]:
        """Wait until no other turn of the dialogue runs. Raises DialogueBusy if `MOST_WAITING` wait already."""
        if self.queued(dialogue) > MOST_WAITING:
            raise DialogueBusy(
                "a turn of this dialogue runs, and others wait for it", hint="wait for the replies, then say it again"
            )
        queue = self._queues.setdefault(dialogue, _Queue())
        queue.length += 1
        try:
            async with queue.lock:
                yield
        finally:
            queue.length -= 1
            if not queue.length:
                del self._queues[dialogue]


class RateLimiter:
    """So many requests of each key in a sliding window.

    The window is approximated from counters of fixed windows: the present one counts whole, the one before it for the
    part that the sliding window still covers.

    Args:
        rate: COUNT/PERIOD, as "600/minute".
        folder: of the counters, made at first use.

    Raises:
        UsageError: `rate` is no rate.
        BackendError: the folder cannot be written.
    """

    def __init__(self, rate: str, folder: Path) -> None:
        match = _RATE.fullmatch(rate.strip())
        if match is None:
            raise UsageError(f"service.rate {rate!r} is no rate", hint='for example "600/minute"')
        self._rate, self._folder = rate, folder
        self._limit = int(match[1])
        self._window_s = int(match[2] or 1) * _SECONDS[match[3]]
        with self._errors():
            self._counters = open_disk_cache(folder, _COUNTERS_BYTES)

    def count(self, key: str) -> None:
        """Count a request of the key. Raises TooManyRequests, BackendError."""
        window, elapsed = divmod(time.time(), self._window_s)
        before, now = (f"{key}:{number:.0f}" for number in (window - 1, window))
        with self._errors(), self._counters.transact():
            earlier, count = self._counters.get(before, 0), self._counters.get(now, 0)
            if math.floor(earlier * (1 - elapsed / self._window_s)) + count < self._limit:
                self._counters.set(now, count + 1, expire=2 * self._window_s)
                return
        left = self._limit - count  # once the earlier requests that still count are fewer, there is room again
        seconds = self._window_s * (1 - left / earlier if left > 0 else 1) - elapsed
        wait_s = max(_RETRY_S, math.ceil(seconds))
        message = f"the key has used up its {self._rate}"
        raise TooManyRequests(message, retry_after_s=wait_s, hint=f"come again in {wait_s} s")

    def close(self) -> None:
        """Close the counters' file."""
        self._counters.close()

    def _errors(self) -> AbstractContextManager[None]:
        return disk_errors("folder of the rates", self._folder, "make room, or remove the folder: it is made anew")
