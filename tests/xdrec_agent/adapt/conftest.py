"""What the tests of adaptation share: a tiny model in a folder and a little world in a store."""

from __future__ import annotations

import pytest
from tiny_llm import fill, make_model

from retrieval.store import Store
from xdrec_agent.adapt import Workspace


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    with Store.open(f"sqlite:///{tmp_path_factory.mktemp('store') / 'store.sqlite'}") as store:
        fill(store)
        yield store


@pytest.fixture
def workspace(base, tmp_path):
    return Workspace(base, "tiny", tmp_path / "adapters", "cpu")
