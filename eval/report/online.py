"""What an online comparison looks like. Reads an OnlineResult, produces the page of a report. It names no user."""

from __future__ import annotations

import shlex
from typing import Final

from eval.report import cells
from eval.report.ab import PlottedDifference, cost_plots, difference_cells, difference_plot, difference_state
from eval.report.cells import EMPTY, UNKNOWN, Cell, Row, Table
from eval.report.page import Page, Plot
from eval.stats import p_text
from eval.studies import OnlineArm, OnlineComparison, OnlineResult, day

_READING: Final = (
    "An answer's outcome is 0 or 1; a user's value is the mean over their answers, and users are the units. A user is "
    "in one arm, so the arms are independent groups: the interval is a BCa bootstrap of the users of each arm, p comes "
    "from assigning the users to the arms anew (Welch's statistic), and Holm adjusts it for all arms and outcomes. It "
    "holds for one look, at a time that was decided beforehand. The smallest effect seen is what these users would "
    "show with 80% power at 5%."
)


def online_page(result: OnlineResult) -> Page:
    """The report of an online comparison."""
    outcomes = list(dict.fromkeys(c.outcome for c in result.comparisons))
    options = [f"--outcome {shlex.quote(outcome)}" for outcome in outcomes]
    arms = Table.of("Arms: means over users, costs an answer", (_arm_row(arm, outcomes) for arm in result.arms))
    costs = [(arm.name, arm.means, arm.costs) for arm in result.arms]
    title = f"Differences from {result.arms[0].name}, with users as units"
    decisive = result.comparisons[0] if result.comparisons else None
    return Page(
        title=f"Online: {', '.join(arm.name for arm in result.arms)}",
        verdict=result.verdict,
        state=difference_state(decisive.difference, decisive.adjusted) if decisive else "inconclusive",
        facts={
            "answers": f"{sum(arm.answers for arm in result.arms):,}",
            "from": day(result.first),
            "to": day(result.last),
            "sample ratio": p_text(result.sample_ratio),
        },
        notes=tuple(_notes(result)),
        plots=_plots(result),
        beside=cost_plots(costs, decisive.outcome, "an answer") if decisive else (),
        tables=(Table.of(title, map(_comparison_row, result.comparisons)), arms) if decisive else (arms,),
        reading=_READING,
        command=" ".join(["xdrec-eval online", *options, "--out REPORT-FOLDER"]),
        source="with the log of the service and its arms",
        json=result.model_dump_json(indent=2),
    )


def _notes(result: OnlineResult) -> list[str]:
    notes = []
    if result.moved:
        notes.append(
            f"{result.moved:,} users were served by an arm that is not theirs and are left out: names or shares of the "
            "arms were changed. Give --since the time of that change."
        )
    if result.anonymous:
        notes.append(f"{result.anonymous:,} answers to nobody in particular are left out.")
    for arm in result.arms:
        several = [task for task, fingerprints in arm.templates.items() if len(fingerprints) > 1]
        if several:
            notes.append(f"{arm.name} was not the same all the time: templates changed ({', '.join(several)}).")
    for arm in result.arms:
        if degraded := arm.costs["degraded"]:
            notes.append(f"{cells.percent(degraded)} of the answers of {arm.name} were degraded.")
    return notes


def _plots(result: OnlineResult) -> tuple[Plot, ...]:
    arms = [arm.name for arm in result.arms]
    shown = [
        PlottedDifference(c.arm, c.outcome, c.difference, difference_state(c.difference, c.adjusted), c.verdict)
        for c in result.comparisons
        if c.difference is not None
    ]
    text = (
        f"The mean over users of each arm minus that of {arms[0]}, with its 95% interval. Coloured: a difference at "
        "5% after Holm; grey: cannot tell. A dashed interval is too short to be trusted: too few users differ from the "
        "rest."
    )
    return (difference_plot("Differences between users", text, arms, shown),) if shown else ()


def _comparison_row(comparison: OnlineComparison) -> Row:
    d = comparison.difference
    names: Row = [("arm", cells.text(comparison.arm)), ("outcome", cells.text(comparison.outcome))]
    if d is None:
        unknown = [(name, Cell(UNKNOWN)) for name in ("difference", "95% interval", "p")]
        missing = [(name, EMPTY) for name in ("p after Holm", "users", "differing", "smallest effect seen")]
        return [*names, *unknown, *missing]
    size, power = difference_cells(d, comparison.adjusted)
    users = Cell(" + ".join(f"{n:,}" for n in d.users), float(sum(d.users)))
    return [*names, *size, ("users", users), *power]


def _arm_row(arm: OnlineArm, outcomes: list[str]) -> Row:
    return [
        ("arm", cells.text(arm.name)),
        ("share", cells.share(arm.share)),
        ("users", cells.count(arm.users)),
        ("answers", cells.count(arm.answers)),
        *((outcome, cells.score(arm.means.get(outcome))) for outcome in outcomes),
        *((cost, cells.amount(arm.costs[cost])) for cost in ("tokens", "requests", "seconds")),
        ("degraded", cells.share(arm.costs["degraded"])),
    ]
