"""One turn of a dialogue at a time. Reads a dialogue's id, produces the right to change it, in order of arrival.

The queue is this process's: between processes the store refuses a change of what somebody else has changed
(`Dialogues.keep`), with the same error.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from xdrec_agent.errors import DialogueBusy

MOST_WAITING: Final = 2
"""Turns that wait for the one that runs: a person who stops a reply and asks anew, on two devices."""


@dataclass
class _Line:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    present: int = 0


class DialogueTurns:
    """Who may change which dialogue; for one event loop. Nothing is left of a dialogue in which nobody speaks."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}

    def present(self, dialogue: str) -> int:
        """How many turns of the dialogue run or wait."""
        line = self._lines.get(dialogue)
        return line.present if line else 0

    @asynccontextmanager
    async def of(self, dialogue: str) -> AsyncIterator[None]:
        """Wait until nobody else is in a turn of the dialogue. Raises DialogueBusy if `MOST_WAITING` wait already."""
        if self.present(dialogue) > MOST_WAITING:
            raise DialogueBusy(
                "a turn of this dialogue runs, and others wait for it", hint="wait for the replies, then say it again"
            )
        line = self._lines.setdefault(dialogue, _Line())
        line.present += 1
        try:
            async with line.lock:
                yield
        finally:
            line.present -= 1
            if not line.present:
                del self._lines[dialogue]
