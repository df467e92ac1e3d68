"""What all commands share. Reads the global options, produces the settings and the consoles."""

from __future__ import annotations

from contextvars import ContextVar
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from xdrec_agent.settings import Settings, load_settings

_given: ContextVar[dict[str, Path]] = ContextVar("given", default={})  # noqa: B039 (never changed in place)


def remember(*, home: Path | None) -> None:
    """Keep what stands before the command on the command line."""
    _given.set({"home": home} if home else {})


def settings() -> Settings:
    """The settings, with what stands before the command on the command line."""
    return load_settings(**_given.get())


def diagnostics() -> Console:
    """For progress and remarks: stderr, so that stdout holds data alone."""
    return Console(stderr=True, highlight=False)


def progress_bar() -> Progress:
    """A bar on stderr with a count and the time passed; leaves nothing behind."""
    console = diagnostics()
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
