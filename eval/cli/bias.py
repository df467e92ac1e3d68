"""`xdrec-eval bias`. Reads shuffled lists and the model's rankings of them, produces a bias card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eval.cli.context import AsJSON, Assignments, Bench, DataFolder, with_model

if TYPE_CHECKING:
    from eval.bias_types import BiasCard


def bias(
    data: DataFolder,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Write bias_card.html, .md and .json here.")],
    users: Annotated[int, typer.Option(min=10, help="Users, one list each.")] = 40,
    shuffles: Annotated[int, typer.Option(min=2, help="Orders that each list is shown in.")] = 8,
    set_: Assignments = None,
    json_: AsJSON = False,
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
    from eval.choices import tasks

    async def card(bench: Bench) -> BiasCard:
        chosen = tasks(bench.dataset, users)
        counts = [task.counts.astype(float) for task in chosen]
        return await bias_card(bench.context, chosen, shuffles, bench.say, counts=counts)

    found = with_model(data, card, arm_settings(set_ or []))
    page = write_bias_card(found, out)
    typer.echo(found.model_dump_json(indent=2) if json_ else f"{sentence(found)}\n{page}")
