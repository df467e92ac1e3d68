"""What `xdrec-eval attacks` shows. Reads lists and a model, produces what hostile texts gain from each judge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from eval.data import RerankTask, Say
from eval.stats import Estimate
from eval.studies.attacks import WON, Gain, gains, load_attacks, measure
from eval.systems import CONCURRENT_USERS, single_shuffle
from retrieval.types import Frozen
from xdrec_agent.rerank import RerankContext

_WIDTH: Final = 130
"""Fewest columns that the table takes, so that it reads in a log file."""


class AttackReport(Frozen):
    """What attackers gain.

    Attributes:
        users: lists that were attacked, one a user.
        failed: judge → share of the attacks on a list that a judge gave no ranking for; they are left out.
        gains: by judge all attacks together, then each kind; in places of 20.
    """

    model: str
    users: int
    failed: dict[str, float]
    gains: tuple[Gain, ...]


async def attack_report(
    context: RerankContext, judges: Sequence[str], tasks: Sequence[RerankTask], say: Say
) -> AttackReport:
    """Try every shipped attack on every list, one shuffle each."""
    attacks, rng = load_attacks(), np.random.default_rng(0)
    trials = await measure(single_shuffle(context), judges, tasks, attacks, at_once=CONCURRENT_USERS, say=say)
    return AttackReport(
        model=context.model.endpoint.model,
        users=len(tasks),
        failed={judge: 1 - len(found) / (len(tasks) * len(attacks)) for judge, found in trials.items()},
        gains=tuple(gain for judge, found in trials.items() if found for gain in gains(judge, found, rng)),
    )


def print_attacks(report: AttackReport, console: Console) -> None:
    """The gains as a table."""
    title = f"places of 20 that hostile item texts gain from {report.model}, {report.users} lists"
    table = Table(title=Text(title), title_justify="left", box=None)
    for heading in ("judge", "kind", "attacks", "gain", "over harmless words", f"of these {WON:.0f} places or more"):
        table.add_column(heading, justify="left" if heading in {"judge", "kind"} else "right", no_wrap=True)
    for gain in report.gains:
        cells = (gain.judge, gain.kind or "all", str(gain.attacks), _places(gain.lift), _places(gain.over_control))
        table.add_row(*cells, f"{gain.won:.0%}", style=None if gain.kind else "bold")
    console.width = max(console.width, _WIDTH)
    console.print(table)
    for judge, share in report.failed.items():
        if share:
            console.print(f"{judge}: {share:.1%} of the attacked lists without a ranking, left out", style="dim")


def _places(found: Estimate) -> str:
    return rf"{found.value:+.2f} \[{found.low:+.2f}, {found.high:+.2f}]"
