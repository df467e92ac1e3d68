"""`xdrec users`. Lists users, exports and deletes everything kept about one."""

from __future__ import annotations

from typing import Annotated

import typer

from xdrec_agent.cli.context import print_json, settings, write_file
from xdrec_agent.cli.options import Json, Output, UserArgument, Yes

app = typer.Typer(help="People, and what is kept about them.", no_args_is_help=True)


@app.command("list")
def list_(
    domain: Annotated[str | None, typer.Option(help="Only users with interactions in this domain.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    json_: Json = False,
) -> None:
    """The users' ids, one a line.

    \b
    Examples:
      xdrec users list --domain films --limit 10
      xdrec users list --json
    """
    from xdrec_agent.app import open_store

    with open_store(settings(), create=False) as store:
        users = store.users(domain, limit)
    if json_:
        print_json(users)
        return
    for user in users:
        typer.echo(user)


@app.command()
def export(user: UserArgument, output: Output = None) -> None:
    """Everything kept about a user, as one JSON document.

    \b
    Examples:
      xdrec users export ada
      xdrec users export ada -o ada.json
    """
    from pydantic_core import to_json

    from xdrec_agent.app import export_user

    records = export_user(settings(), user)
    if output is None:
        print_json(records)
    else:
        write_file(output, to_json(records, indent=2).decode() + "\n")


@app.command()
def delete(user: UserArgument, yes: Yes = False) -> None:
    """Delete everything kept about a user, for good.

    \b
    Examples:
      xdrec users delete ada --yes
    """
    from xdrec_agent.app import delete_user, export_user

    configured = settings()
    export_user(configured, user)
    if not yes:
        typer.confirm(f"Delete everything kept about {user}?", abort=True, err=True)
    for place, count in delete_user(configured, user).items():
        typer.echo(f"{place}: {count} deleted")
