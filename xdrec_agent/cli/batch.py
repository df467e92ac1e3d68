"""`xdrec batch`. Reads users and where results go, runs a batch on Ray, prints what was done."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from retrieval.errors import UsageError
from xdrec_agent.cli.context import diagnostics, print_json, settings
from xdrec_agent.cli.options import Count, DomainArgument, Explain, Json, Rebuild, Sources, Target, UserArgument

if TYPE_CHECKING:
    from xdrec_agent.batch import Progress

app = typer.Typer(help="Many users at once, on one machine or many (Ray).", no_args_is_help=True)

Folder = Annotated[str, typer.Option("--output", metavar="FOLDER", help="A folder, or s3://BUCKET/FOLDER.")]
Address = Annotated[str, typer.Option("--ray", metavar="ADDRESS", help="HOST:PORT, auto, or local.")]
_EVERY_S: Final = 10.0
"""Seconds between two lines about progress where there is no terminal."""


@app.command()
def recommend(
    users: Annotated[str, typer.Option(metavar="FILE|all", help="A .parquet, .csv or .jsonl file with a column user.")],
    source: Sources,
    target: Target,
    output: Folder,
    k: Count = 10,
    ray: Address = "local",
    engine: Annotated[
        Literal["servers", "vllm"], typer.Option(help="The configured servers, or vLLM on the cluster's GPUs.")
    ] = "servers",
    explain: Explain = True,
    retry: Annotated[str | None, typer.Option(metavar="degraded", help="Make only the degraded rows anew.")] = None,
    size: Annotated[int, typer.Option("--part-size", min=1, help="Users in a file.")] = 256,
    json_: Json = False,
) -> None:
    """Recommend for many users into Parquet files; a stopped run goes on where it was, nobody twice.

    \b
    Examples:
      xdrec batch recommend --users all --from films --to books --output out
      xdrec batch recommend --users people.parquet --from films --to books --output s3://shop/out --ray 10.0.0.1:6379
      xdrec batch recommend --users all --from films --to books --output out --retry degraded
    """
    from xdrec_agent.batch import Request, run_batch

    if retry not in {None, "degraded"}:
        raise UsageError(f"--retry {retry}", hint="--retry degraded")
    request = Request(
        users, tuple(source), target, k, output, size, explain, ray, retry=retry is not None, engine=engine
    )
    with _progress() as progress:
        report = run_batch(settings(), request, progress)
    if json_:
        print_json(report)
        return
    rate = report.made / report.seconds if report.seconds else 0.0
    typer.echo(f"{report.output}: {report.users:,} users in {report.parts:,} files, {report.degraded:,} degraded")
    typer.echo(f"made now: {report.made:,} in {report.seconds:.1f} s ({rate:.1f} users/s)")
    if report.degraded:
        typer.echo("→ the same command with --retry degraded makes those anew", err=True)


@app.command()
def index(
    domain: DomainArgument,
    ray: Address = "local",
    rebuild: Rebuild = False,
    json_: Json = False,
) -> None:
    """Embed what is new or changed on all machines of a cluster; a killed run goes on where it stopped.

    \b
    Examples:
      xdrec batch index books --ray 10.0.0.1:6379
      xdrec batch index books --rebuild
    """
    from xdrec_agent.app import open_index, open_store
    from xdrec_agent.batch import spread_over

    configured = settings()
    with open_store(configured, create=False) as store, open_index(configured) as built, _progress() as progress:  # noqa: SIM117
        with spread_over(built, configured, ray):
            report = built.build(store, domain, rebuild=rebuild, progress=progress)
    if json_:
        print_json(report)
        return
    typer.echo(f"{domain}: {report.items:,} items, {report.embedded:,} embedded, {report.total_s:.1f} s")


@app.command()
def forget(
    user: UserArgument,
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="A batch's folder.")],
) -> None:
    """Delete a user's results from a batch's folder, which `xdrec users delete` does not know.

    \b
    A run that goes on later leaves the user out.
    Example:
      xdrec batch forget ada out
    """
    from xdrec_agent.batch import ResultFolder

    found = ResultFolder(folder)
    if found.job() is None:
        raise UsageError(f"{folder} is no batch's folder", hint="name the --output of xdrec batch recommend")
    typer.echo(f"{folder}: {found.forget(user)} deleted")


@contextmanager
def _progress() -> Iterator[Progress]:
    """Progress on stderr: a bar with rate and time left, or a line now and then where nobody watches a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = diagnostics()
    began, last = time.monotonic(), 0.0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    with bar:
        task = bar.add_task("starting", total=None)

        def progress(done: int, total: int) -> None:
            nonlocal last
            seconds = time.monotonic() - began
            rate = done / seconds
            bar.update(task, completed=done, total=total, description=f"{rate:,.1f}/s")
            if not console.is_terminal and (seconds - last >= _EVERY_S or done == total):
                last = seconds
                left = (total - done) / rate if rate else 0.0
                console.print(f"{done:,} of {total:,}, {rate:,.1f}/s, {left:,.0f} s left", markup=False)

        yield progress
