"""`xdrec-eval explain`. Reads settings and the store, produces figures of explanations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from eval.cli.context import AsJSON, Assignments, say


def explain(
    source: Annotated[str, typer.Option("--from", metavar="DOMAIN", help="Source domain.")] = "films",
    target: Annotated[str, typer.Option("--to", metavar="DOMAIN", help="Target domain.")] = "books",
    count: Annotated[int, typer.Option(min=1, help="At least so many explanations.")] = 200,
    k: Annotated[int, typer.Option("-k", min=1, max=50, help="Recommendations a person.")] = 3,
    lang: Annotated[str | None, typer.Option(metavar="CODE", help="Language of the reasons: en or zh.")] = None,
    style: Annotated[str | None, typer.Option(help="Of the reasons: short, detailed or playful.")] = None,
    seed: Annotated[int, typer.Option(help="Of the sets of likes.")] = 0,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the explanations here, as JSONL.")] = None,
    set_: Assignments = None,
    json_: AsJSON = False,
) -> None:
    """How explanations fare: claims supported, where they come from, how alike they are, language, time.

    \b
    With the configured model, with its kept replies (llm.cache=only), or without a server: from the facts alone.
    Examples:
      xdrec demo examples/films-books && xdrec-eval explain
      xdrec-eval explain --lang zh --out build/explanations-zh.jsonl
      xdrec-eval explain --set explain.freedom=pattern --json
    """
    import asyncio

    from eval.runs import arm_settings
    from eval.studies import print_explanations
    from eval.studies.explanation_figures import measured

    chosen = {"explain.language": lang, "explain.style": style}
    given = [f"{name}={value}" for name, value in chosen.items() if value is not None]
    found = asyncio.run(measured(arm_settings([*(set_ or []), *given]), source, target, count, k, seed, out, say))
    if json_:
        typer.echo(found.model_dump_json(indent=2))
    else:
        print_explanations(found, Console(highlight=False))
