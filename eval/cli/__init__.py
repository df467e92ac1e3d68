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
    "export": "eval.cli.run:export",
    "import-run": "eval.cli.run:import_run",
    "ab": "eval.cli.compare:ab",
    "validity": "eval.cli.compare:validity",
    "online": "eval.cli.compare:online",
    "trial": "eval.cli.compare:trial",
    "chat": "eval.cli.studies:chat",
    "bias": "eval.cli.studies:bias",
    "attacks": "eval.cli.studies:attacks",
    "transfer": "eval.cli.studies:transfer",
    "judge": "eval.cli.explanations:judge",
    "facets": "eval.cli.studies:facets",
    "explain": "eval.cli.explanations:explain",
    "labels": "eval.cli.explanations:labels",
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
