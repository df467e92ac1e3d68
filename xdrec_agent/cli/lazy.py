"""What both command lines are made of. Reads a table of commands, produces an app that imports each when it is needed.

A command's module is imported when the command is called or `--help` is asked for.
"""

# ruff: noqa: ANN401 (typer keeps the types of its commands and contexts to itself)

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from retrieval.errors import XDRecError
from xdrec_agent.cli.context import print_error


def lazy_app(name: str, table: Mapping[str, str], *, json_errors: bool) -> typer.Typer:
    """The app `name` with the commands of `table`: "module:attribute" of a function or of a `typer.Typer`.

    With `json_errors` a command that is given `--json` tells its error as JSON, too. The app needs a callback: its
    docstring is the help, its parameters are the options before the command.
    """
    return typer.Typer(
        name=name,
        cls=_root(table, json_errors),
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


class _Lazy(Mapping[str, Any]):
    """The commands of a table, each imported and built when it is looked up."""

    def __init__(self, table: Mapping[str, str]) -> None:
        self._table = table
        self._built: dict[str, Any] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, name: str) -> Any:
        if name not in self._built:
            module, _, attribute = self._table[name].partition(":")
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


def _root(table: Mapping[str, str], json_errors: bool) -> type[TyperGroup]:
    class Root(TyperGroup):
        """The commands, and the one place where errors become exit codes."""

        def __init__(self, **attributes: Any) -> None:
            super().__init__(**(attributes | {"commands": _Lazy(table)}))

        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            ctx.meta["xdrec.json"] = json_errors and "--json" in args
            return super().parse_args(ctx, args)

        def invoke(self, ctx: Any) -> Any:
            try:
                return super().invoke(ctx)
            except XDRecError as exc:
                print_error(exc, as_json=ctx.meta["xdrec.json"])
                raise typer.Exit(exc.exit_code) from exc
            except KeyboardInterrupt as exc:
                typer.echo("stopped", err=True)
                raise typer.Exit(130) from exc

    return Root
