"""The command line `xdrec`. Reads arguments, calls the library, turns errors into a line, a hint and an exit code."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from retrieval.errors import XDRecError
from xdrec_agent.cli import data, llm, models, users
from xdrec_agent.cli.context import remember
from xdrec_agent.cli.demo import demo
from xdrec_agent.cli.doctor import doctor
from xdrec_agent.cli.errors import report
from xdrec_agent.cli.recommend import recommend

app = typer.Typer(
    name="xdrec",
    help="Cross-domain recommendations with reasons that can be checked.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
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


app.command()(recommend)
app.command()(demo)
app.command()(doctor)
app.command()(data.ingest)
app.command()(data.index)
app.command()(data.domains)
app.add_typer(models.app, name="models")
app.add_typer(llm.app, name="llm")
app.add_typer(users.app, name="users")


def main() -> None:
    """Entry point of the console script."""
    try:
        app()
    except XDRecError as exc:
        report(exc, as_json="--json" in sys.argv)
        sys.exit(exc.exit_code)
    except KeyboardInterrupt:
        typer.echo("stopped", err=True)
        sys.exit(130)
