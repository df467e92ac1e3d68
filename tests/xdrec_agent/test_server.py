"""Promises about the server's processes and files, tested with a stand-in for vLLM."""

from __future__ import annotations

import importlib.util
import itertools
import os
import signal
import socket
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from retrieval.errors import ModelMissing, SetupError
from xdrec_agent.errors import PortTaken, ServerDied
from xdrec_agent.server import lifecycle as server
from xdrec_agent.server import processes
from xdrec_agent.server.command import stage, vllm_command, vllm_environment
from xdrec_agent.server.processes import ProcessId
from xdrec_agent.settings import LLMSettings

STAND_IN = Path(__file__).parents[1] / "stand_in_server.py"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def as_stand_in(mode="serve"):
    return lambda model, name, settings: [sys.executable, str(STAND_IN), mode, str(settings.port), name]


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return folder


@pytest.fixture
def state_dir(tmp_path):
    folder = tmp_path / "llm"
    yield folder
    server.down(folder)


@pytest.fixture
def settings():
    return LLMSettings(port=free_port(), start_timeout_s=60)


@pytest.fixture
def sleeper():
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        yield process
        process.kill()


class Seen:
    """A progress callback that remembers; with `then`, it does that once the child process runs."""

    def __init__(self, state_dir, then=None):
        self.messages, self.members = [], ()
        self._state_dir, self._then = state_dir, then

    def __call__(self, message, seconds):
        self.messages.append(message)
        state = server.status(self._state_dir).state
        self.members = state.processes if state else ()
        if self._then and len(self.members) > 1:
            self._then()


def start(model, settings, state_dir, mode="serve", **options):
    return server.up(model, "tiny", settings, state_dir, command=as_stand_in(mode), **options)


def assert_nothing_left(state_dir, members):
    assert not any(processes.running(member) for member in members)
    assert not (state_dir / server.STATE).exists()


def interrupt():
    raise KeyboardInterrupt


def test_up_starts_and_down_ends_the_whole_group(model, settings, state_dir):
    """After `up` the server and its children run in a group of their own, after `down` none does."""
    state = start(model, settings, state_dir)
    assert server.status(state_dir) == server.ServerStatus(condition="running", state=state)
    assert len(state.processes) == 2
    assert {os.getpgid(p.pid) for p in state.processes} == {state.leader.pid} != {os.getpgid(0)}
    assert os.getsid(state.leader.pid) == state.leader.pid
    assert server.down(state_dir)
    assert_nothing_left(state_dir, state.processes)
    assert not server.down(state_dir)
    assert server.status(state_dir).condition == "stopped"


def test_the_key_is_private(model, settings, state_dir):
    """The key stands in a file that only its owner reads, never on the command line, in the log or in a repr."""
    state = start(model, settings, state_dir)
    assert len(state.key) >= 32
    assert stat.S_IMODE((state_dir / server.STATE).stat().st_mode) == 0o600
    assert stat.S_IMODE(state.log.stat().st_mode) == 0o600
    assert state.key in (state_dir / server.STATE).read_text()
    public = " ".join(psutil.Process(state.leader.pid).cmdline()) + state.log.read_text() + repr(state)
    assert state.key not in public


def test_up_again_returns_the_same_server(model, settings, state_dir):
    """A second `up` for the same model changes nothing."""
    assert start(model, settings, state_dir) == start(model, settings, state_dir)


def test_up_at_the_same_time_starts_one_server(model, settings, state_dir):
    """Two simultaneous calls agree on one server."""
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: start(model, settings, state_dir), range(2))
    assert first == second
    assert (state_dir / server.LOG).read_text().count("Starting to load model") == 1


def test_up_does_not_replace_another_model(model, settings, state_dir):
    """A running server is not ended for another model; the hint says how to."""
    state = start(model, settings, state_dir)
    with pytest.raises(SetupError, match="serves tiny") as raised:
        server.up(model, "other", settings, state_dir, command=as_stand_in())
    assert raised.value.hint == "xdrec llm down"
    assert server.status(state_dir).state == state


