"""`xdrec-eval chat`. Reads the labelled dialogues, produces how often their states are right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from eval.cli.context import AsJSON, say


def chat(
    pack: Annotated[Path, typer.Option(help="The pack that the dialogues speak of.")] = Path("examples/films-books"),
    model: Annotated[bool, typer.Option("--model", help="Also with the configured model.")] = False,
    results: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keep the results there, and show those that it holds of other models, too."),
    ] = None,
    failures: Annotated[bool, typer.Option("--failures", help="Show the turns that were read wrongly.")] = False,
    json_: AsJSON = False,
) -> None:
    """How often a dialogue's state is right after a turn, by kind of turn: the rules alone, and with each model.

    \b
    A stopped run with a model goes on where it was, by the response cache.
    Examples:
      xdrec-eval chat
      xdrec-eval chat --model --failures
      XDREC_LLM__MODEL=qwen2.5-coder-1.5b-instruct xdrec-eval chat --model --results build/bench/chat.json
    """
    import asyncio

    from eval.studies import load_results, merged, print_dialogues, save_results
    from eval.studies.dialogue_results import measured
    from xdrec_agent.cli.context import settings

    before = load_results(results) if results else ()
    found = merged(before, asyncio.run(measured(pack, settings() if model else None, say)))
    if results:
        save_results(results, found)
    if json_:
        typer.echo(json.dumps([one.summary() for one in found], ensure_ascii=False, indent=2))
    else:
        print_dialogues(found, Console(highlight=False), failures=failures)
