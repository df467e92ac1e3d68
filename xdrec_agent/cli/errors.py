"""How errors are shown. Reads an XDRecError, prints it with its hint: a line for people, an object for programs."""

from __future__ import annotations

import json

import typer

from retrieval.errors import TitleError, XDRecError


def report(error: XDRecError, *, as_json: bool) -> None:
    """Print to stderr, or with `--json` an object {"error": …} to stdout."""
    nearest = list(error.nearest) if isinstance(error, TitleError) else []
    if as_json:
        body = {"type": type(error).__name__, "message": str(error), "hint": error.hint, "nearest": nearest}
        typer.echo(json.dumps({"error": body}, ensure_ascii=False))
        return
    typer.echo(f"error: {error}", err=True)
    for title in nearest:
        typer.echo(f"  · {title}", err=True)
    if error.hint:
        typer.echo(f"  → {error.hint}", err=True)
