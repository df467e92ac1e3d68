"""Logs and the frame around every request. Reads requests and their answers, produces JSON lines, counts and headers.

A line says which route, how it ended and how long it took; never what was written or who wrote it, unless
`service.log_text` is set.
"""

from __future__ import annotations

import json
import logging
import secrets
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from xdrec_agent.service.metrics import Metrics
from xdrec_agent.service.problems import Problem

_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (
        b"content-security-policy",
        b"default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'",
    ),
)
"""On every answer that has none of its own: no browser runs, frames or sends away what a catalogue or a model says."""
_access = logging.getLogger("xdrec.access")


class JsonLines(logging.Formatter):
    """One JSON object a line; what was given as `extra={"fields": …}` stands in it by name.

    Args:
        log_text: whether an exception is shown with what it says. That may hold what somebody wrote (a refused value,
            a parameter of a statement, a model's reply), so that otherwise only its kind and the places are shown.
    """

    def __init__(self, *, log_text: bool = False) -> None:
        super().__init__()
        self._log_text = log_text

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._message(record),
        }
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["exception"] = (
                self.formatException(record.exc_info) if self._log_text else wordless(record.exc_info[1])
            )
        return json.dumps(line, ensure_ascii=False, default=str)

    def _message(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        # asyncio puts whole exceptions and what a task works on into its messages, from the second line on.
        return message.partition("\n")[0] if record.name == "asyncio" and not self._log_text else message


def wordless(error: BaseException | None) -> str:
    """An exception and those that led to it, the last one first: the kind of each and where it was raised."""
    lines = []
    while error is not None:
        frames = traceback.extract_tb(error.__traceback__)
        at = " < ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(frames))
        lines.append(f"{type(error).__module__}.{type(error).__qualname__} at {at}")
        error = error.__cause__ or error.__context__
    return "\n".join(lines)


def log_to_stderr(level: int = logging.INFO, *, log_text: bool = False) -> None:
    """Have everything that is logged in this process come out as JSON lines; `log_text`: as `JsonLines`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(log_text=log_text))
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for noisy in ("httpx", "httpx2", "sse_starlette", "chromadb", "mcp"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


class Frame:
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
        began, status, request_id = perf_counter(), 499, secrets.token_hex(8)

        async def framed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = {name for name, _ in message["headers"]}
                common = [header for header in _HEADERS if header[0] not in own]
                message["headers"] = [*message["headers"], *common, (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            if self._local and not _meant_for_us(scope):
                await _WRONG_HOST.response()(scope, receive, framed)
            else:
                await self._app(scope, receive, framed)
        except Exception:
            status = 500
            raise
        finally:
            self._note(scope, status, perf_counter() - began, request_id)

    def _note(self, scope: Scope, status: int, seconds: float, request_id: str) -> None:
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


_WRONG_HOST: Final = Problem(
    type="urn:xdrec:wrong-host",
    title="Wrong host",
    status=400,
    detail="without keys only requests for this machine are answered",
    hint="call http://127.0.0.1, or require keys: service.keys = required",
)


def _meant_for_us(scope: Scope) -> bool:
    host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
    return (urlsplit(f"//{host}").hostname or "") in {"127.0.0.1", "localhost", "::1"}
