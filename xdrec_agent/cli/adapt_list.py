"""`xdrec adapt list`. Reads the adapters' manifests, prints them."""

from __future__ import annotations

from typing import Annotated

import typer

from retrieval.templates import visible
from xdrec_agent.cli.context import settings


def list_(json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """The adapters that were trained: for which base model, on what, and how good they are.

    \b
    Examples:
      xdrec adapt list
      xdrec adapt list --json
    """
    import json

    from xdrec_agent.adapt.adapters import list_adapters

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
        typer.echo("no adapters yet → xdrec adapt llm NAME", err=True)
