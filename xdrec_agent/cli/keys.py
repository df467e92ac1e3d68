"""`xdrec keys`. Makes, lists and revokes the keys of the service."""

from __future__ import annotations

from typing import Annotated

import typer

from retrieval.errors import UsageError
from xdrec_agent.cli.context import print_json, settings
from xdrec_agent.cli.options import Json

app = typer.Typer(help="Keys of the service.", no_args_is_help=True)


@app.command()
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


@app.command("list")
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


@app.command()
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
