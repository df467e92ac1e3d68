"""The promise of a short way: a reader who follows one request steps into few of our modules.

`python -m pytest tests/xdrec_agent/service/test_request_path.py -s` prints them, for docs/explanation/architecture.md.
"""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from service_kit import ASK, serving, settings_at
from word_encoder import WordEncoder

from retrieval.index import Index
from retrieval.ranking import Retriever
from retrieval.relations import RelationGraph
from retrieval.settings import IndexSettings
from retrieval.store import RelationStore, Store
from retrieval.templates import load_template
from xdrec_agent.app import make_recommender
from xdrec_agent.recommend import build_query

ROOT = Path(__file__).resolve().parents[3]


@contextmanager
def crossed():
    """The modules of ours whose functions are called meanwhile, in any thread, in the order of their first call."""
    modules = {}

    def called(frame, event, _argument):
        if event == "call" and frame.f_code.co_name != "<module>":
            file = Path(frame.f_code.co_filename)
            if file.is_relative_to(ROOT) and file.relative_to(ROOT).parts[0] in {"retrieval", "xdrec_agent"}:
                modules.setdefault(str(file.relative_to(ROOT)))

    threading.setprofile(called)
    sys.setprofile(called)
    try:
        yield modules
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


@pytest.mark.parametrize(("explain", "most"), [(False, 18), (True, 29)])
def test_a_request_crosses_few_modules(home, explain, most):
    """From the socket to the written answer, once everything is loaded."""
    ask = ASK | {"explain": explain}
    with crossed() as modules, serving(home) as http:  # the threads that answer start inside, so they are followed
        assert http.post("/v1/recommend", json=ask).status_code == 200
        modules.clear()
        assert http.post("/v1/recommend", json=ask).status_code == 200
        path = list(modules)
    sys.stdout.write("\n  ".join([f"POST /v1/recommend, explain {explain}: {len(path)}", *path]) + "\n")
    assert {"xdrec_agent/recommend/recommender.py", "retrieval/ranking/retriever.py"} <= set(path)
    assert len(path) <= most


async def test_a_recommendation_from_python_crosses_few_modules(home):
    """From a built query to the answer, without a service and without a log."""
    settings = settings_at(home, strategy="identity")
    with (
        Store.open(f"sqlite:///{home}/store.sqlite") as store,
        Index(home / "index", WordEncoder(), load_template("item"), IndexSettings()) as index,
    ):
        graph = RelationGraph(RelationStore.open(store.database))
        recommender = make_recommender(settings, Retriever(store, index, settings.retriever, graph=graph), None)
        query = build_query(store, sources=["films"], target="books", user="ada")
        await recommender.recommend(query, explain=False)
        with crossed() as modules:
            answer = await recommender.recommend(query, explain=False)
    sys.stdout.write("\n  ".join([f"Recommender.recommend: {len(modules)}", *modules]) + "\n")
    assert answer.items
    assert len(modules) <= 13
