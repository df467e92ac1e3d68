"""The command line `xdrec-eval`. Reads arguments, runs benchmarks, prints their reports."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer
from rich.console import Console

from retrieval.errors import UsageError, XDRecError
from xdrec_agent.cli.context import diagnostics
from xdrec_agent.cli.errors import report as report_error

if TYPE_CHECKING:
    from eval.datasets import Dataset
    from eval.run_folder import Summary
    from xdrec_agent.rerank import RerankContext
    from xdrec_agent.settings import Settings

T = TypeVar("T")
_SYSTEMS: Final = (
    "retriever, random, popularity, unseen-first, mean-embedding, bm25, item-knn, matrix-factorisation or emcdr"
)

app = typer.Typer(
    name="xdrec-eval",
    help="Measure recommendations.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def run(
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="The run's folder; a stopped run goes on.")],
    data: Annotated[Path, typer.Option(help="The folder amazon-three-domains, or the one it lies in.")],
    name: Annotated[str | None, typer.Option(help="What tables call it; default: the folder's name.")] = None,
    task: Annotated[str, typer.Option(help="rerank: 20 given candidates; catalogue: the whole target.")] = "rerank",
    system: Annotated[str, typer.Option(help=f"catalogue: {_SYSTEMS}.")] = "retriever",
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="SECTION.NAME=VALUE", help="A setting.")] = None,
    candidates: Annotated[str, typer.Option(help="rerank: count-matched or retrieved.")] = "count-matched",
    users: Annotated[int, typer.Option(min=1, help="Users, by hash; catalogue: all their directions.")] = 1008,
    seed: Annotated[int, typer.Option(help="Of users and candidates.")] = 0,
    repeats: Annotated[int, typer.Option(min=1, help="rerank: seeds of shuffles to average over.")] = 1,
    json_: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Measure one system on people whose target history is hidden; the result is a folder to compare and replay.

    \b
    Examples:
      xdrec-eval run runs/lists --data ../data --set rerank.strategy=listwise-logprob
      xdrec-eval run runs/mine --data ../data --set rerank.template=my.jinja --set rerank.strategy=listwise-logprob
      xdrec-eval run runs/retriever --data ../data --task catalogue
      xdrec-eval run runs/popular --data ../data --task catalogue --system popularity
    """
    from eval.arms import arm_settings
    from eval.running import RunRequest, make_run

    settings = arm_settings(set_ or [])
    request = RunRequest(out, name or out.name, task, system, candidates, users, seed, repeats)
    summary = make_run(request, data, settings, _say)
    typer.echo(summary.model_dump_json(indent=2)) if json_ else _print_summary(request.name, summary)


@app.command()
def replay(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A finished run of a model.")],
    data: Annotated[Path, typer.Option(help="The data it was made with.")],
) -> None:
    """Make a run again from the response cache alone, and see that every number is the same.

    \b
    Example:
      xdrec-eval replay runs/lists --data ../data
    """
    from eval.running import replayed

    cases = replayed(folder, data, _say)
    typer.echo(f"{folder}: {cases:,} cases, the same numbers without a server")


