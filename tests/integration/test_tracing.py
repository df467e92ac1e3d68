"""Promises of `service.tracing`: a real service sends spans to a real collector, and nothing personal with them."""

from __future__ import annotations

import gzip
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from words_service import ASK, filled, running

pytestmark = pytest.mark.integration

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


@contextmanager
def collector():
    """An OTLP collector over HTTP: its address, and what has arrived so far."""
    arrived = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            plain = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
            arrived.append((self.path, plain))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_arguments):
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", arrived
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_request_is_a_span_of_the_callers_trace(tmp_path, workers):
    """With its route and status, under the caller's trace, all sent by the time the service has ended; no words."""
    home = filled(tmp_path)
    with collector() as (url, arrived):
        options = {"XDREC_SERVICE__TRACING": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": url, "no_proxy": "127.0.0.1"}
        with running(home, XDREC_RERANK__STRATEGY="identity", XDREC_SERVICE__WORKERS=workers, **options) as service:
            headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
            asked = ASK | {"about": "a secret wish"}
            assert httpx2.post(f"{service.url}/v1/recommend", json=asked, headers=headers, timeout=120).is_success
            missing = httpx2.get(f"{service.url}/v1/answers/none?q=secret", headers=headers, timeout=120)
            assert missing.status_code == 404
    assert {path for path, _ in arrived} == {"/v1/traces"}
    assert not any(word in body for _, body in arrived for word in (b"secret", b"ada", b"none"))
    spans = [span for _, body in arrived for span in spans_of(body) if span.trace_id.hex() == TRACE]
    told = {span.name: {a.key: a.value for a in span.attributes} for span in spans}
    assert set(told) == {"POST /v1/recommend", "GET /v1/answers/{id_}"}
    assert told["POST /v1/recommend"]["http.response.status_code"].int_value == 200
    assert told["GET /v1/answers/{id_}"]["http.response.status_code"].int_value == 404
    assert {span.parent_span_id.hex() for span in spans} == {PARENT}


def spans_of(body):
    """The spans of an export."""
    export = ExportTraceServiceRequest.FromString(body)
    return [s for resource in export.resource_spans for scope in resource.scope_spans for s in scope.spans]
