"""`xdrec-eval bench`. Reads data or a load, produces the report of a benchmark: a table, and a JSON file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer
from rich.console import Console

from eval.cli.context import Bench, DataFolder, prepared, pulled_encoder, say, with_model

if TYPE_CHECKING:
    from eval.bench_report import Figure, Report

app = typer.Typer(help="Benchmarks: a table on stdout, and a JSON file with --json.", no_args_is_help=True)

ReportFile: TypeAlias = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write the report here, too.")
]


@app.command()
def retrieval(data: DataFolder, json_: ReportFile = None) -> None:
    """Quality, speed and indexing of retrieval.

    \b
    The first run ingests and embeds 86,000 items (minutes); build/bench keeps them for the next one.
    Example:
      xdrec-eval bench retrieval --data ../data/amazon-three-domains --json build/bench/retrieval.json
    """
    from eval.bench_retrieval import bench_retrieval
    from xdrec_agent.settings import load_settings

    _show(bench_retrieval(data, pulled_encoder(load_settings()), say), json_)


@app.command("rerank")
def bench_rerank_(
    data: DataFolder,
    users: Annotated[int, typer.Option(min=20, help="For quality, one case each.")] = 1008,
    latency: Annotated[int, typer.Option(min=2, help="For the latency of one user.")] = 12,
    saturation: Annotated[int, typer.Option(min=2, help="For the throughput at saturation.")] = 48,
    shuffles: Annotated[int, typer.Option(min=0, help="For the stopping rule; 0: leave it out.")] = 24,
    json_: ReportFile = None,
) -> None:
    """Quality and cost of every reranking strategy with the running model.

    \b
    Replies of the quality part are kept: a stopped run goes on where it was.
    Example:
      xdrec-eval bench rerank --data ../data/amazon-three-domains --users 1008 --json build/bench/rerank.json
    """
    from eval.bench_report import make_report
    from eval.bench_rerank import Sizes, bench_rerank
    from eval.choices import tasks

    sizes = Sizes(users, latency, saturation, shuffles)

    async def run(bench: Bench) -> list[Figure]:
        chosen = tasks(bench.dataset, max(users, 4 * (latency + saturation)))
        return await bench_rerank(bench.context, bench.settings.llm, chosen, sizes, bench.say)

    _show(make_report("rerank", with_model(data, run)), json_)


@app.command("service")
def bench_service_(
    data: DataFolder,
    minutes: Annotated[
        float, typer.Option(min=0.1, help="At 40 recommendations a second, for latency and memory.")
    ] = 10,
    json_: ReportFile = None,
) -> None:
    """Latency, memory and behaviour beyond saturation of a real `xdrec serve`, under open-loop load, without a model.

    \b
    Example:
      xdrec-eval bench service --data ../data/amazon-three-domains --json build/bench/service.json
    """
    from eval.bench_report import make_report
    from eval.bench_service import measure_service
    from xdrec_agent.settings import load_settings

    settings = load_settings()
    with prepared(data, settings) as dataset:
        found = make_report("service", measure_service(dataset, settings.models_dir, minutes, say))
    _show(found, json_)


@app.command("replicas")
def bench_replicas_(
    latency: Annotated[float, typer.Option(min=0.01, help="Seconds that a simulated server takes.")] = 0.5,
    at_once: Annotated[int, typer.Option(min=1, help="Requests that it works for at a time.")] = 4,
    rounds: Annotated[int, typer.Option(min=1, help="How often each of these places is filled.")] = 40,
    json_: ReportFile = None,
) -> None:
    """Throughput of 1, 2 and 4 servers of one model behind one client; the servers are simulated.

    \b
    Example:
      xdrec-eval bench replicas --json build/bench/replicas.json
    """
    import asyncio

    from eval.bench_replicas import Load, bench_replicas
    from eval.bench_report import make_report

    found = make_report("replicas", asyncio.run(bench_replicas(Load(latency, at_once, rounds), say)))
    _show(found, json_)


def _show(found: Report, file: Path | None) -> None:
    from eval.bench_report import print_report, write_report

    print_report(found, Console(highlight=False))
    if file is not None:
        write_report(found, file)