def test_up_does_not_replace_other_adapters(model, settings, state_dir):
    """A running server goes on with the adapters that it has; the hint says how to change them."""
    start(model, settings, state_dir)
    more = settings.model_copy(update={"adapters": {"taste": Path("taste")}})
    with pytest.raises(SetupError, match="with no adapters") as raised:
        start(model, more, state_dir)
    assert raised.value.hint == "xdrec llm down"


def test_a_taken_port_is_refused_by_name(model, settings, state_dir):
    """Nothing is started on a port that somebody uses; the message names the port and the program."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", settings.port))
        other.listen()
        with pytest.raises(PortTaken, match=str(settings.port)) as raised:
            start(model, settings, state_dir)
    assert str(os.getpid()) in str(raised.value)
    assert not (state_dir / server.LOG).exists()
    assert_nothing_left(state_dir, ())


def test_a_missing_model_is_refused(settings, state_dir, tmp_path):
    """A folder without a model is reported before anything is started."""
    with pytest.raises(ModelMissing) as raised:
        start(tmp_path, settings, state_dir)
    assert raised.value.hint == "xdrec models pull tiny"


def test_a_server_that_dies_shows_its_log(model, settings, state_dir):
    """The error ends with the last 20 lines of the log."""
    with pytest.raises(ServerDied) as raised:
        start(model, settings, state_dir, "die")
    shown = str(raised.value).splitlines()[1:]
    assert shown == [*(f"line {n}" for n in range(11, 30)), "out of memory"]
    assert_nothing_left(state_dir, ())


def test_a_program_that_cannot_be_started_leaves_nothing(model, settings, state_dir):
    """A command that does not exist is a set-up error."""
    with pytest.raises(SetupError, match="cannot be started"):
        server.up(model, "tiny", settings, state_dir, command=lambda *_: ["/does/not/exist"])
    assert_nothing_left(state_dir, ())


def test_interrupting_up_leaves_nothing(model, settings, state_dir):
    """Ctrl-C while the server starts ends the whole group."""
    seen = Seen(state_dir, then=interrupt)
    with pytest.raises(KeyboardInterrupt):
        start(model, settings, state_dir, "silent", progress=seen)
    assert len(seen.members) == 2
    assert "loading the weights" in seen.messages
    assert_nothing_left(state_dir, seen.members)


@pytest.mark.parametrize("mode", ["silent", "open"])
def test_what_never_answers_as_ours_times_out(model, settings, state_dir, mode):
    """A server that does not listen, and one that lets strangers in and so is not ours, are ended in the end."""
    seen = Seen(state_dir)
    with pytest.raises(SetupError, match="not ready after 2 s"):
        start(model, settings.model_copy(update={"start_timeout_s": 2}), state_dir, mode, progress=seen)
    assert len(seen.members) == 2
    assert_nothing_left(state_dir, seen.members)


def test_a_model_that_cannot_chat_is_not_ready(model, settings, state_dir):
    """`up` returns only after a real answer; a refusal is shown."""
    with pytest.raises(SetupError, match="no chat template"):
        start(model, settings, state_dir, "refuse")
    assert_nothing_left(state_dir, ())


def test_down_ends_what_outlived_a_killed_server(model, settings, state_dir):
    """If the server is killed its children stay behind; they are known, and `down` ends them."""
    state = start(model, settings, state_dir)
    os.kill(state.leader.pid, signal.SIGKILL)
    os.waitpid(state.leader.pid, 0)
    assert server.status(state_dir) == server.ServerStatus(condition="stale", state=state)
    assert server.down(state_dir)
    assert_nothing_left(state_dir, state.processes)


def test_up_replaces_a_killed_server(model, settings, state_dir):
    """A stale state does not stand in the way, and what is left of the old server is ended."""
    old = start(model, settings, state_dir)
    os.kill(old.leader.pid, signal.SIGKILL)
    os.waitpid(old.leader.pid, 0)
    new = start(model, settings, state_dir)
    assert new.leader != old.leader
    assert not any(processes.running(member) for member in old.processes)


def test_up_goes_on_with_a_start_that_was_abandoned(model, settings, state_dir):
    """If `up` itself was killed, the next one waits for the server it had started."""
    state = start(model, settings, state_dir)
    unfinished = state.model_copy(update={"ready": False, "processes": ()})
    (state_dir / server.STATE).write_text(unfinished.model_dump_json())
    assert server.status(state_dir).condition == "starting"
    assert start(model, settings, state_dir) == state


def test_a_foreign_process_is_never_signalled(model, settings, state_dir, sleeper):
    """A reused process id, of the server or of a child, is recognised by its start time."""
    other = ProcessId(pid=sleeper.pid, started=psutil.Process(sleeper.pid).create_time() - 100)
    state = server.ServerState(
        leader=other,
        processes=(other,),
        port=settings.port,
        key="k",
        served_name="tiny",
        model=model,
        log=model / "log",
        ready=True,
    )
    state_dir.mkdir()
    (state_dir / server.STATE).write_text(state.model_dump_json())
    assert server.status(state_dir).condition == "stale"
    assert not server.down(state_dir)
    assert sleeper.poll() is None
    assert not (state_dir / server.STATE).exists()


def test_a_damaged_state_is_stale(state_dir):
    """A state file that cannot be read is neither a server nor a crash."""
    state_dir.mkdir()
    (state_dir / server.STATE).write_text("{")
    assert server.status(state_dir) == server.ServerStatus(condition="stale")
    assert not server.down(state_dir)
    assert server.status(state_dir).condition == "stopped"


def test_a_process_that_ignores_sigterm_is_killed(tmp_path):
    """Asking to end is followed by force."""
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True); time.sleep(600)"
    )
    log = tmp_path / "log"
    stubborn = processes.spawn([sys.executable, "-c", code], dict(os.environ), log)
    while "on" not in log.read_text():
        assert processes.running(stubborn)
    assert processes.end(stubborn, (), grace_s=0.2)
    assert not processes.running(stubborn)


def test_logs_are_the_last_lines(state_dir):
    """As many lines as asked for, the newest last; none if there was never a server."""
    assert server.logs(state_dir, 5) == []
    state_dir.mkdir()
    (state_dir / server.LOG).write_text("a\nb\nc\n")
    assert server.logs(state_dir, 2) == ["b", "c"]


@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed")
def test_the_command_binds_to_loopback_and_lets_extra_arguments_win(tmp_path):
    """vLLM listens on this machine only, serves the folder under the name, and the user's arguments come last."""
    settings = LLMSettings(port=9001, max_model_len=512, extra_args=("--dtype", "float16"))
    command = vllm_command(tmp_path, "tiny", settings)
    given = dict(itertools.pairwise(command))
    assert command[0] == sys.executable
    assert (given["--host"], given["--port"], given["--max-model-len"]) == ("127.0.0.1", "9001", "512")
    assert (given["--model"], given["--served-model-name"]) == (str(tmp_path), "tiny")
    assert command[-2:] == ["--dtype", "float16"]


