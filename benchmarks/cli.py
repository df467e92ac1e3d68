"""`python -m benchmarks`. Reads data or a load, produces the report of a benchmark: a table, and a JSON file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer
from rich.console import Console

from benchmarks.figures import Figure, make_report, print_report, write_report
from eval.cli.context import Bench, judges_of, prepared, pulled_encoder, say, with_model
from eval.cli.options import DataFolder, Judges
from xdrec_agent.settings import load_settings

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
      python -m benchmarks retrieval --data ../data/amazon-three-domains --json build/bench/retrieval.json
    """
    import numpy as np

    from benchmarks.retrieval.quality import measure_quality
    from benchmarks.retrieval.speed import measure_index, measure_speed

    settings = load_settings()
    encoder = pulled_encoder(settings)
    with prepared(data, settings) as dataset:
        figures = [
            *measure_speed(dataset, encoder.folder, say),
            *measure_quality(dataset, np.random.default_rng(0), say),
            *measure_index(dataset, encoder, say),
        ]
    _show("retrieval", figures, json_)


@app.command()
def rerank(
    data: DataFolder,
    users: Annotated[int, typer.Option(min=20, help="For quality, one case each.")] = 1008,
    latency: Annotated[int, typer.Option(min=2, help="For the latency of one user.")] = 12,
    saturation: Annotated[int, typer.Option(min=2, help="For the throughput at saturation.")] = 48,
    shuffles: Annotated[int, typer.Option(min=0, help="For the stopping rule; 0: leave it out.")] = 24,
    judge: Judges = None,
    json_: ReportFile = None,
) -> None:
    """Quality and cost of every reranking strategy with the running model.

    \b
    Replies of the quality part are kept: a stopped run goes on where it was.
    Example:
      python -m benchmarks rerank --data ../data/amazon-three-domains --users 1008 --json build/bench/rerank.json
    """
    from dataclasses import replace

    from benchmarks.rerank.rerank import Sizes, bench_rerank
    from eval.data import plan_cases, rerank_tasks

    sizes, judges = Sizes(latency, saturation, shuffles), judges_of(judge)

    async def run(bench: Bench) -> list[Figure]:
        chosen = rerank_tasks(plan_cases(bench.dataset), users)
        asked = frozenset(task.case.user for task in chosen)
        # Cost does not depend on which users the model was trained on.
        others = rerank_tasks(plan_cases(replace(bench.dataset, training_users=asked)), 4 * (latency + saturation))
        return await bench_rerank(bench.context, bench.settings.llm, judges, (chosen, others), sizes, bench.say)

    _show("rerank", with_model(data, run), json_)


@app.command()
def service(
    data: DataFolder,
    minutes: Annotated[
        float, typer.Option(min=0.1, help="At 40 recommendations a second, for latency and memory.")
    ] = 10,
    json_: ReportFile = None,
) -> None:
    """Latency, memory and behaviour beyond saturation of a real `xdrec serve`, under open-loop load, without a model.

    \b
    Then its own overhead with a model, a simulated one of set latency.
    Example:
      python -m benchmarks service --data ../data/amazon-three-domains --json build/bench/service.json
    """
    from benchmarks.service.service import measure_service

    settings = load_settings()
    with prepared(data, settings) as dataset:
        figures = measure_service(dataset, settings.models_dir, minutes, say)
    _show("service", figures, json_)


@app.command("cold-start")
def cold_start(
    data: DataFolder,
    users: Annotated[int, typer.Option(min=10, help="Of the fold that nothing was fitted on.")] = 300,
    json_: ReportFile = None,
) -> None:
    """What is recommended where little is known: of a person, an item, a domain; and how soon a new item is.

    \b
    Example:
      python -m benchmarks cold-start --data ../data/amazon-three-domains --json build/bench/cold-start.json
    """
    import numpy as np

    from benchmarks.retrieval.cold_start import measure_cold_start
    from benchmarks.retrieval.new_items import bench_at_once

    with prepared(data, load_settings()) as dataset:
        figures = [*measure_cold_start(dataset, users, np.random.default_rng(0), say), *bench_at_once(dataset, say)]
    _show("cold-start", figures, json_)


@app.command()
def popularity(
    data: DataFolder,
    users: Annotated[int, typer.Option(min=10, help="For validation, and as many of the test fold.")] = 400,
    picture: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the curve of the former (SVG).")] = None,
    json_: ReportFile = None,
) -> None:
    """What the popularity signal costs and brings, for shares of its fitted weight (retriever.popularity).

    \b
    Example:
      python -m benchmarks popularity --data ../data/amazon-three-domains --picture popularity.svg
    """
    import numpy as np

    from benchmarks.retrieval.popularity import measure_popularity, write_chart

    with prepared(data, load_settings()) as dataset:
        figures = measure_popularity(dataset, users, np.random.default_rng(0), say)
    _show("popularity", figures, json_)
    if picture is not None:
        write_chart(picture, figures)


