"""The fake LLM behind a real port, for other processes. Reads requests, produces what `FakeLLM` replies.

Requests can be held back: `hold_after(n)` lets n chat requests through, the next ones wait until `release`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2


class HTTPFake:
    """A context manager; `base_url` is where it listens, `chats` counts the chat requests."""

    def __init__(self, fake):
        self.fake = fake
        self.chats = 0
        self.held = threading.Event()
        self._open = threading.Event()
        self._open.set()
        self._left = None
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True

    @property
    def port(self):
        return self._server.server_address[1]

    @property
    def base_url(self):
        return f"http://127.0.0.1:{self.port}/v1"

    def hold_after(self, n):
        """Hold back all chat requests after the next n; `held` is set when one waits."""
        with self._lock:
            self._left = n
            self.held.clear()
            self._open.clear()

    def release(self):
        """Let all through."""
        with self._lock:
            self._left = None
            self._open.set()

    def come(self, path):
        """A request has come; returns when it may be answered."""
        if not path.endswith("/chat/completions"):
            return
        with self._lock:
            self.chats += 1
            if self._left is None:
                return
            self._left -= 1
            waits = self._left < 0
        if waits:
            self.held.set()
            self._open.wait()

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_exc):
        self.release()
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """Whoever asked may be killed at any moment; everything else is an error all the same."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _handler(owner):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_args):
            pass

        def answer(self):
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            owner.come(self.path)
            request = httpx2.Request(self.command, f"{owner.base_url[:-3]}{self.path}", content=content)
            reply = asyncio.run(owner.fake.handle(request))
            self.send_response(reply.status_code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(reply.content)))
            self.end_headers()
            self.wfile.write(reply.content)

        do_GET = answer
        do_POST = answer

    return Handler


def text_of(body):
    """All that a chat request says."""
    return json.dumps(body["messages"], ensure_ascii=False)
