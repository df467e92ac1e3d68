"""A real service process over the word encoder. Reads HOME, produces its URL on stdout, then serves until it is told.

`xdrec serve` itself loads the real encoder, which takes longer than what is tested here; all else is the same.
"""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from word_encoder import WordEncoder

from retrieval.index import Index
from retrieval.store import Store
from retrieval.templates import load_template
from xdrec_agent.service.app import create_app
from xdrec_agent.service.engine import connected
from xdrec_agent.service.logs import log_to_stderr
from xdrec_agent.service.running import configured, listening
from xdrec_agent.settings import Settings


@asynccontextmanager
async def opened(settings):
    """Store and index, and a model only where one is configured: without, answers are degraded and say so."""
    with (
        Store(settings.store_url) as store,
        Index(settings.index_dir, WordEncoder(), load_template("item"), settings.index) as index,
    ):
        async with connected(settings, store, index) as parts:
            yield parts


def main() -> None:
    settings = Settings(home=Path(sys.argv[1]))
    log_to_stderr(log_text=settings.service.log_text)
    with listening(settings.service) as listener:
        host, port = listener.getsockname()[:2]
        sys.stdout.write(f"http://{host}:{port}\n")
        sys.stdout.flush()
        uvicorn.Server(configured(create_app(settings, opened), settings.service)).run([listener])


if __name__ == "__main__":
    main()
