"""What all commands share. Reads the global options, produces the settings; prints JSON, remarks and errors."""

from __future__ import annotations

from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from retrieval.errors import TitleError, UsageError, XDRecError

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


def overridden(configured: Settings, **sections: dict[str, object]) -> Settings:
    """The settings with what a command's options gave, by section and name (None: not given)."""
    changes = {
        name: getattr(configured, name).model_copy(update={k: v for k, v in given.items() if v is not None})
        for name, given in sections.items()
    }
    return configured.model_copy(update=changes)


def diagnostics() -> Console:
    """For progress and remarks: stderr, so that stdout holds data alone."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def print_json(value: object) -> None:
    """Print a model, or a collection of models or plain values, to stdout."""
    from pydantic_core import to_json

    typer.echo(to_json(value, indent=2).decode())


def write_file(file: Path, text: str) -> None:
    """Write what a command would print into a file instead. Raises UsageError: it cannot be written."""
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise UsageError(f"cannot write {file}: {exc.strerror}", hint="give a file that you may write") from exc
    typer.echo(f"written to {file}", err=True)


def print_error(error: XDRecError, *, as_json: bool) -> None:
    """An error with its hint: a line to stderr, or with `--json` an object {"error": …} to stdout."""
    nearest = list(error.nearest) if isinstance(error, TitleError) else []
    if as_json:
        body = {"type": type(error).__name__, "message": str(error), "hint": error.hint, "nearest": nearest}
        print_json({"error": body})
        return
    typer.echo(f"error: {error}", err=True)
    for title in nearest:
        typer.echo(f"  · {title}", err=True)
    if error.hint:
        typer.echo(f"  → {error.hint}", err=True)
