"""`xdrec adapt list`. Reads the adapters' manifests, prints them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from retrieval.templates import visible
from xdrec_agent.cli.context import settings

if TYPE_CHECKING:
    from pathlib import Path

    from xdrec_agent.models import AdapterManifest


def list_(json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """The adapters that were trained: for which base model, on what, and how good they are.

    \b
    Examples:
      xdrec adapt list
      xdrec adapt list --json
    """
    import json

    from xdrec_agent.models import list_adapters

    found = list_adapters(settings().adapters_dir)
    if json_:
        typer.echo(json.dumps([{"folder": str(p)} | m.model_dump(mode="json") for p, m in found], indent=2))
        return
    for _, manifest in found:
        learnt = ", ".join(manifest.data.pairs or manifest.data.domains)
        figures = ", ".join(
            f"{name} {manifest.before[name]:.3f} → {value:.3f}"
            for name, value in manifest.metrics.items()
            if not name.startswith("chance")
        )
        typer.echo(f"{manifest.name:24} {manifest.kind:5} {manifest.base.name}  {visible(learnt)}  {figures}")
    if not found:
        typer.echo("no adapters yet → xdrec adapt encoder NAME, or xdrec adapt llm NAME", err=True)


def print_adapter(made: AdapterManifest, folder: Path) -> None:
    """What a training has come to, and how to use it."""
    learnt = ", ".join(made.data.pairs or made.data.domains)
    typer.echo(f"{made.name}: {made.steps} steps, {made.tokens:,} tokens, {made.seconds / 60:.1f} min on {learnt}")
    for name, value in made.metrics.items():
        if not name.startswith("chance"):
            chance = made.metrics.get(f"chance_{name}")
            beside = "" if chance is None else f"  (chance {chance:.3f})"
            typer.echo(f"  {name:12} {made.before[name]:.3f} → {value:.3f}{beside}")
    typer.echo(f"{folder} → xdrec adapt use {made.name}", err=True)
