"""What all commands share. Reads the global options, produces the settings and the consoles."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from xdrec_agent.settings import Settings, load_settings


def settings() -> Settings:
    """The settings with what stands before the command on the command line."""
    context = click.get_current_context(silent=True)
    home: Path | None = context.find_root().params.get("home") if context else None
    return load_settings(**({"home": home} if home else {}))


def diagnostics() -> Console:
    """For progress and remarks: stderr, so that stdout holds data alone."""
    return Console(stderr=True, highlight=False)


def progress_bar() -> Progress:
    """A bar on stderr with a count and the time passed; leaves nothing behind."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=diagnostics(),
        transient=True,
    )
