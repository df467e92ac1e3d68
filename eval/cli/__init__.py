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
    "export": "eval.cli.exchange:export",
    "import-run": "eval.cli.exchange:import_run",
    "ab": "eval.cli.ab:ab",
    "validity": "eval.cli.validity:validity",
    "online": "eval.cli.online:online",
    "trial": "eval.cli.trial:trial",
    "chat": "eval.cli.chat:chat",
    "bias": "eval.cli.bias:bias",
    "attacks": "eval.cli.attacks:attacks",
    "transfer": "eval.cli.transfer:transfer",
    "judge": "eval.cli.judge:judge",
    "facets": "eval.cli.facets:facets",
    "explain": "eval.cli.explain:explain",
    "labels": "eval.cli.labels:labels",
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
