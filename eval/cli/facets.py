"""`xdrec-eval facets`. Reads the configured store, produces two runs and whether generated facets help."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eval.cli.context import AsJSON, Assignments, say, show

if TYPE_CHECKING:
    from eval.runs import Comparison


def facets(
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the two runs go; a stopped comparison goes on.")],
    users: Annotated[int, typer.Option(min=10, help="Users, by hash, each with all their directions.")] = 1008,
    set_: Assignments = None,
    json_: AsJSON = False,
) -> None:
    """Do the facets of `xdrec enrich` help? Two indexes, without and with them, asked by the same people.

    Works on the configured home (XDREC_HOME). Afterwards `xdrec-eval ab FOLDER/plain FOLDER/facets` tells more.

    \b
    Examples:
      xdrec-eval facets runs/enriched
      xdrec-eval facets runs/enriched --users 300 --set retriever.popularity=0
    """
    import numpy as np

    from eval.cli.context import pulled_encoder
    from eval.report import ab_page
    from eval.runs import arm_settings, compare_runs
    from eval.studies import METRIC, Enriched, run_both
    from xdrec_agent.app import open_facets, open_store

    settings = arm_settings(set_ or [])
    with open_store(settings, create=False) as store, open_facets(settings) as kept:
        runs = run_both(Enriched(store, kept, pulled_encoder(settings), settings, users), out, say)
    found = compare_runs(runs, [METRIC], np.random.default_rng(0))
    show(ab_page(found), as_json=json_)
    say(_advice(found.comparisons[0]))


def _advice(decisive: Comparison) -> str:
    """What to set: facets only where they are shown to help."""
    found = decisive.difference
    low = found.mean if found.constant else found.low
    if low is not None and low > 0:
        return "facets help: encoder.facets = true, then xdrec index --rebuild"
    return "facets are not shown to help: leave encoder.facets = false"
