"""The command line `xdrec-eval`. Reads arguments, runs benchmarks, prints their reports.

A command's module is imported when the command is called or `--help` is asked for, and imports what it works with when
it runs: starting up stays cheap.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from xdrec_agent.cli.lazy import lazy_app

COMMANDS: Final[Mapping[str, str]] = {
    "run": "eval.cli.run:run",
    "replay": "eval.cli.run:replay",
    "ab": "eval.cli.ab:ab",
    "trial": "eval.cli.trial:trial",
    "chat": "eval.cli.chat:chat",
    "bias": "eval.cli.bias:bias",
    "explain": "eval.cli.explain:explain",
    "bench": "eval.cli.bench:app",
    "fit": "eval.cli.fit:app",
}
"""Where each command is: a function, or a `typer.Typer` with commands of its own."""

app = lazy_app("xdrec-eval", COMMANDS, json_errors=False)


@app.callback()
def _global() -> None:
    """Measure recommendations."""


def main() -> None:
    """Entry point of the console script."""
    app()
