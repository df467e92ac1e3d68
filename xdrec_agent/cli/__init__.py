"""The command line `xdrec`. Reads arguments, calls the library, turns errors into a line, a hint and an exit code.

A command's module is imported when the command is called or `--help` is asked for, and imports what it works with when
it runs: starting up stays cheap.
"""

# ruff: noqa: ANN401 (typer keeps the types of its commands and contexts to itself)

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from retrieval.errors import XDRecError
from xdrec_agent.cli.context import remember
from xdrec_agent.cli.errors import report

COMMANDS: Final[Mapping[str, str]] = {
    "recommend": "xdrec_agent.cli.recommend:recommend",
    "explain": "xdrec_agent.cli.explain:explain",
    "chat": "xdrec_agent.cli.chat:chat",
    "demo": "xdrec_agent.cli.demo:demo",
    "doctor": "xdrec_agent.cli.doctor:doctor",
    "ingest": "xdrec_agent.cli.data:ingest",
    "index": "xdrec_agent.cli.data:index",
    "domains": "xdrec_agent.cli.data:domains",
    "items": "xdrec_agent.cli.items:app",
    "models": "xdrec_agent.cli.models:app",
    "llm": "xdrec_agent.cli.llm:app",
    "adapt": "xdrec_agent.cli.adapt:app",
    "enrich": "xdrec_agent.cli.enrich:enrich",
    "batch": "xdrec_agent.cli.batch:app",
    "users": "xdrec_agent.cli.users:app",
    "serve": "xdrec_agent.cli.serve:serve",
    "keys": "xdrec_agent.cli.keys:app",
    "mcp": "xdrec_agent.cli.mcp:mcp",
}
"""Where each command is: a function, or a `typer.Typer` with commands of its own."""


class _Lazy(Mapping[str, Any]):
    """`COMMANDS`, each imported and built when it is looked up."""

    def __init__(self) -> None:
        self._built: dict[str, Any] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)

    def __getitem__(self, name: str) -> Any:
        if name not in self._built:
            module, _, attribute = COMMANDS[name].partition(":")
            self._built[name] = _build(name, getattr(import_module(module), attribute))
        return self._built[name]


def _build(name: str, found: Any) -> Any:
    if isinstance(found, typer.Typer):
        command: Any = typer.main.get_group(found)
        command.name = name
        return command
    alone = typer.Typer(add_completion=False)
    alone.command(name)(found)
    return typer.main.get_command(alone)


class _Root(TyperGroup):
    """The commands, and the one place where errors become exit codes."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**(attributes | {"commands": _Lazy()}))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.meta["xdrec.json"] = "--json" in args
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except XDRecError as exc:
            report(exc, as_json=ctx.meta["xdrec.json"])
            raise typer.Exit(exc.exit_code) from exc
        except KeyboardInterrupt as exc:
            typer.echo("stopped", err=True)
            raise typer.Exit(130) from exc


app = typer.Typer(
    name="xdrec",
    cls=_Root,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
