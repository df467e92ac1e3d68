"""`xdrec-eval labels`. Reads explanations that people labelled claim by claim, produces how much nothing bears out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from eval.cli.context import AsJSON, say

if TYPE_CHECKING:
    from eval.studies import Agreement, LabelReport


def labels(
    folder: Annotated[
        Path | None, typer.Argument(metavar="FOLDER", help="Sheet and labels; without it those in the repository.")
    ] = None,
    make: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Add what `explain --out` wrote there to FOLDER's sheet, and stop."),
    ] = None,
    model: Annotated[str, typer.Option(help="Who wrote what --make adds.")] = "",
    json_: AsJSON = False,
) -> None:
    """How much of what explanations say nothing bears out, by people who labelled them without seeing the check.

    \b
    How to label: eval/studies/labels/README.md. Examples:
      xdrec-eval labels
      xdrec-eval explain --out build/reasons.jsonl
      xdrec-eval labels build/labels --make build/reasons.jsonl --model smollm2-135m-instruct
      xdrec-eval labels build/labels --json
    """
    from eval.studies import (
        FOLDER,
        SHEET,
        agreements,
        label_report,
        read_explained,
        read_labels,
        read_sheet,
        write_sheet,
    )
    from retrieval.errors import UsageError

    where = folder or FOLDER
    if make is not None:
        if folder is None or not model:
            hint = f"xdrec-eval labels build/labels --make {make} --model NAME"
            raise UsageError("--make needs a folder and --model", hint=hint)
        say(f"{write_sheet(read_explained(make), model, folder)} explanations in {folder / SHEET}")
        return
    sheet = read_sheet(where)
    reports = [label_report(name, sheet, found) for name, found in read_labels(where).items()]
    agreed = agreements(reports)
    if json_:
        import json

        labellers, agreement = ([one.model_dump() for one in some] for some in (reports, agreed))
        typer.echo(json.dumps({"labellers": labellers, "agreement": agreement}, indent=2))
    else:
        _print(reports, agreed, Console(highlight=False))


def _print(reports: list[LabelReport], agreed: list[Agreement], console: Console) -> None:
    from rich.table import Table

    table = Table(
        "labeller", "explanations", "claims", "unsupported", "explanations with any", "plot, mood or praise", box=None
    )
    for one in reports:
        shares = [
            f"{v:.2%} [{low:.2%}, {high:.2%}]"
            for v, low, high in (one.unsupported, one.explanations_unsupported, one.statements)
        ]
        table.add_row(one.labeller, str(one.explanations), str(one.claims), *shares)
    console.print(table)
    for two in agreed:
        kappa = "" if two.kappa is None else f", kappa {two.kappa:.2f}"
        console.print(f"{' and '.join(two.labellers)}: the same of {two.same:.1%} of the explanations{kappa}")
    for one in reports:
        for id_, claims in one.objected.items():
            for claim in claims:
                console.print(f"{one.labeller}, {id_}: {claim}", style="dim", markup=False)
