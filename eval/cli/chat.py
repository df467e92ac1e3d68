"""`xdrec-eval chat`. Reads the labelled dialogues, produces how often their states are right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from eval.cli.context import AsJSON


def chat(
    pack: Annotated[Path, typer.Option(help="The pack that the dialogues speak of.")] = Path("examples/films-books"),
    model: Annotated[bool, typer.Option("--model", help="Also with the configured model.")] = False,
    failures: Annotated[bool, typer.Option("--failures", help="Show the turns that were read wrongly.")] = False,
    json_: AsJSON = False,
) -> None:
    """How often a dialogue's state is right after a turn, by kind of turn: the rules alone, and with a model.

    \b
    Examples:
      xdrec-eval chat
      xdrec-eval chat --model --failures
    """
    import asyncio

    from eval.dialogue_report import measured, print_dialogues
    from xdrec_agent.cli.context import settings

    found = asyncio.run(measured(pack, settings() if model else None))
    if json_:
        typer.echo(json.dumps([one.model_dump() for one in found], ensure_ascii=False, indent=2))
    else:
        print_dialogues(found, Console(highlight=False), failures=failures)
