"""The service: `xdrec serve` and `xdrec mcp` run it until it is told to end, `xdrec keys` makes who may call."""

from __future__ import annotations

from types import ModuleType
from typing import Annotated

import typer

from retrieval.errors import UsageError, optional_packages
from xdrec_agent.cli.context import overridden, print_json, settings
from xdrec_agent.cli.options import Host, Json, Port

keys_app = typer.Typer(help="Keys of the service.", no_args_is_help=True)


def serve(
    host: Host = None,
    port: Port = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that answer; one for each processor.")] = None,
) -> None:
    """Serve recommendations, reasons and conversation over HTTP, until interrupted.

    \b
    Without keys only this machine is served; `xdrec keys create` makes one.
    Examples:
      xdrec serve
      xdrec serve --host 0.0.0.0 --port 8000 --workers 4
    """
    service = import_service()
    service.run(overridden(settings(), service={"host": host, "port": port, "workers": workers}))


def mcp(
    http: Annotated[bool, typer.Option("--http", help="Over HTTP, at /mcp; default: stdin and stdout.")] = False,
    host: Host = None,
    port: Port = None,
) -> None:
    """Offer recommend, explain and search_items to other agents (Model Context Protocol).

    \b
    Examples:
      xdrec mcp
      xdrec mcp --http --port 8418
    """
    service = import_service()
    run = service.run_mcp_http if http else service.run_mcp_stdio
    run(overridden(settings(), service={"host": host, "port": port}))


def import_service() -> ModuleType:
    """The package of the service. Raises SetupError: the extra `service` is not installed."""
    with optional_packages("the service", "service"):
        from xdrec_agent import service
    return service


@keys_app.command()
def create(
    user: Annotated[str | None, typer.Option("--user", help="Bind it to this user: it sees nobody else.")] = None,
    operator: Annotated[bool, typer.Option("--operator", help="It acts for whomever a request names.")] = False,
    name: Annotated[str, typer.Option("--name", help="What it is for; shown by `list`.")] = "",
    json_: Json = False,
) -> None:
    """Make a key and print it, once: only its hash is kept.

    \b
    Examples:
      xdrec keys create --user ada --name "Ada's phone"
      xdrec keys create --operator --name shop
    """
    from xdrec_agent.app import open_keys

    if (user is None) != operator:
        raise UsageError("a key is for one user or for an operator", hint="give --user ID or --operator")
    with open_keys(settings()) as keys:
        key, secret = keys.create(name, user=user)
    if json_:
        print_json(key.model_dump() | {"key": secret})
        return
    typer.echo(secret)
    typer.echo(f"key {key.id}, {key.role}{f' {user}' if user else ''}; it cannot be shown again", err=True)


@keys_app.command("list")
def list_(json_: Json = False) -> None:
    """The keys: id, role, user, name, and whether they were revoked.

    \b
    Examples:
      xdrec keys list
      xdrec keys list --json
    """
    from retrieval.templates import visible
    from xdrec_agent.app import open_keys

    with open_keys(settings(), create=False) as table:
        keys = table.list() if table.exists() else ()
    if json_:
        print_json(keys)
        return
    for key in keys:
        state = "revoked" if key.revoked_at else "in use"
        typer.echo(f"{key.id}  {key.role:8}  {visible(key.user or '-'):20}  {state:7}  {visible(key.name)}")


@keys_app.command()
def revoke(id_: Annotated[str, typer.Argument(metavar="ID", help="The key's id, from `list`.")]) -> None:
    """Refuse a key from now on.

    \b
    Example:
      xdrec keys revoke 1f2e3d4c
    """
    from xdrec_agent.app import open_keys

    with open_keys(settings()) as keys:
        keys.revoke(id_)
    typer.echo(f"key {id_} is revoked")