@app.command()
def ab(
    folders: Annotated[list[Path], typer.Argument(metavar="A B …", help="Runs; the others are compared with A.")],
    metric: Annotated[list[str] | None, typer.Option(help="Decisive one first; default: all.")] = None,
    effect: Annotated[float | None, typer.Option(min=0, help="The difference that would matter.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write report.html, report.md and report.json here.")] = None,
    seed: Annotated[int, typer.Option(help="Of the bootstrap and the sign flips.")] = 0,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Is B better than A for these users, by how much, at what cost? Paired, with users as clusters.

    \b
    Examples:
      xdrec-eval ab runs/a runs/b --metric ndcg@10
      xdrec-eval ab runs/a runs/b runs/c --metric ndcg@10 --effect .01 --out report
    """
    import numpy as np

    from eval.ab import compare_runs
    from eval.report import print_ab, write_report
    from eval.run_folder import RunFolder

    found = compare_runs([RunFolder.open(f) for f in folders], metric or [], np.random.default_rng(seed), effect)
    if out is not None:
        write_report(found, out)
    if json_:
        typer.echo(found.model_dump_json(indent=2))
    else:
        print_ab(found, Console(highlight=False))


@app.command()
def trial(
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="Parent of the two runs; a stopped trial goes on.")],
    data: Annotated[Path, typer.Option(help="The folder amazon-three-domains, or the one it lies in.")],
    arm: Annotated[list[str], typer.Option(metavar="NAME:SETTING,…", help="Twice: A, then B.")],
    margin: Annotated[float, typer.Option(min=1e-6, help="The largest difference that does not matter.")] = 0.02,
    metric: Annotated[str, typer.Option(help="A metric in [0, 1].")] = "ndcg@10",
    batch: Annotated[int, typer.Option(min=1, help="Users between two looks.")] = 25,
    max_requests: Annotated[
        int | None, typer.Option(min=1, help="Limit of LLM requests, from the second batch on.")
    ] = None,
    candidates: Annotated[str, typer.Option(help="count-matched or retrieved.")] = "count-matched",
    users: Annotated[int, typer.Option(min=1, help="At most so many users.")] = 1008,
    seed: Annotated[int, typer.Option(help="Of users and candidates.")] = 0,
    repeats: Annotated[int, typer.Option(min=1, help="Seeds of shuffles to average over.")] = 1,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Run two arms against each other and stop as soon as it is clear; looking after every batch is allowed.

    \b
    Example:
      xdrec-eval trial runs/t --data ../data --arm a:rerank.strategy=identity --arm b:rerank.strategy=listwise-logprob
    """
    from eval.arms import arm_settings
    from eval.running import TrialRequest, make_trial
    from eval.sequential import StoppingRule

    if len(arm) != 2:
        raise UsageError(f"{len(arm)} arms", hint="--arm A:… --arm B:…")
    a, b = ((name, arm_settings(told.split(",") if told else [])) for name, _, told in (x.partition(":") for x in arm))
    rule = StoppingRule(margin=margin, max_requests=max_requests)
    request = TrialRequest(out, (a, b), metric, rule, batch, candidates, users, seed, repeats)
    found = make_trial(request, data, _say)
    typer.echo(found.model_dump_json(indent=2) if json_ else found.verdict)


@app.command()
def chat(
    pack: Annotated[Path, typer.Option(help="The pack that the dialogues speak of.")] = Path("examples/films-books"),
    model: Annotated[bool, typer.Option("--model", help="Also with the configured model.")] = False,
    failures: Annotated[bool, typer.Option("--failures", help="Show the turns that were read wrongly.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """How often a dialogue's state is right after a turn, by kind of turn: the rules alone, and with a model.

    \b
    Examples:
      xdrec-eval chat
      xdrec-eval chat --model --failures
    """
    import asyncio

    from eval.dialogue_report import measured, print_dialogues
    from xdrec_agent.cli.context import settings

    found = asyncio.run(measured(pack, settings() if model else None))
    if json_:
        typer.echo(json.dumps([one.model_dump() for one in found], ensure_ascii=False, indent=2))
    else:
        print_dialogues(found, Console(highlight=False), failures=failures)


@app.command()
def bias(
    data: Annotated[Path, typer.Option(help="The folder amazon-three-domains, or the one it lies in.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Write bias_card.html, .md and .json here.")],
    users: Annotated[int, typer.Option(min=10, help="Users, one list each.")] = 40,
    shuffles: Annotated[int, typer.Option(min=2, help="Orders that each list is shown in.")] = 8,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="SECTION.NAME=VALUE", help="A setting.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """What the running model's ranking leans on besides the items: place, popularity, length of titles; one page.

    \b
    Examples:
      xdrec-eval bias --data ../data --out cards/small
      xdrec-eval bias --data ../data --out cards/mine --set rerank.template=mine.jinja --users 100
    """
    from eval.arms import arm_settings
    from eval.bias import bias_card
    from eval.bias_card import sentence, write_bias_card
    from eval.bias_types import BiasCard
    from eval.choices import tasks

    async def card(bench: _Bench) -> BiasCard:
        chosen = tasks(bench.dataset, users)
        counts = [task.counts.astype(float) for task in chosen]
        return await bias_card(bench.context, chosen, shuffles, bench.say, counts=counts)

    found = _with_model(data, card, arm_settings(set_ or []))
    page = write_bias_card(found, out)
    typer.echo(found.model_dump_json(indent=2) if json_ else f"{sentence(found)}\n{page}")


@app.command()
def explain(
    source: Annotated[str, typer.Option("--from", metavar="DOMAIN", help="Source domain.")] = "films",
    target: Annotated[str, typer.Option("--to", metavar="DOMAIN", help="Target domain.")] = "books",
    count: Annotated[int, typer.Option(min=1, help="At least so many explanations.")] = 200,
    k: Annotated[int, typer.Option("-k", min=1, max=50, help="Recommendations a person.")] = 3,
    lang: Annotated[str | None, typer.Option(metavar="CODE", help="Language of the reasons: en or zh.")] = None,
    style: Annotated[str | None, typer.Option(help="Of the reasons: short, detailed or playful.")] = None,
    seed: Annotated[int, typer.Option(help="Of the sets of likes.")] = 0,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the explanations here, as JSONL.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="SECTION.NAME=VALUE", help="A setting.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """How explanations fare: claims supported, where they come from, how alike they are, language, time.

    \b
    With the configured model, with its kept replies (llm.cache=only), or without a server: from the facts alone.
    Examples:
      xdrec demo examples/films-books && xdrec-eval explain
      xdrec-eval explain --lang zh --out build/explanations-zh.jsonl
      xdrec-eval explain --set explain.freedom=pattern --json
    """
    import asyncio

    from eval.arms import arm_settings
    from eval.explanation_report import measured, print_explanations

    chosen = {"explain.language": lang, "explain.style": style}
    given = [f"{name}={value}" for name, value in chosen.items() if value is not None]
    found = asyncio.run(measured(arm_settings([*(set_ or []), *given]), source, target, count, k, seed, out, _say))
    if json_:
        typer.echo(found.model_dump_json(indent=2))
    else:
        print_explanations(found, Console(highlight=False))


def _say(line: str) -> None:
    diagnostics().print(line, style="dim", markup=False)


def _print_summary(name: str, summary: Summary) -> None:
    typer.echo(f"{name}: {summary.users:,} users, {summary.cases:,} cases")
    for metric, value in summary.metrics.items():
        typer.echo(f"  {metric:22} {value:.4f}")
    cost = f"{summary.requests:.1f} requests, {summary.tokens:.0f} tokens, {summary.seconds:.2f} s a case"
    typer.echo(f"  {cost}; degraded {summary.degraded:.1%}; {summary.cache_hits:.1f} replies from the cache")


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

    settings = load_settings()
    models.pull(settings.encoder.model, settings.models_dir, offline=settings.offline)
    found = bench_retrieval(data, open_encoder(settings), _say)
    print_report(found, Console(highlight=False))
    if json_ is not None:
        write_report(found, json_)


@bench.command("rerank")
def bench_rerank_(
    data: Annotated[Path, typer.Option(help="The folder amazon-three-domains, or the one it lies in.")],
    users: Annotated[int, typer.Option(min=20, help="For quality, one case each.")] = 1008,
    latency: Annotated[int, typer.Option(min=2, help="For the latency of one user.")] = 12,
    saturation: Annotated[int, typer.Option(min=2, help="For the throughput at saturation.")] = 48,
    shuffles: Annotated[int, typer.Option(min=0, help="For the stopping rule; 0: leave it out.")] = 24,
    json_: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the report here, too.")] = None,
) -> None:
    """Quality and cost of every reranking strategy with the running model.

    \b
    Replies of the quality part are kept: a stopped run goes on where it was.
    Example:
      xdrec-eval bench rerank --data ../data/amazon-three-domains --users 1008 --json build/bench/rerank.json
    """
    from eval.bench_report import Figure, make_report, print_report, write_report
    from eval.bench_rerank import Sizes, bench_rerank
    from eval.choices import tasks

    sizes = Sizes(users, latency, saturation, shuffles)

    async def run(bench: _Bench) -> list[Figure]:
        chosen = tasks(bench.dataset, max(users, 4 * (latency + saturation)))
        return await bench_rerank(bench.context, bench.settings.llm, chosen, sizes, bench.say)

    found = make_report("rerank", _with_model(data, run))
    print_report(found, Console(highlight=False))
    if json_ is not None:
        write_report(found, json_)


@bench.command("service")
def bench_service_(
    data: Annotated[Path, typer.Option(help="The folder amazon-three-domains, or the one it lies in.")],
    minutes: Annotated[
        float, typer.Option(min=0.1, help="At 40 recommendations a second, for latency and memory.")
    ] = 10,
    json_: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the report here, too.")] = None,
) -> None:
    """Latency, memory and behaviour beyond saturation of a real `xdrec serve`, under open-loop load, without a model.

    \b
    Example:
      xdrec-eval bench service --data ../data/amazon-three-domains --json build/bench/service.json
    """
    from eval.bench_report import make_report, print_report, write_report
    from eval.bench_service import measure_service
    from eval.datasets import open_dataset
    from retrieval.templates import load_template
    from xdrec_agent import models
    from xdrec_agent.assembly import open_encoder
    from xdrec_agent.settings import load_settings

    settings = load_settings()
    models.pull(settings.encoder.model, settings.models_dir, offline=settings.offline)
    with open_dataset(data, open_encoder(settings), load_template("item"), _say) as dataset:
        found = make_report("service", measure_service(dataset, settings.models_dir, minutes, _say))
    print_report(found, Console(highlight=False))
    if json_ is not None:
        write_report(found, json_)


@bench.command("replicas")
def bench_replicas_(
    latency: Annotated[float, typer.Option(min=0.01, help="Seconds that a simulated server takes.")] = 0.5,
    at_once: Annotated[int, typer.Option(min=1, help="Requests that it works for at a time.")] = 4,
    rounds: Annotated[int, typer.Option(min=1, help="How often each of these places is filled.")] = 40,
    json_: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the report here, too.")] = None,
) -> None:
    """Throughput of 1, 2 and 4 servers of one model behind one client; the servers are simulated.

    \b
    Example:
      xdrec-eval bench replicas --json build/bench/replicas.json
    """
    import asyncio

    from eval.bench_replicas import Load, bench_replicas
    from eval.bench_report import make_report, print_report, write_report

    found = make_report("replicas", asyncio.run(bench_replicas(Load(latency, at_once, rounds), _say)))
    print_report(found, Console(highlight=False))
    if json_ is not None:
        write_report(found, json_)


@dataclass(frozen=True)
class _Bench:
    """What a measurement with a model needs."""

    settings: Settings
    dataset: Dataset
    context: RerankContext
    say: Callable[[str], None]


def _with_model(data: Path, run: Callable[[_Bench], Coroutine[Any, Any, T]], settings: Settings | None = None) -> T:
    """Run with the prepared data and a client of the running model."""
    import asyncio

    from eval.datasets import open_dataset
    from eval.judging import patient
    from retrieval.templates import load_template
    from xdrec_agent import models
    from xdrec_agent.assembly import load_templates, open_client, open_encoder
    from xdrec_agent.rerank import RerankContext
    from xdrec_agent.settings import load_settings

    settings = patient(settings or load_settings())
    models.pull(settings.encoder.model, settings.models_dir, offline=settings.offline)

    async def run_all() -> T:
        with open_dataset(data, open_encoder(settings), load_template("item"), _say) as dataset:
            async with open_client(settings) as client:
                context = RerankContext(settings.rerank, load_templates(settings), client)
                return await run(_Bench(settings, dataset, context, _say))

    return asyncio.run(run_all())


fit = typer.Typer(help="What is fitted on validation users and shipped.", no_args_is_help=True)
app.add_typer(fit, name="fit")


@fit.callback()
def _fit() -> None:
    """What is fitted on validation users and shipped."""


@fit.command()
def rerank(
    data: Annotated[Path, typer.Option(help="The folder amazon-three-domains, or the one it lies in.")],
    users: Annotated[int, typer.Option(min=20, help="Validation users, one case each.")] = 800,
    write: Annotated[bool, typer.Option("--write", help="Put the fits into xdrec_agent/fitted.json.")] = False,
) -> None:
    """Fit what the running model's judgements are worth: weight in `hybrid`, position bias, confidence.

    \b
    Replies are kept: a stopped run goes on where it was, and `bench rerank` asks for the same ones.
    Example:
      xdrec-eval fit rerank --data ../data/amazon-three-domains --users 800 --write
    """
    from eval.fit_rerank import fit_all
    from xdrec_agent.fitted import RerankFit, save_fits

    async def run(bench: _Bench) -> tuple[RerankFit, ...]:
        return await fit_all(bench.context, bench.dataset, users, f"xdrec-eval fit rerank --users {users}", bench.say)

    found = _with_model(data, run)
    typer.echo(json.dumps([one.model_dump() for one in found], indent=2))
    if write:
        save_fits(found)


@fit.command()
def fusion(
    data: Annotated[Path, typer.Option(help="The folder amazon-three-domains, or the one it lies in.")],
    write: Annotated[bool, typer.Option("--write", help="Put the weights into retrieval/fitted_fusion.json.")] = False,
) -> None:
    """Fit how much each source of the retriever has to say. Needs no language model; minutes.

    \b
    Example:
      xdrec-eval fit fusion --data ../data/amazon-three-domains --write
    """
    import numpy as np

    from eval.datasets import data_hash, open_dataset
    from eval.fit_fusion import fit_shipped
    from retrieval.fusion import save_fusion
    from retrieval.templates import load_template
    from xdrec_agent import models
    from xdrec_agent.assembly import open_encoder
    from xdrec_agent.settings import load_settings

    settings = load_settings()
    models.pull(settings.encoder.model, settings.models_dir, offline=settings.offline)
    with open_dataset(data, open_encoder(settings), load_template("item"), _say) as dataset:
        found = fit_shipped(dataset, "xdrec-eval fit fusion", data_hash(data), np.random.default_rng(0), _say)
    typer.echo(found.model_dump_json(indent=2))
    if write:
        save_fusion(found)


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
