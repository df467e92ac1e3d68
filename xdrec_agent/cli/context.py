"""What all commands share. Reads the global options, produces the settings and the console for remarks."""

from __future__ import annotations

from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from xdrec_agent.settings import Settings

_given: ContextVar[dict[str, Path]] = ContextVar("given", default={})  # noqa: B039 (never changed in place)


def remember(*, home: Path | None) -> None:
    """Keep what stands before the command on the command line."""
    _given.set({"home": home} if home else {})


def settings() -> Settings:
    """The settings, with what stands before the command on the command line."""
    from xdrec_agent.settings import load_settings

    return load_settings(**_given.get())


def diagnostics() -> Console:
    """For progress and remarks: stderr, so that stdout holds data alone."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)
