"""`xdrec-eval validity`. Reads runs, produces how often comparisons of them would be wrong if nothing differed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eval.cli.context import AsJSON, say, show


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
    out: Annotated[Path | None, typer.Option(help="Write report.html, report.md and report.json here.")] = None,
    json_: AsJSON = False,
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
    found = simulate_runs(runs, metric or [], seed, say, comparisons=comparisons, users=users, batch=batch)
    show(validity_page(found), as_json=json_, out=out)
    if not found.holds:
        raise typer.Exit(1)
