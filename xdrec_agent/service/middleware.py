"""Middleware around every request. Reads requests and answers, produces log lines, metrics, headers and refusals.

A log line says which route, how it ended and how long it took; never what was written or who wrote it, unless
`service.log_text` is set.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import Final
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from xdrec_agent.service.problems import BodyTooLarge, TooManyRequests, WrongHost, response_of
from xdrec_agent.types import Recommendations

_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (
        b"content-security-policy",
        b"default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'",
    ),
)
"""On every answer that has none of its own: no browser runs, frames or sends away what a catalogue or a model says."""
_CLIENT_GONE: Final = 499
_RETRY_S: Final = 1
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
"""Bounds of the buckets that times are counted in."""
_access = logging.getLogger("xdrec.access")


class Metrics:
    """What is counted and timed, for Prometheus.

    Each application has a registry of its own, so that two in one process do not count for each other. Processes that
    serve together count into one folder, which any of them adds up.

    Args:
        shared: folder into which other processes count, too; None: this is the only one.
    """

    def __init__(self, shared: Path | None = None) -> None:
        self._shared = shared
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter("xdrec_requests", "Requests answered.", ("route", "status"), registry=registry)
        self.seconds = Histogram(
            "xdrec_request_seconds", "From request to the end of its answer.", ("route",), buckets=_SECONDS,
            registry=registry,
        )  # fmt: skip
        self.in_flight = Gauge(
            "xdrec_in_flight",
            "Recommendations and conversations at work.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.waiting = Gauge(
            "xdrec_waiting", "Requests that wait for a turn.", registry=registry, multiprocess_mode="livesum"
        )
        self.shed = Counter("xdrec_shed", "Requests turned away because too many waited.", registry=registry)
        self.stages = Histogram(
            "xdrec_stage_seconds", "Time of a stage of an answer.", ("stage",), buckets=_SECONDS, registry=registry
        )
        self.overhead = Histogram(
            "xdrec_overhead_seconds", "Of a recommendation, what is none of its stages.", buckets=_SECONDS,
            registry=registry,
        )  # fmt: skip
        self.answers = Counter(
            "xdrec_answers", "Recommendations given.", ("target", "source", "arm"), registry=registry
        )
        self.degraded = Counter("xdrec_degraded", "Answers that are marked as degraded.", registry=registry)
        self.explanations = Counter("xdrec_explanations", "Reasons given.", ("source",), registry=registry)
        self.tokens = Counter("xdrec_llm_tokens", "Tokens to and from the model.", ("stage",), registry=registry)
        self.feedback = Counter("xdrec_feedback", "What people did with items.", ("kind", "arm"), registry=registry)

    def count_answer(self, answer: Recommendations, arm: str, seconds: float) -> None:
        """Count an answer, which took `seconds` from its query to its last reason."""
        self.answers.labels(answer.target, answer.source, arm).inc()
        if answer.degraded:
            self.degraded.inc()
        for item in answer.items:
            if item.explanation:
                self.explanations.labels(item.explanation.source).inc()
        for stage, spent in answer.seconds.items():
            self.stages.labels(stage).observe(spent)
        for stage, usage in answer.usage.items():
            self.tokens.labels(stage).inc(usage.prompt_tokens + usage.completion_tokens)
        self.overhead.observe(max(0.0, seconds - sum(answer.seconds.values())))

    def text(self) -> bytes:
        """What a scrape gets."""
        if self._shared is None:
            return generate_latest(self._registry)
        combined = CollectorRegistry()
        MultiProcessCollector(combined, path=str(self._shared))  # type: ignore[no-untyped-call] # it has no types
        return generate_latest(combined)


class RequestMiddleware:
    """Around every request: its id, its line in the log, its place in the metrics, its headers, its host.

    Args:
        local: refuse requests for another host than this machine. Where keys are off, a web page could otherwise have
            its own name point here and read what a browser on this machine may read.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, *, local: bool, log_text: bool) -> None:
        self._app = app
        self._metrics = metrics
        self._local = local
        self._log_text = log_text

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status, request_id = perf_counter(), _CLIENT_GONE, secrets.token_hex(8)

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = {name for name, _ in message["headers"]}
                common = [header for header in _HEADERS if header[0] not in own]
                message["headers"] = [*message["headers"], *common, (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            if self._local and not _for_this_machine(scope):
                hint = "call http://127.0.0.1, or require keys: service.keys = required"
                error = WrongHost("without keys only requests for this machine are answered", hint=hint)
                await response_of(error)(scope, receive, send_with_headers)
            else:
                await self._app(scope, receive, send_with_headers)
        except Exception:
            status = 500
            raise
        finally:
            self._record(scope, status, perf_counter() - start, request_id)

    def _record(self, scope: Scope, status: int, seconds: float, request_id: str) -> None:
        # The route's pattern, not the path: that holds ids, and would make a time series of each.
        route = getattr(scope.get("route"), "path", "other")
        self._metrics.requests.labels(route, str(status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        fields = {
            "request": request_id,
            "method": scope["method"],
            "route": route,
            "status": status,
            "seconds": round(seconds, 4),
        }
        if self._log_text:
            fields |= {"path": scope["path"], "query": scope["query_string"].decode("latin-1")}
        _access.info("answered", extra={"fields": fields})


def _for_this_machine(scope: Scope) -> bool:
    host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
    return (urlsplit(f"//{host}").hostname or "") in {"127.0.0.1", "localhost", "::1"}


class ConcurrencyLimiter:
    """Lets `concurrency` requests work and `queue` more wait; the next one is refused at once.

    A queue without a bound would only make everybody wait longer than they do.
    """

    def __init__(self, concurrency: int, queue: int, metrics: Metrics) -> None:
        self._slots = asyncio.Semaphore(concurrency)
        self._queue = queue
        self._waiting = 0
        self._working = 0
        self.metrics = metrics

    @property
    def full(self) -> bool:
        """Whether the next one is refused."""
        return self._slots.locked() and self._waiting >= self._queue

    @property
    def busy(self) -> bool:
        """Whether anything is at work."""
        return self._working > 0

    def refusal(self) -> TooManyRequests:
        """Count a refused request; the error that tells its sender."""
        self.metrics.shed.inc()
        hint = f"come again in {_RETRY_S} s"
        return TooManyRequests("too many requests wait already", retry_after_s=_RETRY_S, hint=hint)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Work inside of it. Raises TooManyRequests."""
        if self.full:
            raise self.refusal()
        self._waiting += 1
        self.metrics.waiting.inc()
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
            self.metrics.waiting.dec()
        self._working += 1
        self.metrics.in_flight.inc()
        try:
            yield
        finally:
            self._working -= 1
            self.metrics.in_flight.dec()
            self._slots.release()


class LoadShedding:
    """Refuses requests before anything is read of them while the limiter is full: beyond saturation that must be cheap.

    Args:
        paths: of the routes whose work goes through the limiter.
        shared: whether other processes listen on the same socket. Then a client that is answered while others wait here
            is asked to connect again: an idle process is the first to accept.
    """

    def __init__(
        self, app: ASGIApp, limiter: ConcurrencyLimiter, paths: frozenset[str], *, shared: bool = False
    ) -> None:
        self._app = app
        self._limiter = limiter
        self._shared = shared
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection (ASGI)."""
        if scope["type"] == "http" and scope["path"] in self._paths and self._limiter.full:
            await response_of(self._limiter.refusal())(scope, receive, send)
            return

        async def send_and_close(message: Message) -> None:
            if message["type"] == "http.response.start" and self._limiter.busy:
                message["headers"] = [*message["headers"], (b"connection", b"close")]
            await send(message)

        await self._app(scope, receive, send_and_close if self._shared and scope["type"] == "http" else send)


class BodyLimit:
    """Refuses bodies of more than `limit` bytes, whether their length is declared or not.

    Starlette's own limit answers in plain text; every error of ours is a problem.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"")
        read: list[Message] | None = []
        if declared.isdigit() and int(declared) > self._limit:
            read = None
        elif not declared and scope["method"] in {"POST", "PUT", "PATCH"}:
            read = await self._read(receive)
        if read is None:
            error = BodyTooLarge(
                f"a request body may have {self._limit} bytes", hint="send less, or raise service.body_kib"
            )
            await response_of(error)(scope, receive, send)
            return

        async def replay() -> Message:
            return read.pop(0) if read else await receive()

        await self._app(scope, replay, send)

    async def _read(self, receive: Receive) -> list[Message] | None:
        """The messages of a body of unknown length; None if it is too large."""
        messages: list[Message] = []
        size = 0
        while True:
            message = await receive()
            messages.append(message)
            size += len(message.get("body", b""))
            if size > self._limit:
                return None
            if message["type"] != "http.request" or not message.get("more_body", False):
                return messages


class GcFreeze:
    """Freezes the garbage collector's objects after the start: they stay, so the collector need not visit them again.

    Each visit would be a pause of tenths of a second for everybody. It is for a process that only serves: whatever
    else it holds would stay, too.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection, or the start and end (ASGI)."""

        async def freeze_after_start(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                gc.collect()
                gc.freeze()
            await send(message)

        await self._app(scope, receive, freeze_after_start if scope["type"] == "lifespan" else send)
