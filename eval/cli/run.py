"""`xdrec-eval run` and `replay`. Read a run's request or folder, produce a run's folder and its summary."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from eval.cli.context import DataFolder, say

if TYPE_CHECKING:
    from eval.runs import Summary

SPLITS: Final = "cold-target, leave-last-out or temporal"
"""How a user's interactions are parted."""
HISTORIES: Final = "own, none, one, other or shuffled"
"""What an arm may be shown of a history."""
SYSTEMS: Final = (
    "retriever, random, popularity, unseen-first, mean-embedding, bm25, item-knn, matrix-factorisation or emcdr"
)


def run(
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="The run's folder; a stopped run goes on.")],
    data: DataFolder,
    name: Annotated[str | None, typer.Option(help="What tables call it; default: the folder's name.")] = None,
    task: Annotated[str, typer.Option(help="rerank: 20 given candidates; catalogue: the whole target.")] = "rerank",
    system: Annotated[str, typer.Option(help=f"catalogue: {SYSTEMS}.")] = "retriever",
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="SECTION.NAME=VALUE", help=f"A setting, or history=WHOSE, what is shown: {HISTORIES}."
        ),
    ] = None,
    split: Annotated[str, typer.Option(help=f"What is history and what truth: {SPLITS}.")] = "cold-target",
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
      xdrec-eval run runs/later --data ../data --task catalogue --split temporal
      xdrec-eval run runs/strangers --data ../data --task catalogue --set history=other
    """
    from eval.runs import RunRequest, arm_choice, make_run

    arm = arm_choice(set_ or [])
    request = RunRequest(
        out, name or out.name, task, system, candidates, users, seed, repeats, split=split, history=arm.history
    )
    summary = make_run(request, data, arm.settings, say)
    typer.echo(summary.model_dump_json(indent=2)) if json_ else print_summary(request.name, summary)


def replay(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A finished run of a model.")],
    data: Annotated[Path, typer.Option(help="The data it was made with.")],
) -> None:
    """Make a run again from the response cache alone, and see that every number is the same.

    \b
    Example:
      xdrec-eval replay runs/lists --data ../data
    """
    from eval.runs import replay_run

    cases = replay_run(folder, data, say)
    typer.echo(f"{folder}: {cases:,} cases, the same numbers without a server")


def print_summary(name: str, summary: Summary) -> None:
    """What a run came to, on stdout, beside what rules that know nobody's taste would get."""
    typer.echo(f"{name}: {summary.users:,} users, {summary.cases:,} cases")
    for metric, value in summary.metrics.items():
        known = ", ".join(f"{rule} {found[metric]:.4f}" for rule, found in summary.beside.items() if metric in found)
        typer.echo(f"  {metric:22} {value:.4f}{known and f'  ({known})'}")
    if summary.coverage is not None:
        typer.echo(f"  {'coverage@10':22} {summary.coverage:.4f}")
    cost = f"{summary.requests:.1f} requests, {summary.tokens:.0f} tokens, {summary.seconds:.2f} s a case"
    typer.echo(f"  {cost}; degraded {summary.degraded:.1%}; {summary.cache_hits:.1f} replies from the cache")
