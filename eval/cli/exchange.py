"""`xdrec-eval export` and `import-run`. Read prepared data, produce what another system needs, and the run it made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eval.cli.context import DataFolder, prepared, say
from eval.cli.run import SPLITS, print_summary


def export(
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new folder.")],
    data: DataFolder,
    task: Annotated[str, typer.Option(help="catalogue: the whole target; rerank: 20 given candidates.")] = "catalogue",
    split: Annotated[str, typer.Option(help=f"What is history and what truth: {SPLITS}.")] = "cold-target",
    candidates: Annotated[str, typer.Option(help="rerank: count-matched or retrieved.")] = "count-matched",
    users: Annotated[int, typer.Option(min=1, help="Users, by hash, as in run.")] = 1008,
    seed: Annotated[int, typer.Option(help="Of users and candidates.")] = 0,
) -> None:
    """Write what another system needs to take part in a comparison: training, items and questions, without answers.

    \b
    CSV and JSON lines; docs/baselines.md describes them.
    Example:
      xdrec-eval export build/export --data ../data
    """
    from eval.data import data_hash
    from eval.exchange.export import export as write
    from eval.runs import RunRequest
    from xdrec_agent.settings import load_settings

    request = RunRequest(out, "", task, "", candidates, users, seed, 1, split)
    with prepared(data, load_settings()) as dataset:
        made = write(request, dataset, data_hash(data), say)
    typer.echo(f"{out}: {made.cases:,} cases, five folds; domains {', '.join(made.domains)}")


def import_run(
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="The run's folder.")],
    rankings: Annotated[Path, typer.Option(help="The folder with the system's rankings.jsonl, one or many.")],
    export: Annotated[Path, typer.Option(help="The export that they answer.")],
    data: DataFolder,
    name: Annotated[str | None, typer.Option(help="What tables call it; default: the folder's name.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Check and measure another system's rankings; the result is a folder that is compared like one of ours.

    \b
    Example:
      xdrec-eval import-run runs/theirs --rankings build/theirs --export build/export --data ../data
      xdrec-eval ab runs/retriever runs/theirs --metric recall@100
    """
    from eval.data import data_hash
    from eval.exchange import ImportRequest, read_export
    from eval.exchange.import_run import import_run as measure
    from xdrec_agent.settings import load_settings

    given, digest = ImportRequest(out, name or out.name, export, rankings), data_hash(data)
    read_export(export, digest)  # before the data is prepared, which may take minutes
    with prepared(data, load_settings()) as dataset:
        summary = measure(given, dataset, digest, say)
    typer.echo(summary.model_dump_json(indent=2)) if json_ else print_summary(given.name, summary)
