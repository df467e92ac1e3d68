"""Promises of the real processes: `xdrec serve` and `xdrec mcp`, called by the clients that others use."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import httpx2
import openai
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from retrieval.ingest import IngestRequest, ingest
from xdrec_agent.app import Keys, open_index, open_store
from xdrec_agent.models import pull_model
from xdrec_agent.settings import Settings, load_settings

pytestmark = pytest.mark.integration

PACK = Path(__file__).resolve().parents[2] / "examples" / "films-books"
XDREC = str(Path(sys.executable).with_name("xdrec"))
ASK = {"sources": ["films"], "target": "books", "likes": ["Blade Runner", "Alien"], "k": 3}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Settings of a project with the demo pack ingested and indexed by the real encoder."""
    settings = Settings(home=tmp_path_factory.mktemp("service"), models_dir=load_settings().models_dir)
    pull_model(settings.encoder.model, settings.models_dir)
    with open_store(settings) as store, open_index(settings) as index:
        for domain in ("films", "books"):
            ingest(store, IngestRequest(PACK / f"{domain}.csv", domain))
            ingest(store, IngestRequest(PACK / f"{domain[:-1]}_ratings.csv", domain))
            index.build(store, domain)
    return settings


def environment(project, **changes):
    """The environment of a process of the project, without a language model."""
    here = {"XDREC_HOME": str(project.home), "XDREC_MODELS_DIR": str(project.models_dir), "XDREC_LLM__PORT": "9"}
    return os.environ | here | changes