@app.command()
def encoder(data: DataFolder, json_: ReportFile = None) -> None:
    """The configured encoder in 8 bits (encoder.backend = onnx-int8) and as it is: speed, quality of the text alone.

    \b
    The first run embeds 86,000 items with either form (half an hour); build/bench keeps them.
    Example:
      python -m benchmarks encoder --data ../data/amazon-three-domains --json build/bench/encoder.json
    """
    from benchmarks.retrieval.encoder import measure_encoder
    from retrieval.encoder import Int8Encoder, SentenceEncoder

    made = pulled_encoder(load_settings(device="cpu"))
    plain = SentenceEncoder(made.name, made.folder, batch_size=made.batch_size, device="cpu")
    small = Int8Encoder(made.name, made.folder, batch_size=made.batch_size)
    _show("encoder", measure_encoder(data, plain, small, say), json_)


@app.command()
def adapted(data: DataFolder, json_: ReportFile = None) -> None:
    """The configured encoder and the one that it was adapted from, on users outside its training data.

    \b
    The first run embeds 86,000 items with either (half an hour); build/bench keeps them.
    Example:
      python -m benchmarks adapted --data ../data/amazon-three-domains --json build/bench/adapted.json
    """
    from benchmarks.retrieval.adapted import measure_adapted
    from retrieval.errors import UsageError
    from xdrec_agent.models import merged_adapters

    adapted = pulled_encoder(load_settings())
    manifests = merged_adapters(adapted.folder)
    if not manifests:
        raise UsageError(f"{adapted.name} is no adapted encoder", hint="xdrec adapt encoder NAME; xdrec adapt use NAME")
    base = pulled_encoder(load_settings(encoder={"model": manifests[-1].base.name}))
    _show("adapted", measure_adapted(data, base, adapted, say), json_)


@app.command()
def chinese(
    pack: Annotated[str, typer.Argument(help="A demo pack with a Chinese slice (zh.csv).")] = "films-books",
    encoders: Annotated[
        list[str] | None, typer.Option("--encoder", help="Models, as `encoder.model` names them.")
    ] = None,
    json_: ReportFile = None,
) -> None:
    """Chinese titles and sentences asked of an English catalogue, by each encoder, by words and by titles.

    \b
    Example:
      python -m benchmarks chinese films-books --encoder minilm-taste --encoder multilingual-e5-small
    """
    from benchmarks.retrieval.chinese import measure_chinese
    from xdrec_agent.app import find_pack

    names = encoders or [load_settings().encoder.model, "multilingual-e5-small"]
    made = [pulled_encoder(load_settings(encoder={"model": name})) for name in names]
    _show("chinese", measure_chinese(find_pack(pack), made, say), json_)


@app.command()
def relations(
    triples: Annotated[int, typer.Option(min=1000, help="How many.")] = 200_000, json_: ReportFile = None
) -> None:
    """Time and memory of ingesting, loading and asking relations, made up.

    \b
    Example:
      python -m benchmarks relations --triples 1000000 --json build/bench/relations.json
    """
    import tempfile

    from benchmarks.retrieval.relations import measure_relations

    with tempfile.TemporaryDirectory() as folder:
        _show("relations", measure_relations(triples, Path(folder)), json_)


@app.command()
def replicas(
    latency: Annotated[float, typer.Option(min=0.01, help="Seconds that a simulated server takes.")] = 0.5,
    at_once: Annotated[int, typer.Option(min=1, help="Requests that it works for at a time.")] = 4,
    rounds: Annotated[int, typer.Option(min=1, help="How often each of these places is filled.")] = 40,
    json_: ReportFile = None,
) -> None:
    """Throughput of 1, 2 and 4 servers of one model behind one client; the servers are simulated.

    \b
    Example:
      python -m benchmarks replicas --json build/bench/replicas.json
    """
    import asyncio

    from benchmarks.rerank.replicas import Load, bench_replicas

    _show("replicas", asyncio.run(bench_replicas(Load(latency, at_once, rounds), say)), json_)


@app.command()
def scale(
    data: DataFolder,
    items: Annotated[int, typer.Option(min=10_000, help="The largest catalogue.")] = 1_000_000,
    json_: ReportFile = None,
) -> None:
    """Ingest, index and search of made-up catalogues from ten thousand items on; with --json a plot beside the file.

    \b
    A million items take an hour and 6 GB in build/bench, which keeps them: a stopped run goes on where it was.
    Example:
      python -m benchmarks scale --data ../data/amazon-three-domains --json build/bench/scale.json
    """
    from benchmarks.scale.growth_figures import scale_figures, write_plot
    from benchmarks.scale.scale import SIZES, measure_scale

    with prepared(data, load_settings()) as dataset:
        found = measure_scale(dataset, [size for size in SIZES if size <= items], say)
    _show("scale", scale_figures(found), json_)
    if json_ is not None:
        write_plot(found, json_.with_suffix(".svg"))


def _show(benchmark: str, figures: list[Figure], file: Path | None) -> None:
    report = make_report(benchmark, figures)
    print_report(report, Console(highlight=False))
    if file is not None:
        write_report(report, file)
