"""`xdrec users`. Lists users, exports and deletes everything kept about one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from retrieval.errors import UsageError
from xdrec_agent.cli.context import settings

app = typer.Typer(help="People, and what is kept about them.", no_args_is_help=True)

User = Annotated[str, typer.Argument(metavar="USER", help="The user's id.")]


@app.command("list")
def list_(
    domain: Annotated[str | None, typer.Option(help="Only users with interactions in this domain.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
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
        typer.echo(json.dumps(users, ensure_ascii=False, indent=2))
        return
    for user in users:
        typer.echo(user)


@app.command()
def export(
    user: User,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="A file; default: stdout.")] = None,
) -> None:
    """Everything kept about a person, as one JSON document.

    \b
    Examples:
      xdrec users export ada
      xdrec users export ada -o ada.json
    """
    from xdrec_agent.app import export_user

    text = json.dumps(export_user(settings(), user), ensure_ascii=False, indent=2)
    if output is None:
        typer.echo(text)
        return
    try:
        output.write_text(text + "\n", encoding="utf-8")
    except OSError as exc:
        raise UsageError(f"cannot write {output}: {exc.strerror}", hint="give a file that you may write") from exc
    typer.echo(f"written to {output}", err=True)


@app.command()
def delete(user: User, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Delete everything kept about a person, for good.

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
