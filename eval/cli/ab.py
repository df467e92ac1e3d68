"""`xdrec-eval ab`. Reads runs, produces their paired comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eval.cli.context import AsJSON, show


def ab(
    folders: Annotated[list[Path], typer.Argument(metavar="A B …", help="Runs; the others are compared with A.")],
    metric: Annotated[list[str] | None, typer.Option(help="Decisive one first; default: all.")] = None,
    effect: Annotated[float | None, typer.Option(min=0, help="The difference that would matter.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write report.html, report.md and report.json here.")] = None,
    seed: Annotated[int, typer.Option(help="Of the bootstrap and the sign flips.")] = 0,
    json_: AsJSON = False,
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

    found = compare_runs([RunFolder.open(f) for f in folders], metric or [], np.random.default_rng(seed), effect)
    show(ab_page(found), as_json=json_, out=out)
