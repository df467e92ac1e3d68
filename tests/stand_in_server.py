"""Stands in for vLLM where only processes matter. Reads MODE PORT NAME, serves what `server.up` asks of vLLM.

Modes: serve; open (no key needed); refuse (cannot chat); silent (never listens); die (ends at once). All but die have a
child in their process group, as vLLM has its engine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    mode = "serve"
    name = ""

    def reply(self, status: int, body: object) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self) -> None:
        allowed = self.headers.get("Authorization") == f"Bearer {os.environ['VLLM_API_KEY']}"
        if self.path.startswith("/v1") and not allowed and self.mode != "open":
            self.reply(401, {"error": "Unauthorized"})
        else:
            self.reply(200, {"data": [{"id": self.name}]})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.reply(400 if self.mode == "refuse" else 200, {"error": "no chat template"})


def main() -> None:
    mode, port, name = sys.argv[1:4]
    sys.stdout.write("Starting to load model\n" + "".join(f"line {n}\n" for n in range(30)))
    sys.stdout.flush()
    if mode == "die":
        sys.exit("out of memory")
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    if mode == "silent":
        time.sleep(600)
    Handler.mode, Handler.name = mode, name
    ThreadingHTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()


if __name__ == "__main__":
    main()
