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
from retrieval.settings import IndexSettings
from retrieval.store import Store
from retrieval.templates import load_template
from xdrec_agent.service.app import create_app
from xdrec_agent.service.engine import Parts
from xdrec_agent.service.running import listening
from xdrec_agent.settings import Settings


@asynccontextmanager
async def opened(settings):
    """Store and index, without a model: answers are degraded and say so."""
    encoder = WordEncoder()
    with (
        Store(settings.store_url) as store,
        Index(settings.index_dir, encoder, load_template("item"), IndexSettings()) as index,
    ):
        yield Parts(store, index, None, "the model does not run")


def main() -> None:
    settings = Settings(home=Path(sys.argv[1]))
    with listening(settings.service) as listener:
        host, port = listener.getsockname()[:2]
        sys.stdout.write(f"http://{host}:{port}\n")
        sys.stdout.flush()
        uvicorn.Server(uvicorn.Config(create_app(settings, opened), log_config=None)).run([listener])


if __name__ == "__main__":
    main()
