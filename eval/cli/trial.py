"""`xdrec-eval trial`. Reads two arms, produces their runs and a verdict as soon as it is clear."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eval.cli.context import AsJSON, DataFolder, say, show
from retrieval.errors import UsageError


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
    split: Annotated[str, typer.Option(help="cold-target, leave-last-out or temporal.")] = "cold-target",
    candidates: Annotated[str, typer.Option(help="count-matched or retrieved.")] = "count-matched",
    users: Annotated[int, typer.Option(min=1, help="At most so many users.")] = 1008,
    seed: Annotated[int, typer.Option(help="Of users and candidates.")] = 0,
    repeats: Annotated[int, typer.Option(min=1, help="Seeds of shuffles to average over.")] = 1,
    json_: AsJSON = False,
) -> None:
    """Run two arms against each other and stop as soon as it is clear; looking after every batch is allowed.

    \b
    The folder gets report.html, .svg, .md and .json, and the run of each arm.
    Examples:
      xdrec-eval trial runs/t --data ../data --arm a:rerank.strategy=identity --arm b:rerank.strategy=listwise-logprob
      xdrec-eval trial runs/t --data ../data --arm long: --arm short:rerank.template=short.jinja --max-requests 500
    """
    from eval.report import trial_page
    from eval.runs import TrialRequest, arm_settings, make_trial
    from eval.stats import StoppingRule

    if len(arm) != 2:
        raise UsageError(f"{len(arm)} arms", hint="--arm A:… --arm B:…")
    a, b = ((name, arm_settings(told.split(",") if told else [])) for name, _, told in (x.partition(":") for x in arm))
    rule = StoppingRule(margin=margin, max_requests=max_requests)
    request = TrialRequest(out, (a, b), metric, rule, batch, candidates, users, seed, repeats, split)
    found = make_trial(request, data, say)
    page = trial_page(found)
    show(page, as_json=json_, out=out)
