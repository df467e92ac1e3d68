"""`xdrec-eval bias`. Reads shuffled lists and the model's rankings of them, produces a bias card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eval.cli.context import AsJSON, Assignments, Bench, DataFolder, with_model
from retrieval.errors import UsageError

if TYPE_CHECKING:
    from eval.data import CandidateKind
    from eval.studies import BiasCard


def bias(
    data: DataFolder,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Write report.html, report.md and report.json here.")],
    users: Annotated[int, typer.Option(min=10, help="Users, one list each.")] = 40,
    shuffles: Annotated[int, typer.Option(min=2, help="Orders that each list is shown in.")] = 8,
    candidates: Annotated[
        str, typer.Option(help="count-matched, where popularity is out of the game, or retrieved.")
    ] = "count-matched",
    set_: Assignments = None,
    json_: AsJSON = False,
) -> None:
    """What the running model's ranking leans on besides the items: place, popularity, titles; one page.

    \b
    Examples:
      xdrec-eval bias --data ../data --out cards/small
      xdrec-eval bias --data ../data --out cards/mine --set rerank.template=mine.jinja --users 100
      xdrec-eval bias --data ../data --out cards/popular --candidates retrieved
    """
    from eval.data import rerank_tasks
    from eval.report import bias_page, write_page
    from eval.runs import arm_settings
    from eval.studies import bias_card, title_familiarity

    kind = _kind(candidates)

    async def card(bench: Bench) -> BiasCard:
        chosen = rerank_tasks(bench.dataset, users, kind=kind)
        counts = [task.counts.astype(float) for task in chosen]
        shown = [[candidate.item for candidate in task.ranking.candidates] for task in chosen]
        known = await title_familiarity(bench.context.model, shown, bench.say)
        # Among count-matched candidates popularity tells no title from another.
        fallback = counts if kind == "retrieved" else None
        return await bias_card(
            bench.context,
            chosen,
            shuffles,
            bench.say,
            counts=counts,
            familiarity=fallback if known is None else known,
            familiarity_by="popularity" if known is None else "log-probability",
        )

    found = with_model(data, card, arm_settings(set_ or []))
    page = bias_page(found)
    written = write_page(page, out)
    typer.echo(page.json if json_ else f"{page.verdict}\n{written}")


def _kind(given: str) -> CandidateKind:
    if given == "count-matched":
        return "count-matched"
    if given == "retrieved":
        return "retrieved"
    raise UsageError(f"--candidates {given!r} is not known", hint="one of: count-matched, retrieved")
