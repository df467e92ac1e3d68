"""What a load test says. Reads what became of each request, produces figures with their targets.

A request that got no recommendation counts as one that took for ever: a percentile of the answered ones alone would be
the better the more are turned away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import theilslopes

from benchmarks.figures import Figure, figure

LIMIT_MS: Final = 250.0
OVERHEAD_MS: Final = 10.0
GROWTH: Final = 0.02
"""Largest growth of memory in ten minutes that counts as none."""
_MINUTE_S: Final = 60.0
_TEN_MINUTES_S: Final = 600.0


@dataclass(frozen=True)
class Measured:
    """What became of requests, in the order in which they were due.

    Attributes:
        due: seconds from the start at which each was due.
        status: 0: no answer.
        latency: milliseconds from when it was due to the end of its answer.
        overhead: of those answered, the part of the latency that was none of the answer's stages.
    """

    due: NDArray[np.float64]
    status: NDArray[np.int64]
    latency: NDArray[np.float64]
    overhead: NDArray[np.float64]

    def share(self, *statuses: int) -> float:
        """The share of requests that ended so."""
        return float(np.isin(self.status, statuses).mean())

    def percentile(self, percent: float) -> float:
        """Of all requests' latencies, infinite where that many were not answered. Not interpolated."""
        return float(np.percentile(self._all(), percent, method="higher"))

    def percentile_of_answered(self, percent: float) -> float:
        """Of the answered requests' latencies; NaN if there are none."""
        found = self.latency[self.status == 200]
        return float(np.percentile(found, percent, method="higher")) if len(found) else float("nan")

    def worst_minute(self, percent: float) -> float:
        """The largest percentile among the minutes, each of the requests that were due in it."""
        minutes = (self.due // _MINUTE_S).astype(int)
        parts = (self._all()[minutes == minute] for minute in np.unique(minutes))
        return max(float(np.percentile(part, percent, method="higher")) for part in parts)

    def _all(self) -> NDArray[np.float64]:
        return np.where(self.status == 200, self.latency, np.inf)


@dataclass(frozen=True)
class Growth:
    """How memory grew: its median in MiB, and the slope as a share of it in ten minutes with a 95% interval."""

    median: float
    slope: float
    low: float
    high: float


def growth(seconds: Sequence[float], mib: Sequence[float]) -> Growth:
    """Theil and Sen's slope over all but the first quarter, in which a server warms up: single jumps hardly move it."""
    skip = len(mib) // 4
    at, memory = np.asarray(seconds[skip:]), np.asarray(mib[skip:])
    slope, _, low, high = theilslopes(memory, at, 0.95)
    median = float(np.median(memory))
    per = _TEN_MINUTES_S / median
    return Growth(median, float(slope) * per, float(low) * per, float(high) * per)


def steady_figures(found: Measured, cpu_s: float, note: str) -> list[Figure]:
    """Latency and completeness at the rate; `cpu_s`: seconds of processor that the server used for it."""
    n, answered = len(found.status), int((found.status == 200).sum())
    infinite = f"{note}; what was not answered counts as infinite"
    each = 1000 * cpu_s / max(1, answered)
    return [
        figure("answered at the rate", found.share(200), "", n, note, "1"),
        figure("latency, p50", found.percentile(50), "ms", n, note),
        figure("latency, p95", found.percentile(95), "ms", n, note),
        figure("latency, p99", found.percentile(99), "ms", n, infinite, f"< {LIMIT_MS:g}"),
        figure("latency, p99 of the worst minute", found.worst_minute(99), "ms", n, note),
        figure("processor a recommendation", each, "ms", n, "of the server, its threads together"),
    ]


def memory_figures(seconds: Sequence[float], mib: Sequence[float]) -> list[Figure]:
    """Size and growth of memory."""
    found, n = growth(seconds, mib), len(mib)
    interval = f"95% interval {found.low:+.2%} to {found.high:+.2%}"
    spread = f"{interval}; {seconds[-1] / 60:.1f} minutes, first quarter left out"
    small = found.high < GROWTH  # too few samples show nothing
    return [
        figure("memory", found.median, "MiB", n, "resident, without what is mapped from files"),
        figure("memory's growth in ten minutes", found.slope, "", n, spread, f"< {GROWTH:g}", small),
    ]


def beyond_figures(over: Measured, after: Measured, seconds: float, rate: float, usual: float) -> list[Figure]:
    """What happened when `rate` requests a second came for `seconds`, and when `usual` came at once afterwards."""
    n, answered, again = len(over.status), int((over.status == 200).sum()), len(after.status)
    note, later = f"{rate:g}/s for {seconds:g} s", f"{usual:g}/s, at once after it"
    slowest, limit = over.percentile_of_answered(99), f"< {LIMIT_MS:g}"
    return [
        figure("turned away beyond saturation (429)", over.share(429), "", n, note, "> 0"),
        figure("neither answered nor turned away", 1 - over.share(200, 429), "", n, note, "0"),
        figure("answered beyond saturation", answered / seconds, "/s", n, note),
        figure("latency beyond saturation, p99", slowest, "ms", answered, f"{note}; of those answered"),
        figure("answered afterwards", after.share(200), "", again, later, "1"),
        figure("latency afterwards, p99", after.percentile(99), "ms", again, later, limit),
    ]


def overhead_figure(name: str, found: Measured, note: str, *, target: bool) -> Figure:
    """The median of what a request costs beside the stages of its answer."""
    value = float(np.median(found.overhead)) if len(found.overhead) else float("nan")
    return figure(name, value, "ms", len(found.overhead), note, f"< {OVERHEAD_MS:g}" if target else None)
