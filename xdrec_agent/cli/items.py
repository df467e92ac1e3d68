"""`xdrec items`. Deletes items of a catalogue."""

from __future__ import annotations

from typing import Annotated

import typer

from retrieval.errors import UsageError
from xdrec_agent.cli.context import settings

app = typer.Typer(help="Single items of a catalogue.", no_args_is_help=True)


@app.command()
def delete(
    domain: Annotated[str, typer.Argument(metavar="DOMAIN", help="Whose items they are.")],
    ids: Annotated[list[str], typer.Argument(metavar="ID…", help="The items' ids.")],
) -> None:
    """Delete items and all interactions with them, for good; they are not recommended from then on.

    \b
    Examples:
      xdrec items delete films tt0078748
    """
    from xdrec_agent.app import open_store

    with open_store(settings(), create=False) as store:
        deleted = store.delete_items(domain, ids)
    if not deleted:
        raise UsageError(f"{domain!r} has no item {' or '.join(ids)}", hint="xdrec domains")
    typer.echo(f"{domain}: {deleted} deleted")
    typer.echo(f"their vectors go with the next run of: xdrec index {domain}", err=True)
