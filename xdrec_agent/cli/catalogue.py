"""`xdrec index`, `domains` and `items`. Bring indexes up to date, show what is in the store, delete items."""

from __future__ import annotations

from typing import Annotated

import typer

from retrieval.errors import UsageError
from xdrec_agent.cli.context import print_json, settings
from xdrec_agent.cli.options import DomainArgument, Json, Rebuild, Texts

items = typer.Typer(help="Single items of a catalogue.", no_args_is_help=True)


def index(
    domain: Annotated[Texts | None, typer.Argument(metavar="DOMAIN…", help="Default: all in the store.")] = None,
    rebuild: Rebuild = False,
    json_: Json = False,
) -> None:
    """Embed what is new or changed; a killed run goes on where it stopped.

    \b
    Examples:
      xdrec index
      xdrec index books --rebuild
    """
    from xdrec_agent.app import open_index, open_store
    from xdrec_agent.cli.progress import counting_bar

    configured = settings()
    reports = []
    with open_store(configured, create=False) as store:
        names = domain or [summary.domain for summary in store.domains()]
        if not names:
            raise UsageError("the store has no domains", hint="xdrec ingest DOMAIN FILE")
        indexes = open_index(configured)
        for name in names:
            with counting_bar(f"{name}: embedding") as progress:
                report = indexes.build(store, name, rebuild=rebuild, progress=progress)
            reports.append(report)
            if not json_:
                kept = report.items - report.embedded
                typer.echo(
                    f"{name}: {report.items} items, {report.embedded} embedded, {kept} as they were,"
                    f" {report.deleted} deleted, {report.total_s:.1f} s"
                )
    if json_:
        print_json(reports)


def domains(json_: Json = False) -> None:
    """The domains in the store, their sizes, and whether their indexes are current.

    \b
    Examples:
      xdrec domains
      xdrec domains --json
    """
    from xdrec_agent.app import index_states, open_store

    configured = settings()
    with open_store(configured, create=False) as store:
        summaries = store.domains()
    states = index_states(configured, summaries)
    if json_:
        rows = [d.model_dump() | {"index": s.state} for d, s in zip(summaries, states, strict=True)]
        print_json(rows)
        return
    for d, s in zip(summaries, states, strict=True):
        size = f"{d.items:>9,} items {d.interactions:>10,} interactions {d.users:>8,} users"
        typer.echo(f"{d.domain:20} {size}  index {s.state}" + (f" → {s.next}" if s.next else ""))
    if not summaries:
        typer.echo("no domains yet → xdrec ingest DOMAIN FILE", err=True)


@items.command()
def delete(
    domain: DomainArgument,
    ids: Annotated[Texts, typer.Argument(metavar="ID…", help="The items' ids.")],
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
