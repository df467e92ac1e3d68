"""`xdrec doctor`. Prints what is ready, and the next command for what is not."""

from __future__ import annotations

import typer

from xdrec_agent.cli.context import print_json, settings
from xdrec_agent.cli.options import Json

_MARKS = {"ok": ("ok     ", "green"), "missing": ("missing", "yellow"), "problem": ("problem", "red")}


def doctor(json_: Json = False) -> None:
    """Say what is installed and ready, and the next command for each thing that is not. Starts nothing.

    Exits with 3 if something is missing that nothing works without.

    \b
    Examples:
      xdrec doctor
      xdrec doctor --json
    """
    from rich.console import Console
    from rich.text import Text

    from xdrec_agent.app import diagnose

    checks = diagnose(settings())
    if json_:
        print_json(checks)
    else:
        out = Console(highlight=False)
        for check in checks:
            word, style = _MARKS[check.state]
            line = Text().append(word, style=style).append(f"  {check.what}", style="bold").append(f"  {check.detail}")
            out.print(line, soft_wrap=True)
            if check.next:
                out.print(f"         → {check.next}", style="dim", soft_wrap=True)
    if any(check.needed and check.state != "ok" for check in checks):
        raise typer.Exit(3)
