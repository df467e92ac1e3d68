"""Processes that outlive the command that starts them. Reads process ids, produces identities safe to signal.

The system reuses a process id; together with the start time it names one process for good.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from retrieval.errors import SetupError
from retrieval.types import Frozen
from xdrec_agent.errors import PortTaken

_POLL_S = 0.05
_CLOCK_SLACK_S = 2.0
"""Start times are told in wall-clock time, which an adjusted clock shifts a little for a running process."""


class ProcessId(Frozen):
    """One process: its id and its start time in Unix seconds."""

    pid: int
    started: float


def spawn(command: Sequence[str], environment: Mapping[str, str], log: Path) -> ProcessId:
    """Start a command in a session and process group of its own, its output in a fresh `log` (mode 0600).

    `posix_spawn` and not `Popen`: nothing in this process has to stay behind to own the child.

    Raises:
        SetupError: the program or the log cannot be opened.
    """
    log.unlink(missing_ok=True)
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, os.fspath(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    try:
        pid = os.posix_spawn(command[0], list(command), environment, file_actions=actions, setsid=True)
    except OSError as exc:
        raise SetupError(f"{command[0]} cannot be started: {exc.strerror}", hint="xdrec doctor") from exc
    # The child stays a zombie until it is waited for, so its entry exists even if it has ended by now.
    return ProcessId(pid=pid, started=psutil.Process(pid).create_time())


def running(process: ProcessId) -> bool:
    """Whether exactly this process runs; False for a zombie and for another process with the same id."""
    return _find(process) is not None


def group_of(leader: ProcessId) -> tuple[ProcessId, ...]:
    """The running processes of the group that `leader` leads; empty once the leader's entry has gone.

    While the entry exists, be it as a zombie, nobody else can have a group with this number.
    """
    if _entry(leader) is None:
        return ()
    members = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == leader.pid and process.status() != psutil.STATUS_ZOMBIE:
                members.append(ProcessId(pid=process.pid, started=process.create_time()))
        except (ProcessLookupError, PermissionError, psutil.Error):
            continue
    return tuple(members)


def end(leader: ProcessId, known: Iterable[ProcessId], *, grace_s: float) -> bool:
    """End the group of `leader` and the `known` members that outlived it; returns whether any of them ran.

    All are asked to end first (SIGTERM); what still runs `grace_s` seconds later is killed.
    """
    members = [member for member in dict.fromkeys((*group_of(leader), *known)) if running(member)]
    for member in members:
        _signal(member, kill=False)
    if not _gone(members, grace_s):
        stubborn = dict.fromkeys((*members, *group_of(leader)))
        for member in stubborn:
            _signal(member, kill=True)
        _gone(stubborn, grace_s)
    if _entry(leader):  # a zombie, reaped by its own parent if that is not this process
        with suppress(ChildProcessError):
            os.waitpid(leader.pid, os.WNOHANG)
    return bool(members)


def check_port_free(port: int) -> None:
    """Make sure that nothing listens on this port of the loopback interface.

    Raises:
        PortTaken: something does; the message names it if the system tells.
        SetupError: the port may not be used.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was just closed is free
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError as exc:
            raise SetupError(f"port {port} may not be used", hint="set llm.port to 1024 or more") from exc
        except OSError as exc:
            raise PortTaken(
                f"port {port} is taken by {_listener(port)}", hint="end it, or set llm.port to another port"
            ) from exc


def _entry(process: ProcessId) -> psutil.Process | None:
    try:
        found = psutil.Process(process.pid)
        return found if abs(found.create_time() - process.started) < _CLOCK_SLACK_S else None
    except psutil.Error:
        return None


def _find(process: ProcessId) -> psutil.Process | None:
    entry = _entry(process)
    try:
        return entry if entry and entry.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None


def _signal(process: ProcessId, *, kill: bool) -> None:
    if found := _find(process):
        with suppress(psutil.NoSuchProcess):
            found.kill() if kill else found.terminate()


def _gone(members: Iterable[ProcessId], patience_s: float) -> bool:
    """Wait until none runs. psutil's own wait goes on until a foreign parent has reaped them, which may take long."""
    deadline = time.monotonic() + patience_s
    while any(running(member) for member in members):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _listener(port: int) -> str:
    try:
        for listener in psutil.net_connections("tcp"):
            at_port = listener.status == psutil.CONN_LISTEN and listener.laddr and listener.laddr.port == port
            if at_port and listener.pid:
                return f"{psutil.Process(listener.pid).name()} (process {listener.pid})"
    except psutil.Error:
        return "another program"
    return "another program"
