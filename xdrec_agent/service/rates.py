"""So many requests for each key. Reads who asks, produces nothing, or when to come again.

Counted on disk, so that all processes of a service, and the MCP server beside it, count together.
"""

from __future__ import annotations

import math
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

import diskcache
from limits import RateLimitItem, parse
from limits.storage import SlidingWindowCounterSupport, Storage
from limits.storage.base import TimestampedSlidingWindow
from limits.strategies import SlidingWindowCounterRateLimiter

from retrieval.errors import UsageError
from xdrec_agent.llm import disk_errors, open_disk_cache
from xdrec_agent.service.problems import TooMuch

_SOON_S: Final = 1
_SIZE: Final = 64 * 2**20
"""Bytes of the counters; a key needs some hundred."""


class Rate:
    """A limit for each key in a sliding window.

    Args:
        rate: as limits writes it, "600/minute".
        folder: of the counters, made at first use.

    Raises:
        UsageError: `rate` is no rate.
        BackendError: the folder cannot be written.
    """

    def __init__(self, rate: str, folder: Path) -> None:
        try:
            self._rate: RateLimitItem = parse(rate)
        except ValueError as exc:
            raise UsageError(f"service.rate {rate!r} is no rate", hint='for example "600/minute"') from exc
        self._folder = folder
        with self._errors():
            self._windows = _Windows(open_disk_cache(folder, _SIZE))
        self._limiter = SlidingWindowCounterRateLimiter(self._windows)

    def count(self, key: str) -> None:
        """Count a request of the key. Raises TooMuch, BackendError."""
        with self._errors():
            if self._limiter.hit(self._rate, key):
                return
            reset = self._limiter.get_window_stats(self._rate, key).reset_time
        after = max(_SOON_S, math.ceil(reset - time.time()))
        raise TooMuch(f"the key has used up its {self._rate}", after_s=after, hint=f"come again in {after} s")

    def close(self) -> None:
        """Close the counters' file."""
        self._windows.close()

    def _errors(self) -> AbstractContextManager[None]:
        return disk_errors("folder of the rates", self._folder, "make room, or remove the folder: it is made anew")


class _Windows(Storage, SlidingWindowCounterSupport, TimestampedSlidingWindow):
    """Where limits finds its counters: windows of fixed length on disk, each under its key and number."""

    def __init__(self, cache: diskcache.Cache) -> None:
        super().__init__()
        self._cache = cache

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Whether `amount` more fit into the window, and then they are counted; one caller at a time."""
        with self._cache.transact():
            before, left, counted, _ = self.get_sliding_window(key, expiry)
            if math.floor(before * left / expiry) + counted + amount > limit:
                return False
            _, now = self.sliding_window_keys(key, expiry, time.time())
            self.incr(now, 2 * expiry, amount)
        return True

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """Counts of the previous and the present window, each with the seconds for which it still matters."""
        at = time.time()
        before, now = self.sliding_window_keys(key, expiry, at)
        left = expiry - at % expiry
        return self.get(before), left, self.get(now), left + expiry

    def clear_sliding_window(self, key: str, expiry: int) -> None:
        """Forget the windows of a key."""
        for name in self.sliding_window_keys(key, expiry, time.time()):
            self.clear(name)

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count `amount` more; the counter lives for `expiry` seconds from now."""
        with self._cache.transact():
            counted = self.get(key) + amount
            self._cache.set(key, counted, expire=expiry)
        return counted

    def get(self, key: str) -> int:
        """What was counted; 0 for nothing."""
        return int(self._cache.get(key, 0))

    def get_expiry(self, key: str) -> float:
        """When the counter goes, in seconds since 1970; now if there is none."""
        _, expires = self._cache.get(key, expire_time=True)
        return float(expires or time.time())

    def check(self) -> bool:
        """Whether the counters can be read."""
        with self._cache.transact():
            return True

    def reset(self) -> int | None:
        """Forget everything; how many counters went."""
        return int(self._cache.clear())

    def clear(self, key: str) -> None:
        """Forget a counter."""
        self._cache.delete(key)

    def close(self) -> None:
        """Close the file."""
        self._cache.close()

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        """None is wrapped: `disk_errors` translates them."""
        return ()
