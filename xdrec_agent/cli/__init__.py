"""The command line `xdrec`. Reads arguments, calls the library, turns errors into a line, a hint and an exit code.

A command's module is imported when the command is called or `--help` is asked for, and imports what it works with when
it runs: starting up stays cheap.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import typer

from xdrec_agent.cli.context import remember
from xdrec_agent.cli.lazy import lazy_app

COMMANDS: Final[Mapping[str, str]] = {
    "recommend": "xdrec_agent.cli.recommend:recommend",
    "explain": "xdrec_agent.cli.explain:explain",
    "chat": "xdrec_agent.cli.chat:chat",
    "demo": "xdrec_agent.cli.demo:demo",
    "doctor": "xdrec_agent.cli.doctor:doctor",
    "ingest": "xdrec_agent.cli.ingest:ingest",
    "index": "xdrec_agent.cli.catalogue:index",
    "domains": "xdrec_agent.cli.catalogue:domains",
    "items": "xdrec_agent.cli.catalogue:items",
    "models": "xdrec_agent.cli.models:app",
    "llm": "xdrec_agent.cli.llm:app",
    "adapt": "xdrec_agent.cli.adapt:app",
    "enrich": "xdrec_agent.cli.enrich:enrich",
    "batch": "xdrec_agent.cli.batch:app",
    "users": "xdrec_agent.cli.users:app",
    "serve": "xdrec_agent.cli.serve:serve",
    "keys": "xdrec_agent.cli.serve:keys_app",
    "mcp": "xdrec_agent.cli.serve:mcp",
}
"""Where each command is: a function, or a `typer.Typer` with commands of its own."""

app = lazy_app("xdrec", COMMANDS, json_errors=True)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("xdrec"))
        raise typer.Exit


@app.callback()
def _global(
    home: Annotated[Path | None, typer.Option(help="Folder of store, indexes and server state.")] = None,
    _show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Cross-domain recommendations with reasons that can be checked."""
    remember(home=home)


def main() -> None:
    """Entry point of the console script."""
    app()
