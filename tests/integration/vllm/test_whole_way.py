"""The promise of the project: films in, explained books out, on the real encoder, Chroma, SQLite and vLLM."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from retrieval.ingest import IngestRequest, ingest
from xdrec_agent.app import open_index, open_store
from xdrec_agent.models import pull_model

pytestmark = pytest.mark.integration

PACK = Path(__file__).resolve().parents[3] / "examples" / "films-books"


@pytest.fixture(scope="module")
def project(vllm_server):
    """Settings of a project with the demo pack ingested and indexed, and a running model."""
    pull_model(vllm_server.encoder.model, vllm_server.models_dir)
    with open_store(vllm_server) as store:
        for domain in ("films", "books"):
            ingest(store, IngestRequest(PACK / f"{domain}.csv", domain))
            ingest(store, IngestRequest(PACK / f"{domain[:-1]}_ratings.csv", domain))
        index = open_index(vllm_server)
        for domain in ("films", "books"):
            index.build(store, domain)
    return vllm_server


def xdrec(project, *arguments, **environment):
    """Run the console script; its exit code, stdout and stderr."""
    env = os.environ | {
        "XDREC_MODELS_DIR": str(project.models_dir),
        "XDREC_LLM__PORT": str(project.llm.port),
        "XDREC_LLM__TIMEOUT_S": "180",  # a busy machine is no failure
        **environment,
    }
    command = [str(Path(sys.executable).with_name("xdrec")), "--home", str(project.home), *arguments]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=300)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "ask",
    [
        ("--from", "films", "--to", "books", "--user", "ada"),
        ("--from", "films", "--to", "books", "--like", "Blade Runner", "--like", "Alien"),
        ("--from", "books", "--to", "films", "--like", "Kitchen", "--like", "Persepolis", "--dislike", "Dune"),
    ],
    ids=["a known user", "titles", "the other direction"],
)
def test_explained_recommendations(project, ask):
    """Five items of the target, ranked with the model's say, each with a reason that cites the person's own items."""
    code, out, err = xdrec(project, "recommend", *ask, "-k", "5", "--weight", "0.3", "--json")
    assert code == 0, err
    answer = json.loads(out)
    assert not answer["degraded"]
    assert answer["source"] == "hybrid"
    assert len(answer["items"]) == 5
    assert all(item["item"]["domain"] == ask[3] and "llm" in item["stages"] for item in answer["items"])
    for item in answer["items"]:
        assert item["explanation"]["text"]
        assert item["explanation"]["cites"]
        assert {cite["domain"] for cite in item["explanation"]["cites"]} == {ask[1]}
    assert {item["explanation"]["source"] for item in answer["items"]} & {"llm"}
    assert answer["usage"]["rerank"]["requests"] == answer["shuffles"] >= 2
    assert -1 <= answer["tau"] <= 1
    # A weight that was set by hand has no calibration, and nothing is made up.
    assert {item["confidence"] for item in answer["items"]} == {answer["enough_evidence"]} == {None}


def told(item):
    """An item with its reason, but for what asking cost."""
    return item | {"explanation": {k: v for k, v in item["explanation"].items() if k != "usage"}}


def test_a_run_is_replayed_from_the_response_cache_without_a_server(project):
    """The same answer, reasons included, with nothing but the cache to ask; a new question fails clearly."""
    ask = ("recommend", "--from", "films", "--to", "books", "--like", "Alien", "-k", "2", "--weight", "0.3", "--json")
    code, first, err = xdrec(project, *ask)
    assert code == 0, err
    code, again, err = xdrec(project, *ask, XDREC_LLM__CACHE="only")
    assert code == 0, err
    one, other = json.loads(first), json.loads(again)
    assert [told(item) for item in other["items"]] == [told(item) for item in one["items"]]
    assert other["usage"]["rerank"]["cache_hits"] == one["shuffles"]
    assert other["usage"]["rerank"]["requests"] == 0
    code, out, err = xdrec(project, *ask, "--like", "Jaws", XDREC_LLM__CACHE="only")
    assert code == 3
    assert json.loads(out)["error"]["type"] == "CacheMiss"


def test_a_wish_in_words_with_filters(project):
    """Free text alone works, and a filter holds for every item."""
    ask = ("--from", "books", "--to", "films", "--about", "a quiet story about memory", "--year-from", "1990")
    code, out, err = xdrec(project, "recommend", *ask, "--no-explain", "--json")
    assert code == 0, err
    assert all(item["item"]["year"] >= 1990 for item in json.loads(out)["items"])


def test_an_unknown_title_has_its_own_exit_code_and_names_the_nearest(project):
    """Nobody gets recommendations for a film that was guessed."""
    code, out, err = xdrec(project, "recommend", "--from", "films", "--to", "books", "--like", "Blade Rummer 3")
    assert (code, out) == (6, "")
    assert "Blade Runner" in err


def test_with_the_server_gone_the_answer_is_marked(project):
    """The retriever's order, `degraded`, with the reason; the same books as `identity` gives."""
    ask = ("recommend", "--from", "films", "--to", "books", "--user", "ada", "--json", "--no-explain")
    gone = {"XDREC_LLM__BASE_URL": "http://127.0.0.1:9/v1", "XDREC_LLM__TIMEOUT_S": "10"}
    code, out, err = xdrec(project, *ask, "--weight", "0.3", **gone)
    assert code == 0, err
    marked = json.loads(out)
    assert marked["degraded"]
    assert "127.0.0.1:9" in marked["reason"]
    _, plain, _ = xdrec(project, *ask, "--rerank", "identity")
    assert [i["item"]["id"] for i in marked["items"]] == [i["item"]["id"] for i in json.loads(plain)["items"]]


def test_doctor_and_status_find_everything_ready(project):
    """`doctor` exits with 0 and `llm status` shows exact label log-probabilities."""
    code, out, err = xdrec(project, "doctor", "--json")
    assert code == 0, out + err
    assert {check["state"] for check in json.loads(out)} == {"ok"}
    code, out, err = xdrec(project, "llm", "status", "--json")
    assert code == 0, err
    assert json.loads(out)["capabilities"]["exact_label_logprobs"]


def test_a_person_can_be_exported_and_deleted(project):
    """Everything kept about somebody comes out as one document, and is gone after `delete`."""
    code, out, _ = xdrec(project, "users", "export", "reader-01")
    assert code == 0
    assert len(json.loads(out)["interactions"]) >= 20
    assert xdrec(project, "users", "delete", "reader-01", "--yes")[0] == 0
    assert xdrec(project, "users", "export", "reader-01")[0] == 2
