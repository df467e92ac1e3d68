"""Batches on a real Ray cluster: two nodes, as processes of this machine, and a language model behind a real port."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
from fake_llm import FakeLLM, refusal
from http_fake import HTTPFake, text_of
from word_encoder import WordEncoder

from retrieval.encoder import SentenceEncoder
from retrieval.errors import ModelMissing, UsageError
from retrieval.index import Index
from retrieval.settings import IndexSettings
from retrieval.store import Store
from retrieval.templates import load_template
from retrieval.types import Interaction, Item
from xdrec_agent.app import open_encoder
from xdrec_agent.batch import Request, ResultFolder, run_batch, spread_over
from xdrec_agent.batch.cluster import cluster as on_cluster
from xdrec_agent.batch.offline_llm_client import OfflineReply, OfflineRequest
from xdrec_agent.batch.offline_llm_rounds import collect_replies
from xdrec_agent.batch.plan import make_job, partitions
from xdrec_agent.batch.stages import Answer, Retrieve, parts_table, unattended
from xdrec_agent.settings import load_settings

pytestmark = [pytest.mark.integration, pytest.mark.timeout(480)]
ray = pytest.importorskip("ray")

USERS = [f"user{n:02}" for n in range(40)]
WAIT_S = 150


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A small store with its index; its encoder has a name and a fingerprint, and is never loaded."""
    home, model = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("words")
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"words")
    films = [Item(domain="films", id=f"f{n}", title=f"Film {n}", categories=(f"kind{n % 5}",)) for n in range(20)]
    books = [Item(domain="books", id=f"b{n}", title=f"Book {n}", categories=(f"kind{n % 5}",)) for n in range(60)]
    likes = [
        Interaction(user=user, domain="films", item=f"f{(n + step) % 20}", value=5)
        for n, user in enumerate(USERS)
        for step in (0, 5)
    ]
    encoder = WordEncoder(SentenceEncoder("words", model).fingerprint)
    with Store.open(f"sqlite:///{home / 'store.sqlite'}") as store:
        store.upsert_items([*films, *books], "items")
        store.upsert_interactions(likes, "likes")
        with Index(home / "index", encoder, load_template("item"), IndexSettings()) as index:
            for domain in ("films", "books"):
                index.build(store, domain)
    return home, model


@pytest.fixture(scope="module")
def cluster():
    """Two nodes with a core each; its address."""
    from ray.cluster_utils import Cluster

    # On loopback alone; Ray would take 127.0.0.1 for the machine's own address.
    node = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}
    node["node_ip_address"] = "127.0.0.2"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        made = Cluster(initialize_head=True, head_node_args=node)
        made.add_node(**node)
        yield made
        made.shutdown()


@pytest.fixture
def llm():
    with HTTPFake(FakeLLM(model="tiny")) as server:
        yield server


def settings_of(home, llm):
    """What `batch` runs with, for this process."""
    folder, model = home
    return load_settings(
        home=folder,
        encoder={"model": str(model)},
        llm={"model": "tiny", "base_url": llm.base_url},
        rerank={"strategy": "listwise-logprob", "max_shuffles": 2},
    )


@pytest.fixture
def batch(home, cluster, llm, tmp_path):
    """Starts `xdrec batch recommend` into `tmp_path/out`, for all users, with reranking and without reasons."""
    started = []

    def start(*changed):
        folder, model = home
        environment = os.environ | {
            "RAY_USAGE_STATS_ENABLED": "0",
            "XDREC_ENCODER__MODEL": str(model),
            "XDREC_LLM__MODEL": "tiny",
            "XDREC_LLM__BASE_URL": llm.base_url,
            "XDREC_RERANK__STRATEGY": "listwise-logprob",
            "XDREC_RERANK__MAX_SHUFFLES": "2",
        }
        where = ["--output", str(tmp_path / "out"), "--ray", cluster.address, "--part-size", "4"]
        what = ["--users", "all", "--from", "films", "--to", "books", "-k", "3", "--no-explain", "--json"]
        xdrec = [sys.executable, "-c", "from xdrec_agent.cli import main; main()", "--home", str(folder)]
        command = [*xdrec, "batch", "recommend", *where, *what, *changed]
        process = subprocess.Popen(
            command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def finished(process):
    """The report of a run that must end well."""
    out, err = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0, err
    return json.loads(out)


def held(llm, running):
    """Wait until a request is held back."""
    if not llm.held.wait(WAIT_S):
        running.kill()
        pytest.fail(running.communicate()[1])


def rows(folder: Path):
    return [row for file in sorted(folder.glob("part-*.parquet")) for row in pq.read_table(file).to_pylist()]


def workers(cluster, port=None):
    """The processes in which the cluster's stages run; with a port, those that talk to it."""
    nodes = [psutil.Process(node.all_processes["raylet"][0].process.pid) for node in cluster.list_all_nodes()]
    return [p for node in nodes for p in node.children(recursive=True) if _works(p, port)]


def _works(process, port):
    try:
        if not "".join(process.cmdline()).startswith("ray::Map"):
            return False
        return port is None or any(c.raddr and c.raddr.port == port for c in process.net_connections())
    except psutil.Error:  # it is ending
        return False


def test_a_killed_worker_loses_and_doubles_nobody(batch, cluster, llm, tmp_path):
    """A worker is killed while the model works for it: its part is made again, every user has one whole row."""
    llm.hold_after(30)
    running = batch()
    held(llm, running)
    victim, *_ = workers(cluster, llm.port)
    victim.kill()
    llm.release()

    report = finished(running)

    assert (report["users"], report["parts"], report["degraded"], report["made"]) == (40, 10, 0, 40)
    found = rows(tmp_path / "out")
    assert Counter(row["user"] for row in found) == Counter(USERS)
    assert all(len(row["items"]) == 3 and row["source"] == "listwise-logprob" for row in found)
    assert not list((tmp_path / "out").glob(".*"))


def test_a_killed_driver_is_gone_on_from(batch, home, cluster, llm, tmp_path):
    """What was finished before the driver was killed is not made again; the rest is; other arguments are refused."""
    llm.hold_after(60)
    running = batch()
    held(llm, running)
    orphans = workers(cluster)
    running.kill()
    _, alive = psutil.wait_procs(orphans, timeout=WAIT_S)
    assert not alive
    llm.release()
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "out").glob("part-*.parquet")}
    assert 0 < len(before) < 10

    report = finished(batch())

    done = sum(pq.read_metadata(file).num_rows for file in before)
    assert (report["users"], report["parts"], report["made"]) == (40, 10, 40 - done)
    assert Counter(row["user"] for row in rows(tmp_path / "out")) == Counter(USERS)
    assert {file: file.stat().st_mtime_ns for file in before} == before
    chats = llm.chats
    again = Request("all", ("films",), "books", 3, str(tmp_path / "out"), 4, explain=False)
    assert run_batch(settings_of(home, llm), again).made == 0
    assert llm.chats == chats
    with pytest.raises(UsageError, match="k was 3, is 4") as raised:
        run_batch(settings_of(home, llm), replace(again, k=4))
    assert raised.value.hint


