"""`xdrec-eval run`, `replay`, `export` and `import-run`. Read data and requests, produce runs of ours and of others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from eval.cli.context import prepared, say
from eval.cli.options import (
    Candidates,
    DataFolder,
    Repeats,
    RunFolderArgument,
    RunName,
    SampleSeed,
    Split,
    TaskName,
    Users,
)
from xdrec_agent.cli.context import print_json
from xdrec_agent.cli.options import Json

if TYPE_CHECKING:
    from eval.runs import Summary

HISTORIES: Final = "own, none, one, other or shuffled"
"""What an arm may be shown of a history."""
SYSTEMS: Final = (
    "retriever, random, popularity, unseen-first, mean-embedding, bm25, item-knn, matrix-factorisation or emcdr"
)


def run(
    out: RunFolderArgument,
    data: DataFolder,
    name: RunName = None,
    task: TaskName = "rerank",
    system: Annotated[str, typer.Option(help=f"catalogue: {SYSTEMS}.")] = "retriever",
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="SECTION.NAME=VALUE", help=f"A setting, or history=WHOSE, what is shown: {HISTORIES}."
        ),
    ] = None,
    split: Split = "cold-target",
    candidates: Candidates = "count-matched",
    users: Users = 1008,
    seed: SampleSeed = 0,
    repeats: Repeats = 1,
    json_: Json = False,
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
    from eval.runs import Protocol, RunRequest, arm_choice, make_run

    settings, history = arm_choice(set_ or [])
    protocol = Protocol.of_options(task, split, candidates, users, seed)
    request = RunRequest(out, name or out.name, protocol, system, repeats, history)
    with prepared(data, settings) as dataset:
        summary = make_run(request, dataset, settings, say)
    print_json(summary) if json_ else print_summary(request.name, summary)


def replay(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A finished run of a model.")],
    data: Annotated[Path, typer.Option(help="The data it was made with.")],
) -> None:
    """Make a run again from the response cache alone, and see that every number is the same.

    \b
    Example:
      xdrec-eval replay runs/lists --data ../data
    """
    from eval.runs import RunFolder, replay_run, settings_again

    old = RunFolder.open(folder)
    settings = settings_again(old.manifest)
    with prepared(data, settings) as dataset:
        cases = replay_run(old, dataset, settings, say)
    typer.echo(f"{folder}: {cases:,} cases, the same numbers without a server")


def export(
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new folder.")],
    data: DataFolder,
    task: TaskName = "catalogue",
    split: Split = "cold-target",
    candidates: Candidates = "count-matched",
    users: Users = 1008,
    seed: SampleSeed = 0,
) -> None:
    """Write what another system needs to take part in a comparison: training, items and questions, without answers.

    \b
    CSV and JSON lines; docs/explanation/baselines.md describes them.
    Example:
      xdrec-eval export build/export --data ../data
    """
    from eval import exchange
    from eval.runs import Protocol
    from xdrec_agent.settings import load_settings

    protocol = Protocol.of_options(task, split, candidates, users, seed)
    with prepared(data, load_settings()) as dataset:
        made = exchange.export(protocol, out, dataset, say)
    typer.echo(f"{out}: {made.cases:,} cases, five folds; domains {', '.join(made.domains)}")


def import_run(
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="The run's folder.")],
    rankings: Annotated[Path, typer.Option(help="The folder with the system's rankings.jsonl, one or many.")],
    export: Annotated[Path, typer.Option(help="The export that they answer.")],
    data: DataFolder,
    name: RunName = None,
    json_: Json = False,
) -> None:
    """Check and measure another system's rankings; the result is a folder that is compared like one of ours.

    \b
    Example:
      xdrec-eval import-run runs/theirs --rankings build/theirs --export build/export --data ../data
      xdrec-eval ab runs/retriever runs/theirs --metric recall@100
    """
    from eval import exchange
    from eval.data import data_hash
    from xdrec_agent.settings import load_settings

    exchange.read_export(export, data_hash(data))  # before the data is prepared, which may take minutes
    with prepared(data, load_settings()) as dataset:
        summary = exchange.import_run(out, name or out.name, export, rankings, dataset, say)
    print_json(summary) if json_ else print_summary(name or out.name, summary)


def print_summary(name: str, summary: Summary) -> None:
    """What a run came to, on stdout, beside what rules that know nobody's taste would get."""
    typer.echo(f"{name}: {summary.users:,} users, {summary.cases:,} cases")
    for metric, value in summary.metrics.items():
        known = ", ".join(
            f"{rule} {found[metric]:.4f}" for rule, found in summary.references.items() if metric in found
        )
        typer.echo(f"  {metric:22} {value:.4f}{known and f'  ({known})'}")
    if summary.coverage is not None:
        typer.echo(f"  {'coverage@10':22} {summary.coverage:.4f}")
    cost = f"{summary.requests:.1f} requests, {summary.tokens:.0f} tokens, {summary.seconds:.2f} s a case"
    typer.echo(f"  {cost}; degraded {summary.degraded:.1%}; {summary.cache_hits:.1f} replies from the cache")
