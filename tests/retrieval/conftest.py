"""What the retrieval tests share: a store, and indexes of a little deterministic encoder over real Chroma."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from word_encoder import WordEncoder

from retrieval.index import Index
from retrieval.settings import IndexSettings
from retrieval.store import Store
from retrieval.templates import load_template


@pytest.fixture
def store(tmp_path):
    with Store.open(f"sqlite:///{tmp_path / 'store.sqlite'}") as store:
        yield store


@pytest.fixture
def open_index(tmp_path):
    """Opens indexes in one folder, each like another process would; closes them at the end."""
    with ExitStack() as stack:

        def opened(encoder=None, template=None, **settings):
            index = Index(
                tmp_path / "index",
                encoder or WordEncoder(),
                template or load_template("item"),
                IndexSettings(**settings),
            )
            return stack.enter_context(index)

        yield opened
