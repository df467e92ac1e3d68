"""`xdrec enrich`. Reads a catalogue, has the language model describe its items, keeps that apart from the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from xdrec_agent.cli.context import print_json, settings
from xdrec_agent.cli.options import DomainArgument, Json, Yes

if TYPE_CHECKING:
    from xdrec_agent.enrich import EnrichReport, Estimate
    from xdrec_agent.settings import Settings


def enrich(
    domain: DomainArgument,
    limit: Annotated[int | None, typer.Option(min=1, help="Ask about so many items at most.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what it would cost and do nothing.")] = False,
    yes: Yes = False,
    json_: Json = False,
) -> None:
    """Ask the language model what items are about: themes, mood, setting, period, audience.

    Each item is asked about twice in different words, and only what both answers say is kept. A killed run goes on
    where it stopped. What is kept helps the encoder (encoder.facets = true) and is never given as a reason.

    \b
    Examples:
      xdrec enrich books --dry-run
      xdrec enrich books --limit 500 --yes
    """
    import asyncio

    asyncio.run(_enrich(settings(), domain, limit, dry_run=dry_run, yes=yes, json_=json_))


async def _enrich(
    configured: Settings, domain: str, limit: int | None, *, dry_run: bool, yes: bool, json_: bool
) -> None:
    from retrieval.errors import UsageError
    from xdrec_agent.app import open_client, open_facets, open_store
    from xdrec_agent.cli.progress import counting_bar
    from xdrec_agent.enrich import Enrichment, load_wordings

    if json_ and not (yes or dry_run):
        raise UsageError("--json cannot ask whether to go on", hint="add --yes or --dry-run")
    with open_store(configured, create=False) as store, open_facets(configured) as kept:
        async with open_client(configured.patient()) as client:
            work = Enrichment(store, kept, client, load_wordings(), domain, limit)
            if not work.pending:
                typer.echo(f"{domain}: every item was asked about", err=True)
            if work.pending and not (yes and json_):
                estimate = await work.estimate()
                _print_estimate(estimate, json_=json_)
            if dry_run or not (yes or not work.pending or typer.confirm("go on?", default=False, err=True)):
                return
            with counting_bar(f"{domain}: asking {work.made_by.model}", len(work.pending)) as progress:
                report = await work.run(progress)
    _print_report(report, json_=json_)


def _print_estimate(estimate: Estimate, *, json_: bool) -> None:
    if json_:
        print_json(estimate)
        return
    took = "unknown time (the response cache answered)" if estimate.seconds is None else _rounded(estimate.seconds)
    tokens = f"{estimate.prompt_tokens:,} prompt and {estimate.completion_tokens:,} written tokens"
    typer.echo(
        f"{estimate.domain}: {estimate.items:,} items, {estimate.requests:,} requests to {estimate.model},"
        f" about {tokens}, {took} (from {estimate.probed} items)"
    )


def _print_report(report: EnrichReport, *, json_: bool) -> None:
    if json_:
        print_json(report)
        return
    unreadable = f", {report.unreadable} replies could not be read" if report.unreadable else ""
    typer.echo(f"{report.domain}: asked about {report.asked:,}, {report.known:,} are known{unreadable}")
    typer.echo("encoder.facets = true and xdrec index --rebuild make use of it", err=True)


def _rounded(seconds: float) -> str:
    for size, unit in ((3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"about {seconds / size:.0f} {unit}"
    return f"about {seconds:.0f} seconds"
