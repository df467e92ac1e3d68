"""`xdrec-eval online`. Reads the service's log, produces the comparison of its arms."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from eval.cli.context import AsJSON, show


def online(
    outcome: Annotated[
        list[str] | None,
        typer.Option(help="click, liked, conversion or 'nothing known'; decisive one first; default: all."),
    ] = None,
    since: Annotated[datetime | None, typer.Option(help="Earlier answers do not count; UTC.")] = None,
    effect: Annotated[float | None, typer.Option(min=1e-9, help="The difference that would matter.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write report.html, report.md and report.json here.")] = None,
    seed: Annotated[int, typer.Option(help="Of the bootstrap and the permutations.")] = 0,
    json_: AsJSON = False,
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
    with open_recommendation_log(settings, create=False) as answers:
        found = judge_log(
            answers, settings.service.arms, outcome or [], np.random.default_rng(seed), since=began, effect=effect
        )
    show(online_page(found), as_json=json_, out=out)
    if not found.shared_out:
        raise typer.Exit(1)
