"""A real service process over the word encoder (`serve_words.py`). Reads a home, produces its URL and its log.

with running(home, XDREC_CHAT__MODEL="always") as service:
    httpx2.get(f"{service.url}/health/ready")
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
from word_encoder import WordEncoder

from retrieval.index import Index
from retrieval.settings import IndexSettings
from retrieval.store import Store
from retrieval.templates import load_template
from retrieval.types import Interaction, Item
from xdrec_agent.settings import Settings

TESTS = Path(__file__).resolve().parent
WORDS = ["space", "love", "crime", "war", "sea", "city", "ghost", "music"]
ASK = {"sources": ["films"], "target": "books", "user": "ada", "k": 3}
SAY = {"text": "I loved Space films 1. What should I read?", "sources": ["films"], "target": "books"}


@dataclass(frozen=True)
class Service:
    """A service that runs."""

    url: str
    process: subprocess.Popen
    log_file: Path

    def log(self):
        """What it has logged so far, a line an object."""
        return [json.loads(line) for line in self.log_file.read_text(encoding="utf-8").splitlines()]


def filled(home, *, store_url=None, chroma_url=None, words=WORDS):
    """The home folder, with a store of films and books, an index of both, and a user who likes space."""
    settings = Settings(home=home)
    with Store.open(store_url or settings.store_url) as store:
        for domain in ("films", "books"):
            items = [
                Item(domain=domain, id=f"{w}-{n}", title=f"{w.title()} {domain} {n}", categories=(w,), year=1990 + n)
                for w in words
                for n in range(1, 5)
            ]
            store.upsert_items(items, "run")
        known = [Interaction(user="ada", domain="films", item=f"{words[0]}-{n}", value=5) for n in (1, 2)]
        store.upsert_interactions(known, "run")
        with Index(
            settings.index_dir, WordEncoder(), load_template("item"), IndexSettings(chroma_url=chroma_url)
        ) as index:
            for domain in ("films", "books"):
                index.build(store, domain)
    return home


@contextmanager
def running(home, **changes):
    """A service process; it must end well when it is told to. `changes` are variables of its environment."""
    here = {"XDREC_SERVICE__PORT": "0", "PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}"}
    command = [sys.executable, str(TESTS / "serve_words.py"), str(home)]
    with tempfile.NamedTemporaryFile("w+", suffix=".log") as log:
        with subprocess.Popen(
            command, env=os.environ | here | changes, stdout=subprocess.DEVNULL, stderr=log, text=True
        ) as process:
            try:
                url = _listening(process, Path(log.name))
                httpx2.get(f"{url}/health/live", timeout=300)  # it listens before it has begun to answer
                yield Service(url, process, Path(log.name))
            finally:
                good = {0, -signal.SIGTERM}
                if process.poll() is not None:
                    good.add(-signal.SIGKILL)  # by the test itself
                process.send_signal(signal.SIGTERM)
                process.wait(120)
        assert process.returncode in good, Path(log.name).read_text(encoding="utf-8")


def _listening(process, log):
    """The URL, once the log tells it."""
    while process.poll() is None:
        if found := re.search(r'"url": "([^"]+)"', log.read_text(encoding="utf-8")):
            return found[1]
        time.sleep(0.05)
    raise AssertionError(log.read_text(encoding="utf-8"))
