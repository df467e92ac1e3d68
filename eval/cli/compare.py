"""`xdrec-eval ab`, `trial`, `online` and `validity`. Read runs, arms or the service's log, produce verdicts."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from eval.cli.context import prepared, say, show
from eval.cli.options import (
    Candidates,
    DataFolder,
    RelevantEffect,
    Repeats,
    ReportFolder,
    SampleSeed,
    Split,
    StatisticsSeed,
)
from retrieval.errors import UsageError
from xdrec_agent.cli.options import Json


def ab(
    folders: Annotated[list[Path], typer.Argument(metavar="A B …", help="Runs; the others are compared with A.")],
    metric: Annotated[list[str] | None, typer.Option(help="Decisive one first; default: all.")] = None,
    effect: RelevantEffect = None,
    out: ReportFolder = None,
    seed: StatisticsSeed = 0,
    json_: Json = False,
) -> None:
    """Is B better than A for these users, by how much, at what cost? Paired, with users as clusters.

    \b
    Examples:
      xdrec-eval ab runs/a runs/b --metric ndcg@10
      xdrec-eval ab runs/a runs/b runs/c --metric ndcg@10 --effect .01 --out report
    """
    import numpy as np

    from eval.report import ab_page
    from eval.runs import RunFolder, compare_runs

    runs = [RunFolder.open(folder) for folder in folders]
    show(ab_page(compare_runs(runs, metric or [], np.random.default_rng(seed), effect)), as_json=json_, out=out)


def trial(
    out: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="For the runs and the report; a stopped trial goes on.")
    ],
    data: DataFolder,
    arm: Annotated[list[str], typer.Option(metavar="NAME:SETTING,…", help="Twice: A, then B.")],
    margin: Annotated[float, typer.Option(min=1e-6, help="The largest difference that does not matter.")] = 0.02,
    metric: Annotated[str, typer.Option(help="A metric in [0, 1].")] = "ndcg@10",
    batch: Annotated[int, typer.Option(min=1, help="Users between two looks.")] = 25,
    max_requests: Annotated[
        int | None, typer.Option(min=1, help="Limit of LLM requests, from the second batch on.")
    ] = None,
    split: Split = "cold-target",
    candidates: Candidates = "count-matched",
    users: Annotated[int, typer.Option(min=1, help="At most so many users.")] = 1008,
    seed: SampleSeed = 0,
    repeats: Repeats = 1,
    json_: Json = False,
) -> None:
    """Run two arms against each other and stop as soon as it is clear; looking after every batch is allowed.

    \b
    The folder gets report.html, .svg, .md and .json, and the run of each arm.
    Examples:
      xdrec-eval trial runs/t --data ../data --arm a:rerank.strategy=identity --arm b:rerank.strategy=listwise-logprob
      xdrec-eval trial runs/t --data ../data --arm long: --arm short:rerank.template=short.jinja --max-requests 500
    """
    from eval.report import trial_page
    from eval.runs import Protocol, RunRequest, arm_settings, make_trial, measured
    from eval.stats import StoppingRule

    if len(arm) != 2:
        raise UsageError(f"{len(arm)} arms", hint="--arm A:… --arm B:…")
    parts = [text.partition(":") for text in arm]
    arms = {name: measured(arm_settings(given.split(",") if given else [])) for name, _, given in parts}
    if len(arms) != 2:
        raise UsageError(f"both arms are called {parts[0][0]!r}", hint="--arm A:… --arm B:…")
    protocol = Protocol.of_options("rerank", split, candidates, users, seed)
    request = RunRequest(out, "", protocol, repeats=repeats)
    rule = StoppingRule(margin=margin, max_requests=max_requests)
    with prepared(data, next(iter(arms.values()))) as dataset:
        result = make_trial(request, arms, rule, dataset, say, metric=metric, batch=batch)
    show(trial_page(result), as_json=json_, out=out)


def online(
    outcome: Annotated[
        list[str] | None,
        typer.Option(help="click, liked, conversion or 'nothing known'; decisive one first; default: all."),
    ] = None,
    since: Annotated[datetime | None, typer.Option(help="Earlier answers do not count; UTC.")] = None,
    effect: RelevantEffect = None,
    out: ReportFolder = None,
    seed: StatisticsSeed = 0,
    json_: Json = False,
) -> None:
    """Which arm of the running service does better? From the log of answers and of what people did with them.

    \b
    The arms are those of [[service.arms]]; the first is what the others are compared with. Exit code 1: the numbers of
    users do not fit the shares of the arms, so there is no verdict.
    Examples:
      xdrec-eval online
      xdrec-eval online --outcome liked --outcome click --since 2026-11-01 --effect .02 --out report
    """
    from datetime import UTC

    import numpy as np

    from eval.report import online_page
    from eval.studies import judge_log
    from xdrec_agent.app import open_recommendation_log
    from xdrec_agent.settings import load_settings

    settings = load_settings()
    began = int(since.replace(tzinfo=UTC).timestamp()) if since else 0
    with open_recommendation_log(settings, create=False) as log:
        result = judge_log(
            log, settings.service.arms, outcome or [], np.random.default_rng(seed), since=began, effect=effect
        )
    show(online_page(result), as_json=json_, out=out)
    if not result.shared_out:
        raise typer.Exit(1)


def validity(
    folders: Annotated[
        list[Path], typer.Argument(metavar="RUN RUN …", help="Runs over the same cases: each user's replicates.")
    ],
    metric: Annotated[
        list[str] | None, typer.Option(help="In [0, 1]; several are simulated one by one; default: the first.")
    ] = None,
    comparisons: Annotated[int, typer.Option(min=1, help="How many are simulated.")] = 2_000,
    users: Annotated[int | None, typer.Option(min=10, help="In each; default: as many as the runs have.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Users between two looks of the sequential comparison.")] = 25,
    seed: Annotated[int, typer.Option(help="Of the simulation.")] = 0,
    out: ReportFolder = None,
    json_: Json = False,
) -> None:
    """Is a 5% test a 5% test on these users? Simulated comparisons without a difference, on the runs' real scores.

    \b
    Exit code 1: a bound is missed. 2,000 comparisons of 1,000 users take a quarter of an hour on one core.
    Examples:
      xdrec-eval validity runs/a runs/b
      xdrec-eval validity runs/seed0 runs/seed1 runs/seed2 --metric ndcg@10 --metric mrr --out report
    """
    from eval.report import validity_page
    from eval.runs import RunFolder
    from eval.studies import simulate_runs

    runs = [RunFolder.open(folder) for folder in folders]
    result = simulate_runs(runs, metric or [], seed, say, comparisons=comparisons, users=users, batch=batch)
    show(validity_page(result), as_json=json_, out=out)
    if not result.holds:
        raise typer.Exit(1)
