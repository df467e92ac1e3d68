"""Which server gets a request. Reads how requests end, produces the server to ask next.

Several servers of one model share the load: the one with the fewest requests in flight is asked. A server that fails
`FAILURES` times in a row is left out (a circuit breaker); after a pause one request at a time tries it again, and the
first that is answered brings it back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from xdrec_agent.errors import LLMError, LLMLeftOut

if TYPE_CHECKING:
    import openai

FAILURES: Final = 5


@dataclass(eq=False)
class Replica:
    """One server: its base URL, an open client of it, and how it does.

    `failures` are those in a row, `left_out_until` is a time of `time.monotonic`. (pybreaker counts a cancelled request
    as a success or as a failure; here it must be neither, for one failure cancels all requests beside it.)
    """

    base_url: str
    client: openai.AsyncOpenAI
    recovery_s: float
    in_flight: int = 0
    failures: int = 0
    left_out_until: float = 0.0

    @property
    def ill(self) -> bool:
        """Whether it is left out, or on trial."""
        return self.failures >= FAILURES

    @property
    def may_be_asked(self) -> bool:
        """Whether it is well, or may be tried again by a request alone."""
        return not self.ill or (self.in_flight == 0 and time.monotonic() >= self.left_out_until)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """A request to it; how the block ends decides how it is seen from then on."""
        self.in_flight += 1
        try:
            yield
        except asyncio.CancelledError:
            # A call's other requests are left out during a trial, which cancels it: others must get in, or the trial
            # would never end. The next failure leaves the server out again.
            self.failures = min(self.failures, FAILURES - 1)
            raise
        except LLMError as exc:
            # A refusal is an answer.
            self.failures = self.failures + 1 if exc.retryable else 0
            if self.ill:
                self.left_out_until = time.monotonic() + self.recovery_s
            raise
        else:
            self.failures = 0
        finally:
            self.in_flight -= 1


class Replicas:
    """The servers of one endpoint, at least one."""

    def __init__(self, replicas: Sequence[Replica]) -> None:
        self.all = tuple(replicas)

    @contextmanager
    def one(self, tried: Collection[Replica]) -> Iterator[Replica]:
        """The server to ask; an LLMError that the block raises counts as its failure, unless it is a refusal.

        Args:
            tried: those that failed at this request already: asked again only if there is no other.

        Raises:
            LLMLeftOut: every server is left out.
        """
        able = [replica for replica in self.all if replica.may_be_asked]
        if not able:
            names = ", ".join(replica.base_url for replica in self.all)
            raise LLMLeftOut(f"{names}: failed {FAILURES} times in a row, left out for now", hint="xdrec llm status")
        # One that may be tried again goes first: while others are well nobody else would ever ask it.
        replica = min(able, key=lambda r: (r in tried, not r.ill, r.in_flight))
        with replica.watched():
            yield replica
