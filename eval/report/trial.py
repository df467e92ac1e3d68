"""What a trial looks like. Reads a TrialResult, produces the page of a report."""

from __future__ import annotations

from typing import Final

from eval.report import cells
from eval.report.ab import arms_table, cache_notes, cost_plots, costs_of, manifests
from eval.report.cells import Cell, Row, Table, short
from eval.report.page import Page, Plot
from eval.report.plots import State, sequential
from eval.runs import TrialResult
from eval.stats import Decision, SequentialInterval, number_text

_READING: Final = (
    "Users come in random order and are the units. The intervals are a 95% confidence sequence (betting, Waudby-Smith "
    "and Ramdas 2024): all of them together hold the true difference with 95% probability, so one may look after every "
    "batch and stop whenever one likes. The price is that they are wider than the interval of a single look. A trial "
    "stops when zero lies outside, or when the whole interval lies between the margins. How many users would decide is "
    "found by drawing the users to come from those seen."
)


def trial_page(result: TrialResult) -> Page:
    """The report of a trial."""
    a, b = (arm.manifest.name for arm in result.arms)
    first = result.arms[0].manifest
    text = (
        f"{b} minus {a} in {result.metric} with its interval after each batch. Dashed: the margins, "
        "between which a difference does not matter."
    )
    sides = (f"{short(a, 20)} better", f"{short(b, 20)} better")
    description = f"Intervals after each look. {result.verdict}"
    drawn = sequential(result.looks, result.margin, _state(result), description, sides)
    return Page(
        title=f"Trial: {a}, {b}",
        verdict=result.verdict,
        state=_state(result),
        facts={
            **{name: str(value) for name, value in first.protocol.items()},
            "margin": number_text(result.margin, 3),
            "requests": f"{result.requests:,}",
            "data": first.data[:12],
        },
        notes=cache_notes(result.arms),
        plots=(Plot("What was known after each batch", text, drawn),),
        beside=cost_plots(costs_of(result.arms), result.metric),
        tables=(
            Table.of(f"{b} minus {a} in {result.metric}", map(_look_row, result.looks)),
            arms_table(result.arms, [result.metric]),
        ),
        reading=_READING,
        details=manifests(result.arms),
        command="xdrec-eval trial FOLDER",
        source="with the arms, the data and the margin that stand here",
        json=result.model_dump_json(indent=2),
    )


def _look_row(look: SequentialInterval) -> Row:
    interval = cells.interval(look.low, look.high, lambda value: number_text(value, 3))
    return [
        ("users", cells.count(look.users)),
        ("difference", cells.score(look.mean)),
        ("95% interval", Cell(interval, look.low)),
    ]


def _state(result: TrialResult) -> State:
    if result.decision is not Decision.DIFFERENCE:
        return "inconclusive"
    return "better" if result.looks[-1].mean > 0 else "worse"
