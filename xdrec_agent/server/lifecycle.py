"""The LLM server of this project. Reads a model folder, produces a running vLLM and the file that finds it.

That file holds the server's key, so only its owner may read it. Nothing is signalled before it is certain
that it is still the process that was started.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from filelock import FileLock, Timeout
from pydantic import Field, ValidationError

from retrieval.errors import ModelMissing, SetupError
from retrieval.files import write_atomic
from retrieval.types import Frozen
from xdrec_agent.errors import ServerDied
from xdrec_agent.server.command import stage, vllm_command, vllm_environment
from xdrec_agent.server.processes import ProcessId, check_port_free, end, group_of, running, spawn
from xdrec_agent.settings import LLMSettings

if TYPE_CHECKING:
    import httpx2

Progress = Callable[[str, float], None]
CommandBuilder = Callable[[Path, str, LLMSettings], list[str]]

LOG = "vllm.log"
STATE = "server.json"
_GRACE_S = 10.0
_POLL_S = 0.25


class ServerState(Frozen):
    """A server that `up` started; `processes` is its group as last seen, `ready` is set once it answered."""

    leader: ProcessId
    processes: tuple[ProcessId, ...] = ()
    port: int
    key: str = Field(repr=False)
    served_name: str
    model: Path
    log: Path
    ready: bool = False
    adapters: tuple[str, ...] = ()
    """Names of the adapters that it serves beside the model."""

    @property
    def root_url(self) -> str:
        """Where it listens, without a path."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        """Its OpenAI-compatible base URL."""
        return f"{self.root_url}/v1"


class ServerStatus(Frozen):
    """What became of the server: `stale` means that it ended without `down`, parts of it may still run."""

    condition: Literal["stopped", "starting", "running", "stale"]
    state: ServerState | None = None


def up(
    model: Path,
    served_name: str,
    settings: LLMSettings,
    state_dir: Path,
    *,
    progress: Progress | None = None,
    command: CommandBuilder = vllm_command,
) -> ServerState:
    """Make sure that a server for `model` runs, and return when it has answered a first request.

    `served_name` is `settings.model`: `resolve_endpoint` looks for that one.
    Does nothing if it runs already; a second `up` at the same time waits for the first. Whatever goes wrong,
    no process and no state file is left. `progress` gets vLLM's stage and the seconds since the start.

    Raises:
        ModelMissing: `model` is no model folder.
        PortTaken: something else listens on the port.
        ServerDied: the process ended before it was ready; the message ends with its log.
        SetupError: another model is served, vLLM is not installed, or it was not ready in `start_timeout_s`.
    """
    if not (model / "config.json").is_file():
        raise ModelMissing(f"{model} is no model folder", hint=f"xdrec models pull {served_name}")
    state_dir.mkdir(parents=True, exist_ok=True)
    report = progress or _silent
    with _only_one(state_dir, settings, report), ExitStack() as undo:
        now = status(state_dir)
        if now.condition == "stale":
            down(state_dir)
        state = now.state if now.condition in {"starting", "running"} else None
        if state and (state.model, state.served_name) != (model.resolve(), served_name):
            raise SetupError(f"the server serves {state.served_name}", hint="xdrec llm down")
        if state and state.adapters != tuple(settings.adapters):
            served = ", ".join(state.adapters) or "no adapters"
            raise SetupError(f"the server serves {state.served_name} with {served}", hint="xdrec llm down")
        if state and state.ready:
            return state
        undo.callback(down, state_dir)
        state = state or _start(model.resolve(), served_name, settings, state_dir, command)
        state = _wait(state, state_dir, settings.start_timeout_s, report)
        undo.pop_all()
        return state


def down(state_dir: Path) -> bool:
    """End the server with all processes of its group and forget it; returns whether any of them ran.

    A process that is not the one that was started is never signalled.
    """
    state = _read(state_dir)
    ended = state is not None and end(state.leader, state.processes, grace_s=_GRACE_S)
    (state_dir / STATE).unlink(missing_ok=True)
    return ended


def status(state_dir: Path) -> ServerStatus:
    """What the state file and the process table say; the server itself is not asked."""
    state = _read(state_dir)
    if state is None:
        return ServerStatus(condition="stale" if (state_dir / STATE).exists() else "stopped")
    if not running(state.leader):
        return ServerStatus(condition="stale", state=state)
    return ServerStatus(condition="running" if state.ready else "starting", state=state)


def logs(state_dir: Path, lines: int) -> list[str]:
    """The last `lines` lines that the server wrote; empty if it was never started."""
    try:
        with (state_dir / LOG).open(encoding="utf-8", errors="replace") as file:
            return [line.rstrip("\n") for line in deque(file, maxlen=lines)]
    except FileNotFoundError:
        return []


@contextmanager
def _only_one(state_dir: Path, settings: LLMSettings, report: Progress) -> Iterator[None]:
    lock = FileLock(state_dir / "server.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        report("waiting for another `xdrec llm up`", 0.0)
        try:
            lock.acquire(timeout=settings.start_timeout_s)
        except Timeout as exc:
            raise SetupError("another `xdrec llm up` does not end", hint="xdrec llm down") from exc
    try:
        yield
    finally:
        lock.release()


def _start(
    model: Path, served_name: str, settings: LLMSettings, state_dir: Path, command: CommandBuilder
) -> ServerState:
    check_port_free(settings.port)
    key = secrets.token_urlsafe(32)
    log = (state_dir / LOG).resolve()
    leader = spawn(command(model, served_name, settings), vllm_environment(key, settings), log)
    with ExitStack() as undo:
        undo.callback(end, leader, (leader,), grace_s=_GRACE_S)
        state = ServerState(
            leader=leader,
            port=settings.port,
            key=key,
            served_name=served_name,
            model=model,
            log=log,
            adapters=tuple(settings.adapters),
        )
        _write(state, state_dir)
        undo.pop_all()
    return state


def _wait(state: ServerState, state_dir: Path, timeout_s: float, report: Progress) -> ServerState:
    import httpx2

    began = time.monotonic()
    with httpx2.Client(base_url=state.root_url, trust_env=False, timeout=timeout_s) as http:
        while not _answers(http, state):
            waited = time.monotonic() - began
            reached = stage("\n".join(logs(state_dir, 400)))
            report(reached, waited)
            if not running(state.leader):
                tail = "\n".join(logs(state_dir, 20))
                raise ServerDied(f"the server ended before it was ready:\n{tail}", hint="xdrec llm logs")
            if waited > timeout_s:
                raise SetupError(
                    f"the server is not ready after {timeout_s:g} s ({reached})",
                    hint="xdrec llm logs; a larger llm.start_timeout_s waits longer",
                )
            members = group_of(state.leader)
            if set(members) != set(state.processes):
                state = state.model_copy(update={"processes": members})
                _write(state, state_dir)
            time.sleep(_POLL_S)
        report("answering a first request", time.monotonic() - began)
        _warm_up(http, state)
    state = state.model_copy(update={"ready": True, "processes": group_of(state.leader)})
    _write(state, state_dir)
    return state


def _answers(http: httpx2.Client, state: ServerState) -> bool:
    """Whether our server answers: it lets our key in, nobody without one, and serves our model."""
    import httpx2

    try:
        if http.get("/health", timeout=5).status_code != httpx2.codes.OK:
            return False
        stranger = http.get("/v1/models", timeout=5)
        reply = http.get("/v1/models", timeout=5, headers=_authorization(state))
    except httpx2.TransportError:
        return False
    if stranger.status_code != httpx2.codes.UNAUTHORIZED or reply.status_code != httpx2.codes.OK:
        return False
    return f'"{state.served_name}"' in reply.text


def _warm_up(http: httpx2.Client, state: ServerState) -> None:
    """Ask once: the first request compiles parts of the sampler, and it shows a model that cannot chat."""
    import httpx2

    body = {
        "model": state.served_name,
        "messages": [{"role": "user", "content": "Hello"}],
        "max_tokens": 1,
        "logprobs": True,
        "logprob_token_ids": [0],
    }
    try:
        reply = http.post("/v1/chat/completions", json=body, headers=_authorization(state))
    except httpx2.TransportError as exc:
        raise ServerDied(f"the server broke off its first answer: {exc}", hint="xdrec llm logs") from exc
    if reply.status_code != httpx2.codes.OK:
        raise SetupError(
            f"the server cannot answer with {state.served_name}: {reply.text[:500]}", hint="xdrec llm logs"
        )


def _authorization(state: ServerState) -> dict[str, str]:
    return {"Authorization": f"Bearer {state.key}"}


def _silent(message: str, seconds: float) -> None:
    """The progress callback of a caller who gave none."""


def _read(state_dir: Path) -> ServerState | None:
    try:
        return ServerState.model_validate_json((state_dir / STATE).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValidationError):
        return None


def _write(state: ServerState, state_dir: Path) -> None:
    write_atomic(state_dir / STATE, state.model_dump_json(), private=True, concurrent=True)
