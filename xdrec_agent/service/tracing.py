"""Tracing. Reads `service.tracing`, produces OpenTelemetry spans of requests; an extra, and off by default.

The middlewares of OpenTelemetry and Starlette export paths, queries, addresses and what exceptions say, all of which
may name users; this one exports none of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from retrieval.errors import optional_packages

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer


@contextmanager
def open_tracer() -> Iterator[Tracer]:
    """A tracer whose spans go to the collector that OTEL_EXPORTER_OTLP_ENDPOINT names; flushed at the end.

    Raises:
        SetupError: the extra is not installed.
    """
    with optional_packages("tracing", "tracing"):
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    provider = TracerProvider(resource=Resource.create({"service.name": "xdrec"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    try:
        yield provider.get_tracer("xdrec")
    finally:
        provider.shutdown()


class TracingMiddleware:
    """A span for every request, with its route, its status and, where the caller sends one, its trace.

    The tracer is the application's (`app.state.tracer`), which opens it when it starts.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        from opentelemetry.propagate import extract
        from opentelemetry.trace import SpanKind

        method, headers = scope["method"], {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        tracer: Tracer = scope["app"].state.tracer
        with tracer.start_as_current_span(
            method, extract(headers), SpanKind.SERVER, record_exception=False, set_status_on_exception=False
        ) as span:

            async def send_traced(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                await send(message)

            try:
                await self._app(scope, receive, send_traced)
            finally:
                route = getattr(scope.get("route"), "path", "")
                span.set_attributes({"http.request.method": method, "http.route": route})
                span.update_name(f"{method} {route}".strip())