def test_the_environment_is_silent_and_offline():
    """vLLM gets the key, reports nothing to anybody and reaches for no hub; its developer routes stay off."""
    environment = vllm_environment("secret", LLMSettings(kv_cache_gib=3))
    expected = {
        "VLLM_API_KEY": "secret",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "VLLM_CPU_KVCACHE_SPACE": "3",
    }
    assert expected.items() <= environment.items()
    assert "VLLM_SERVER_DEV_MODE" not in environment


def test_on_a_cpu_vllm_keeps_its_memory_unless_told_otherwise(monkeypatch):
    """Memory given back and fetched anew for every layer costs an eighth of the time; whoever sets it is heard."""
    monkeypatch.setattr("xdrec_agent.server.command.on_cpu", lambda: True)
    monkeypatch.delenv("MALLOC_MMAP_THRESHOLD_", raising=False)
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "123")
    environment = vllm_environment("secret", LLMSettings())
    assert (environment["MALLOC_MMAP_THRESHOLD_"], environment["MALLOC_TRIM_THRESHOLD_"]) == ("33554432", "123")
    monkeypatch.setattr("xdrec_agent.server.command.on_cpu", lambda: False)
    assert "MALLOC_MMAP_THRESHOLD_" not in vllm_environment("secret", LLMSettings())


def test_the_stage_is_the_latest_in_the_log():
    """Progress names the last stage that the log mentions."""
    assert stage("") == "importing vLLM"
    assert stage("INFO Resolved architecture: X\nINFO Starting to load model y\n") == "loading the weights"
