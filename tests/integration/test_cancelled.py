"""Promises of cancelling, kept over real sockets: whoever goes away stops the model's work that was done for them.

The model is a server that notices who hangs up; nothing but closed connections tells it that nobody waits any more.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx2
import pytest
from fake_llm import FakeLLM
from socket_llm import SocketLLM
from words_service import ASK, SAY, filled, running

pytestmark = pytest.mark.integration

OPENAI = {"model": "xdrec", "messages": [{"role": "user", "content": SAY["text"]}]}
K = ASK["k"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return filled(tmp_path_factory.mktemp("cancelled"))


@pytest.fixture(scope="module")
def llm():
    with SocketLLM(FakeLLM()) as llm:
        yield llm


def settings(llm, **changes):
    """A model without a memory of what it was asked before, which is asked once."""
    here = {"XDREC_LLM__BASE_URL": llm.base_url, "XDREC_LLM__MODEL": "fake"}
    here |= {"XDREC_LLM__ATTEMPTS": "1", "XDREC_LLM__CACHE": "off"}
    return here | {"XDREC_RERANK__STRATEGY": "identity", "XDREC_CHAT__MODEL": "off"} | changes


@pytest.fixture(scope="module")
def explaining(home, llm):
    """A service whose model is asked for reasons only."""
    with running(home, **settings(llm)) as service:
        yield service


@pytest.fixture(scope="module")
def ranking(home, llm):
    """A service whose model is asked for an order, and reads every turn of a conversation."""
    changes = {"XDREC_RERANK__STRATEGY": "listwise-logprob", "XDREC_CHAT__MODEL": "always"}
    with running(home, **settings(llm, **changes)) as service:
        httpx2.post(f"{service.url}/v1/recommend", json=ASK, timeout=120)  # what the server can do is asked once
        yield service


@contextmanager
def asking(service, path, body):
    """A request whose connection is closed at the end, whatever has come by then."""
    where, content = urlsplit(service.url), json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: {where.netloc}\r\ncontent-type: application/json\r\n"
    with socket.create_connection((where.hostname, where.port)) as connection:
        connection.sendall(f"{head}content-length: {len(content)}\r\n\r\n".encode() + content)
        yield connection


def metric(service, *lines):
    """Wait until the metrics say so; the service tells nobody else, so it is asked."""
    while True:
        text = httpx2.get(f"{service.url}/metrics", timeout=120).text.splitlines()
        if set(lines) <= set(text):
            return


def idle(service):
    """Wait until nothing is at work or waits."""
    metric(service, "xdrec_in_flight 0.0", "xdrec_waiting 0.0")


@pytest.mark.parametrize(
    ("path", "body", "waiting"),
    [
        ("/v1/recommend", ASK, K),
        ("/v1/recommend/stream", ASK, K),
        ("/v1/chat", SAY, 5),
        ("/v1/chat/completions", OPENAI, 5),
        ("/v1/chat/completions", OPENAI | {"stream": True}, 5),
    ],
)
def test_while_reasons_are_written(explaining, llm, path, body, waiting):
    """All of the reasons that the model was writing are given up, whole answers and streams alike."""
    llm.hold()
    with asking(explaining, path, body):
        llm.wait(begun=waiting)
        assert llm.gone == 0
    llm.wait(gone=waiting)
    idle(explaining)
    llm.release()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/recommend", ASK),
        ("/v1/recommend/stream", ASK),
        ("/v1/chat", SAY),
        ("/v1/chat/completions", OPENAI),
        ("/v1/chat/completions", OPENAI | {"stream": True}),
    ],
)
def test_before_there_is_anything_to_show(ranking, llm, path, body):
    """While the model makes the order, or reads what was said, there is no stream yet; it stops all the same."""
    llm.hold()
    with asking(ranking, path, body):
        llm.wait(begun=1)
    llm.wait(gone=llm.begun)
    idle(ranking)
    llm.release()


def test_in_the_middle_of_a_stream(explaining, llm):
    """After the ranking has come, which the client has read."""
    llm.hold()
    with asking(explaining, "/v1/recommend/stream", ASK) as connection:
        got = b""
        while b"event: ranking" not in got:
            got += connection.recv(65536)
        llm.wait(begun=K)
    llm.wait(gone=K)
    llm.release()


def test_one_that_waits_for_a_turn_costs_nothing(home, llm):
    """A client that leaves the queue before its turn comes never reaches the model."""
    one_at_a_time = {"XDREC_SERVICE__CONCURRENCY": "1", "XDREC_SERVICE__QUEUE": "5"}
    with running(home, **settings(llm, **one_at_a_time)) as service:
        llm.hold()
        with asking(service, "/v1/recommend", ASK):
            llm.wait(begun=K)
            with asking(service, "/v1/recommend", ASK):
                metric(service, "xdrec_waiting 1.0")
            metric(service, "xdrec_waiting 0.0")
        llm.wait(gone=K)
        idle(service)
        assert llm.begun == K
        llm.release()


def test_a_dialogue_goes_on_after_a_turn_was_stopped(explaining, llm):
    """What was understood before the stop counts; the next turn neither waits for the stopped one nor is refused."""
    first = httpx2.post(f"{explaining.url}/v1/chat", json=SAY, timeout=120).text
    id_ = json.loads(first.rpartition("data: ")[2])["dialogue"]
    llm.hold()
    with asking(explaining, "/v1/chat", {"dialogue": id_, "text": "nothing before 1993"}):
        llm.wait(begun=5)
        stopped = llm.begun
        with asking(explaining, "/v1/chat", {"dialogue": id_, "text": "I also loved War films 1"}):
            pass
    llm.wait(gone=stopped)
    llm.release()
    said = httpx2.post(f"{explaining.url}/v1/chat", json={"dialogue": id_, "text": "something else"}, timeout=120)
    assert said.status_code == 200
    state = httpx2.get(f"{explaining.url}/v1/dialogues/{id_}", timeout=120).json()["state"]
    assert state["filter"]["year_from"] == 1993


@pytest.mark.parametrize("path", ["/v1/recommend", "/v1/recommend/stream", "/v1/chat"])
def test_told_to_end_it_finishes_what_runs(home, llm, path):
    """What was begun is answered to its end, a stream too, though the process was told to end; then it does."""
    with running(home, **settings(llm, XDREC_SERVICE__SHUTDOWN_S="300")) as service:
        llm.hold()
        body = SAY if path == "/v1/chat" else ASK
        with subprocess.Popen(
            [sys.executable, "-c", _ASKING, f"{service.url}{path}", json.dumps(body)], stdout=subprocess.PIPE, text=True
        ) as client:
            llm.wait(begun=1)
            service.process.send_signal(signal.SIGTERM)
            while _accepts(service.url):
                pass
            llm.release()
            got = client.stdout.read()
        assert service.process.wait(300) in {0, -signal.SIGTERM}
    if path == "/v1/recommend":
        assert len(json.loads(got)["items"]) == K
    else:
        assert "event: done" in got
        assert got.count("event: expla") >= K


def test_what_does_not_end_in_time_is_ended(home, llm):
    """After `shutdown_s` the process ends all the same, and the model's work with it."""
    with running(home, **settings(llm, XDREC_SERVICE__SHUTDOWN_S="0.1")) as service:
        llm.hold()
        with asking(service, "/v1/recommend", ASK):
            llm.wait(begun=K)
            service.process.send_signal(signal.SIGTERM)
            assert service.process.wait(300) in {0, -signal.SIGTERM}
            llm.wait(gone=K)
    llm.release()


def _accepts(url):
    where = urlsplit(url)
    try:
        socket.create_connection((where.hostname, where.port)).close()
    except OSError:
        return False
    return True


_ASKING = """
import sys, httpx2
print(httpx2.post(sys.argv[1], content=sys.argv[2], headers={"content-type": "application/json"}, timeout=300).text)
"""
