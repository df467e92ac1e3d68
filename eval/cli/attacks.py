"""`xdrec-eval attacks`. Reads lists of real users and hostile texts, produces what the texts gain from a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from eval.cli.context import AsJSON, Assignments, Bench, DataFolder, Judges, judges_of, with_model

if TYPE_CHECKING:
    from eval.studies import AttackReport


def attacks(
    data: DataFolder,
    users: Annotated[int, typer.Option(min=2, help="Users, one list of 20 each, attacked by every text.")] = 4,
    judge: Judges = None,
    set_: Assignments = None,
    json_: AsJSON = False,
) -> None:
    """How many places an item gains by a hostile text: orders to the model, fake turns, label spoofing, Unicode tricks.

    \b
    Each list is judged as it is, with the hostile text in an item that is not the liked one, and with as many harmless
    words in its place. Replies are kept: a stopped run goes on where it was.
    Examples:
      xdrec-eval attacks --data ../data
      xdrec-eval attacks --data ../data --users 20 --judge pointwise-logprob --json
      xdrec-eval attacks --data ../data --set rerank.template=mine.jinja --judge listwise-logprob
    """
    from eval.data import rerank_tasks
    from eval.runs import arm_settings
    from eval.studies import attack_report, print_attacks

    chosen = judges_of(judge)

    async def report(bench: Bench) -> AttackReport:
        return await attack_report(bench.context, chosen, rerank_tasks(bench.dataset, users), bench.say)

    found = with_model(data, report, arm_settings(set_ or []))
    typer.echo(found.model_dump_json(indent=2)) if json_ else print_attacks(found, Console(highlight=False))