def test_degraded_rows_are_marked_and_only_these_retried(batch, llm, tmp_path):
    """Where the model fails the row says so and has the retriever's order; `--retry degraded` replaces such rows."""
    fake = llm.fake
    real = fake.handle

    async def handle(request):
        if b"Film 7" in request.content and b"Book" in request.content:
            return refusal(400, "no opinion on Film 7")
        return await real(request)

    fake.handle = handle
    first = finished(batch())
    before = {row["user"]: row for row in rows(tmp_path / "out")}
    bad = sorted(user for user, row in before.items() if row["degraded"])
    assert bad == ["user02", "user07", "user22", "user27"]
    assert first["degraded"] == 4
    assert all("no opinion" in before[user]["reason"] and len(before[user]["items"]) == 3 for user in bad)

    fake.handle = real
    fake.calls.clear()
    second = finished(batch("--retry", "degraded"))

    after = {row["user"]: row for row in rows(tmp_path / "out")}
    assert (second["made"], second["degraded"], second["users"]) == (4, 0, 40)
    assert {user for user in after if after[user] != before[user]} == set(bad)
    assert len(rows(tmp_path / "out")) == 40
    assert all("Film 7" in text_of(body) for body in fake.calls)


@pytest.mark.filterwarnings("ignore")  # Ray's own, in this process
def test_rounds_with_a_stage_write_every_user(home, cluster, llm, tmp_path):
    """With replies worked out by a stage of rows, in rounds on the cluster, nobody is degraded or missing."""
    settings = unattended(settings_of(home, llm))
    results = ResultFolder(str(tmp_path / "out"))
    job = make_job(settings, Request("all", ("films",), "books", 3, results.url, 16, explain=False), USERS)
    parts = list(partitions(job, USERS))
    results.begin(job, parts)

    def stage(rows, _settings):
        def reply(row):
            wanted = OfflineRequest.model_validate_json(row["request_json"])
            said = OfflineReply(logprobs={label: -1.0 - n for n, label in enumerate(wanted.labels)})
            return {"part": row["part"], "key": row["key"], "reply": said.model_dump_json()}

        return rows.map(reply)

    with on_cluster(cluster.address):
        blocks = ray.data.from_arrow([parts_table([(part.name, part.users)]) for part in parts])
        prepared = blocks.map_batches(
            Retrieve,
            fn_constructor_args=(settings, job),
            batch_size=1,
            batch_format="pyarrow",
            concurrency=1,
            num_cpus=0.5,
        ).materialize()
        replies = collect_replies(prepared, settings, explain=False, stage=stage)
        done = prepared.map_batches(
            Answer,
            fn_constructor_args=(settings, job, str(tmp_path / "out")),
            fn_constructor_kwargs={"retry": False, "replies": replies},
            batch_size=1,
            batch_format="pyarrow",
            concurrency=1,
            num_cpus=0.5,
        ).take_all()

    assert len(done) == len(parts) == 3
    found = rows(tmp_path / "out")
    assert Counter(row["user"] for row in found) == Counter(USERS)
    assert not any(row["degraded"] for row in found)
    assert {row["requests"] for row in found} == {2}
    assert llm.chats == 0


@pytest.mark.filterwarnings("ignore")  # Ray's own, in this process
def test_an_index_made_on_a_cluster_is_the_same(cluster, tmp_path):
    """Vectors from encoders on both nodes are those of the encoder here, in the items' order."""
    settings = load_settings(home=tmp_path)
    try:
        encoder = open_encoder(settings)
    except ModelMissing:
        pytest.skip("the encoder is not here: xdrec models pull")
    texts = [f"a book about {n} seas" for n in range(150)]
    with Index(tmp_path / "index", encoder, load_template("item"), IndexSettings()) as index:
        with spread_over(index, settings, cluster.address):
            assert index.encoder.fingerprint == encoder.fingerprint
            far = index.encoder.encode(texts)
        assert index.encoder is encoder
    np.testing.assert_allclose(far[::30], encoder.encode(texts[::30]), atol=1e-5)
