"""A real service process over the word encoder. Reads HOME, serves until it is told to end.

`xdrec serve` itself loads the real encoder, which takes longer than what is tested here; all else is the same.
"""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from pathlib import Path

from word_encoder import WordEncoder

from retrieval.index import Index
from retrieval.store import Store
from retrieval.templates import load_template
from xdrec_agent.service import run
from xdrec_agent.service.parts import connected
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
    run(Settings(home=Path(sys.argv[1])), opened)


if __name__ == "__main__":
    main()
