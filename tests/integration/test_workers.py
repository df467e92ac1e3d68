"""Promises of `xdrec serve --workers`: one service of several processes, which count together and are replaced."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx2
import psutil
import pytest
from words_service import ASK, filled, running

from xdrec_agent.app import Keys
from xdrec_agent.service.limits import RateLimiter
from xdrec_agent.settings import Settings

pytestmark = pytest.mark.integration

XDREC = str(Path(sys.executable).with_name("xdrec"))
WAIT_S = 150
IDENTITY = {"XDREC_RERANK__STRATEGY": "identity"}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home with a store and indexes."""
    return filled(tmp_path_factory.mktemp("workers"))


def eventually(check, what):
    """Wait until the check holds."""
    deadline = time.monotonic() + WAIT_S
    while not check():
        assert time.monotonic() < deadline, f"never {what}"
        time.sleep(0.1)


def workers(service):
    """The living processes that answer; multiprocessing's tracker of resources is none."""
    found = []
    for child in psutil.Process(service.process.pid).children():
        with suppress(psutil.Error):  # it has just ended
            if "resource_tracker" not in " ".join(child.cmdline()):
                found.append(child)
    return found


def recommend(service):
    return httpx2.post(f"{service.url}/v1/recommend", json=ASK, timeout=WAIT_S)


def counted(service, name):
    """A metric of the whole service."""
    lines = httpx2.get(f"{service.url}/metrics", timeout=WAIT_S).text.splitlines()
    return next((float(line.split()[-1]) for line in lines if line.startswith(f"{name} ")), 0.0)


def test_each_process_answers_and_all_are_counted_together(home):
    """While one is stopped the other answers; /metrics adds up what both did, whoever is asked."""
    with running(home, XDREC_SERVICE__WORKERS="2", **IDENTITY) as service:
        eventually(lambda: len(workers(service)) == 2, "two processes")
        first, second = workers(service)
        answers = set()
        for stopped, other in ((first, second), (second, first)):
            eventually(lambda one=other: answered_by(service, one), "an answer of each")
            stopped.suspend()
            try:
                answers.add(recommend(service).json()["id"])
            finally:
                stopped.resume()
        assert len(answers) == 2
        assert all(httpx2.get(f"{service.url}/v1/answers/{id_}", timeout=WAIT_S).status_code == 200 for id_ in answers)
        seen = {counted(service, "xdrec_overhead_seconds_count") for _ in range(8)}
        assert len(seen) == 1, "every process tells the same"
        assert seen.pop() >= 2
        assert counted(service, "xdrec_in_flight") == 0


def answered_by(service, process):
    """Whether the process has begun to serve: it holds the socket and runs an event loop."""
    return process.num_threads() > 2 and httpx2.get(f"{service.url}/health/ready", timeout=WAIT_S).status_code == 200


def test_a_process_that_dies_is_replaced(home):
    """The service goes on meanwhile, and what it had counted still counts."""
    with running(home, XDREC_SERVICE__WORKERS="2", **IDENTITY) as service:
        eventually(lambda: len(workers(service)) == 2, "two processes")
        assert recommend(service).status_code == 200
        before = {process.pid for process in workers(service)}
        os.kill(min(before), signal.SIGKILL)
        eventually(lambda: len({p.pid for p in workers(service)} - before) == 1, "a new process")
        assert recommend(service).status_code == 200
        assert counted(service, "xdrec_overhead_seconds_count") == 2


def test_nobody_is_left_behind_when_the_service_is_killed(home):
    """A supervisor that could not say good-bye takes its processes with it; the socket is free."""
    with running(home, XDREC_SERVICE__WORKERS="2", **IDENTITY) as service:
        eventually(lambda: len(workers(service)) == 2, "two processes")
        left = workers(service)
        service.process.kill()
        _, alive = psutil.wait_procs(left, timeout=WAIT_S)
        for process in alive:
            process.kill()
        assert not alive
        service.process.wait(WAIT_S)
        with pytest.raises(httpx2.ConnectError):
            recommend(service)


def test_a_key_has_one_limit_however_many_answer(home, tmp_path):
    """Requests are counted on disk; who is told to wait is told for how long."""
    settings = Settings(home=filled(tmp_path))
    with Keys.open(settings.store_url) as keys:
        _, secret = keys.create("phone", user="ada")
    limited = {"XDREC_SERVICE__KEYS": "required", "XDREC_SERVICE__RATE": "5/hour"}
    headers = {"authorization": f"Bearer {secret}"}
    with running(tmp_path, XDREC_SERVICE__WORKERS="2", **limited) as service:
        eventually(lambda: len(workers(service)) == 2, "two processes")
        replies = [httpx2.get(f"{service.url}/v1/domains", headers=headers, timeout=WAIT_S) for _ in range(12)]
    assert [reply.status_code for reply in replies] == [200] * 5 + [429] * 7
    assert 0 < int(replies[-1].headers["retry-after"]) <= 3600
    other = RateLimiter("5/hour", settings.rates_dir)
    other.count("somebody else")
    other.close()


def test_what_keeps_a_service_from_starting_is_said_once(home, tmp_path):
    """Without a store, or with a rate that is none, no process is started at all."""
    for folder, changes, code, said in (
        (tmp_path / "none", {}, 3, "xdrec ingest"),
        (home, {"XDREC_SERVICE__RATE": "often"}, 2, "is no rate"),
    ):
        done = subprocess.run(
            [XDREC, "--home", str(folder), "serve", "--port", "0", "--workers", "2"],
            env=os.environ | changes,
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=False,
        )
        assert done.returncode == code, done.stderr
        assert done.stderr.count(said) == 1, done.stderr