@contextmanager
def running(project, *arguments, **changes):
    """A process that listens: its URL and itself; it must end well when it is told to."""
    with subprocess.Popen(
        [XDREC, *arguments, "--port", "0"],
        env=environment(project, **changes),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            for line in process.stderr:
                url = json.loads(line).get("url") if line.startswith("{") else None
                if url:
                    break
            else:
                raise AssertionError(f"ended with {process.wait()}")
            yield url, process
        finally:
            process.send_signal(signal.SIGTERM)
            process.stderr.read()
    assert process.returncode in {0, -signal.SIGTERM}


@pytest.fixture(scope="module")
def url(project):
    """The URL of a running service."""
    with running(project, "serve", XDREC_RERANK__STRATEGY="identity") as (url, _):
        yield url


def test_films_in_books_out_over_http(url):
    """The whole way through a real server, known titles and words alike."""
    answer = httpx2.post(f"{url}/v1/recommend", json=ASK, timeout=120).json()
    assert len(answer["items"]) == 3
    assert all(item["explanation"]["text"] for item in answer["items"])
    wish = {"sources": ["films"], "target": "books", "about": "a quiet story about memory", "k": 2}
    assert len(httpx2.post(f"{url}/v1/recommend", json=wish, timeout=120).json()["items"]) == 2


def test_a_stream_comes_in_pieces(url):
    """The ranking arrives as an event of its own, before the reasons."""
    with httpx2.stream("POST", f"{url}/v1/recommend/stream", json=ASK, timeout=120) as reply:
        names = [line.removeprefix("event: ") for line in reply.iter_lines() if line.startswith("event: ")]
    assert (names[0], names[-1], names.count("explanation")) == ("ranking", "done", 3)


def test_openais_client_talks_to_a_real_server(url):
    """Whole and streamed, without knowing that it is no language model."""
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", timeout=120)
    messages = [{"role": "user", "content": "I loved Blade Runner and Alien. Which books should I read?"}]
    whole = client.chat.completions.create(model="xdrec", messages=messages).choices[0].message.content
    streamed = client.chat.completions.create(model="xdrec", messages=messages, stream=True)
    text = "".join(choice.delta.content or "" for chunk in streamed for choice in chunk.choices)
    assert "1. " in whole
    assert sorted(text) == sorted(whole)


def test_told_to_end_it_finishes_what_runs(project):
    """A request that was begun is answered although the process has been told to end, and then it ends."""
    patient = {"XDREC_SERVICE__SHUTDOWN_S": "300"}  # a busy machine is no failure
    with running(project, "serve", XDREC_RERANK__STRATEGY="identity", **patient) as (url, process):
        # Words need the encoder, which takes seconds to load: long enough to be told meanwhile.
        body = json.dumps({"sources": ["films"], "target": "books", "about": "memory", "k": 2})
        with subprocess.Popen(
            [sys.executable, "-c", _ASKING, f"{url}/v1/recommend", body], stdout=subprocess.PIPE, text=True
        ) as asking:
            assert asking.stdout.readline() == "asked\n"
            metrics = f"{url}/metrics"
            while "xdrec_in_flight 1.0" not in httpx2.get(metrics, timeout=60).text:
                assert asking.poll() is None, "answered before it could be told"
            process.send_signal(signal.SIGTERM)
            assert len(json.loads(asking.stdout.read())["items"]) == 2
        assert process.wait(300) in {0, -signal.SIGTERM}


_ASKING = """
import sys, threading, httpx2
print("asked", flush=True)
print(httpx2.post(sys.argv[1], content=sys.argv[2], headers={"content-type": "application/json"}, timeout=120).text)
"""


def test_a_taken_port_and_open_doors_are_refused_with_a_hint(project, url):
    """The command line says what to do, and exits as it does for every error."""
    for arguments, code, said in (
        (("--port", url.rpartition(":")[2]), 3, "--port"),
        (("--host", "::", "--port", "0"), 2, "service.keys"),
    ):
        keys = {"XDREC_SERVICE__KEYS": "off"} if code == 2 else {}
        done = subprocess.run(
            [XDREC, "serve", *arguments],
            env=environment(project, **keys),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, done.stderr
        assert said in done.stderr


def test_keys_are_made_listed_and_revoked_on_the_command_line(project):
    """A key that `xdrec keys create` prints opens a service that requires one, until it is revoked."""

    def xdrec(*arguments):
        return subprocess.check_output([XDREC, *arguments], env=environment(project), text=True, timeout=60)

    secret = xdrec("keys", "create", "--user", "ada", "--name", "phone").strip()
    (key,) = [one for one in json.loads(xdrec("keys", "list", "--json")) if one["name"] == "phone"]
    with running(project, "serve", XDREC_SERVICE__KEYS="required") as (url, _):
        headers = {"authorization": f"Bearer {secret}"}
        assert httpx2.get(f"{url}/v1/domains", timeout=60).status_code == 401
        assert httpx2.get(f"{url}/v1/domains", headers=headers, timeout=60).status_code == 200
        xdrec("keys", "revoke", key["id"])
        assert httpx2.get(f"{url}/v1/domains", headers=headers, timeout=60).status_code == 401


async def use_tools(client):
    """What an agent does: look at the tools, find a title, ask, ask why, and make a mistake."""
    tools = {tool.name for tool in (await client.list_tools()).tools}
    assert tools == {"recommend", "explain", "search_items"}
    found = await client.call_tool("search_items", {"domain": "films", "title": "blade runner"})
    item = found.structured_content["items"][0]
    assert item["title"] == "Blade Runner"
    liked = {"domain": item["domain"], "id": item["id"]}
    answer = await client.call_tool("recommend", {"sources": ["films"], "target": "books", "likes": [liked], "k": 2})
    assert [one["rank"] for one in answer.structured_content["items"]] == [1, 2]
    why = await client.call_tool("explain", {"answer": answer.structured_content["answer"], "rank": 1})
    assert why.structured_content["reason"]
    assert why.structured_content["cites"]  # over HTTP the history of the key's user counts as well
    wrong = await client.call_tool("recommend", {"sources": ["films"], "target": "songs", "likes": [liked]})
    assert wrong.is_error
    assert "xdrec ingest" in wrong.content[0].text


async def test_agents_use_the_tools_over_stdio(project):
    """The SDK's own client starts `xdrec mcp` and talks to it."""
    server = StdioServerParameters(
        command=XDREC, args=["mcp"], env=environment(project, XDREC_RERANK__STRATEGY="identity")
    )
    async with Client(server, read_timeout_seconds=120) as client:
        assert {tool.name for tool in (await client.list_tools()).tools} >= {"recommend", "explain", "search_items"}
        await use_tools(client)


async def test_agents_use_the_tools_over_http_with_a_key(project):
    """The same over HTTP, where a key is needed and stands for its user."""
    with Keys.open(project.store_url) as keys:
        _, secret = keys.create("agent", user="reader-01")
    options = {"XDREC_RERANK__STRATEGY": "identity", "XDREC_SERVICE__KEYS": "required"}
    process = running(project, "mcp", "--http", **options)
    url, _ = await asyncio.to_thread(process.__enter__)
    try:
        assert httpx2.post(f"{url}/mcp", json={}, timeout=60).status_code == 401
        async with (
            httpx2.AsyncClient(headers={"authorization": f"Bearer {secret}"}, timeout=120) as http,
            Client(streamable_http_client(f"{url}/mcp", http_client=http)) as client,
        ):
            await use_tools(client)
            other = await client.call_tool("recommend", {"sources": ["films"], "target": "books", "user": "ada"})
            assert other.is_error
            assert "another user" in other.content[0].text
    finally:
        await asyncio.to_thread(process.__exit__, None, None, None)


def test_a_demo_is_served_from_nothing_and_left_as_it_was_found(project, tmp_path):
    """`xdrec demo PACK --serve`, twice: loads an empty home, keeps what was changed; each start has a key."""
    home = project.model_copy(update={"home": tmp_path})
    demo = ("demo", str(PACK), "--serve", "--host", "0.0.0.0")  # noqa: S104 - as in the image; reached locally
    secrets = []
    for start in range(2):
        with running(home, *demo) as (url, process):
            secrets.append(process.stdout.readline().rpartition(" ")[2].strip())
            address = url.replace("0.0.0.0", "127.0.0.1") + "/v1/recommend"  # noqa: S104
            codes = [
                httpx2.post(address, json=ASK, headers={"authorization": f"Bearer {key}"}, timeout=120).status_code
                for key in ("xdr_none", *secrets)
            ]
        assert codes == [401] * (start + 1) + [200]
        with open_store(home) as store:
            users = [summary.users for summary in store.domains()]
            assert (len(store.domains()), 0 in users) == (2, False)
            if start == 0:
                store.delete_user("ada")
                before = [summary.users for summary in store.domains()]
    assert users == before
