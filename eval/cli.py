"""The command line `xdrec-eval`. Reads arguments, runs benchmarks, prints their reports."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from retrieval.errors import XDRecError
from xdrec_agent.cli.context import diagnostics
from xdrec_agent.cli.errors import report as report_error

app = typer.Typer(
    name="xdrec-eval",
    help="Measure recommendations.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
bench = typer.Typer(help="Benchmarks: a table on stdout, and a JSON file with --json.", no_args_is_help=True)
app.add_typer(bench, name="bench")


@bench.callback()
def _bench() -> None:
    """Benchmarks: a table on stdout, and a JSON file with --json."""


@bench.command()
def retrieval(
    data: Annotated[Path, typer.Option(help="The folder amazon-three-domains, or the one it lies in.")],
    json_: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the report here, too.")] = None,
) -> None:
    """Quality, speed and indexing of retrieval.

    \b
    The first run ingests and embeds 86,000 items (minutes); build/bench keeps them for the next one.
    Example:
      xdrec-eval bench retrieval --data ../data/amazon-three-domains --json build/bench/retrieval.json
    """
    from eval.bench_report import print_report, write_report
    from eval.bench_retrieval import bench_retrieval
    from xdrec_agent import models
    from xdrec_agent.assembly import open_encoder
    from xdrec_agent.settings import load_settings

    progress = diagnostics()
    settings = load_settings()
    models.pull(settings.encoder.model, settings.models_dir, offline=settings.offline)
    found = bench_retrieval(data, open_encoder(settings), lambda line: progress.print(line, style="dim"))
    print_report(found, Console(highlight=False))
    if json_ is not None:
        write_report(found, json_)


fit = typer.Typer(help="What is fitted on validation users and shipped.", no_args_is_help=True)
app.add_typer(fit, name="fit")


@fit.callback()
def _fit() -> None:
    """What is fitted on validation users and shipped."""


@fit.command()
def hybrid(
    data: Annotated[Path, typer.Option(help="The folder amazon-three-domains, or the one it lies in.")],
    users: Annotated[int, typer.Option(min=10, help="Validation users, one case each.")] = 200,
    seed: Annotated[int, typer.Option(help="Of users, negatives and shuffles.")] = 0,
    write: Annotated[bool, typer.Option("--write", help="Put the fit into xdrec_agent/fitted.json.")] = False,
) -> None:
    """Fit the weight that the running model's score gets in `hybrid`.

    \b
    Example:
      xdrec-eval fit hybrid --data ../data/amazon-three-domains --users 200 --write
    """
    import asyncio

    from eval.datasets import open_dataset
    from eval.fit_hybrid import fit_hybrid
    from retrieval.templates import load_template
    from xdrec_agent.assembly import open_encoder
    from xdrec_agent.endpoint import resolve_endpoint
    from xdrec_agent.fitted import HybridFit, save_fit
    from xdrec_agent.llm import LLMClient
    from xdrec_agent.rerank import RerankContext
    from xdrec_agent.settings import load_settings

    settings, progress = load_settings(), diagnostics()

    def say(line: str) -> None:
        progress.print(line, style="dim")

    async def run() -> HybridFit:
        with open_dataset(data, open_encoder(settings), load_template("item"), say) as dataset:
            async with LLMClient(resolve_endpoint(settings), settings.llm) as client:
                context = RerankContext(settings.rerank, load_template("rerank"), client)
                return await fit_hybrid(dataset, context, client, users, seed, say)

    found = asyncio.run(run())
    typer.echo(found.model_dump_json(indent=2))
    if write:
        save_fit(found)


def main() -> None:
    """Entry point of the console script."""
    try:
        app()
    except XDRecError as exc:
        report_error(exc, as_json=False)
        sys.exit(exc.exit_code)
    except KeyboardInterrupt:
        typer.echo("stopped", err=True)
        sys.exit(130)
