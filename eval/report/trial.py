"""What a trial looks like. Reads a TrialResult, produces the page of a report."""

from __future__ import annotations

from typing import Final

from eval.report.ab import arms_sheet, cost_plots, costs_of, manifests, notes_on
from eval.report.page import Cell, Page, Plot, Sheet, plain, short
from eval.report.plots import Look, State, looks
from eval.runs import TrialResult
from eval.stats import Decision, number_text

_READING: Final = (
    "Users come in random order and are the units. The intervals are a 95% confidence sequence (betting, Waudby-Smith "
    "and Ramdas 2024): all of them together hold the true difference with 95% probability, so one may look after every "
    "batch and stop whenever one likes. The price is that they are wider than the interval of a single look. A trial "
    "stops when zero lies outside, or when the whole interval lies between the margins. How many users would decide is "
    "found by drawing the users to come from those seen."
)


def page_of(result: TrialResult) -> Page:
    """The report."""
    a, b = (plain(arm.manifest.name) for arm in result.arms)
    first = result.arms[0].manifest
    return Page(
        title=f"Trial: {a}, {b}",
        verdict=plain(result.verdict),
        state=_state(result),
        facts={
            **{plain(k): plain(str(v)) for k, v in first.protocol.items()},
            "margin": number_text(result.margin, 3),
            "requests": f"{result.requests:,}",
            "data": plain(first.data)[:12],
        },
        notes=notes_on(result.arms),
        plots=(_plot(result, a, b),),
        beside=cost_plots(costs_of(result.arms), result.metric),
        sheets=(_looks(result, a, b), arms_sheet(result.arms, [result.metric])),
        reading=_READING,
        details=manifests(result.arms),
        command="xdrec-eval trial FOLDER",
        source="with the arms, the data and the margin that stand here",
        json=result.model_dump_json(indent=2),
    )


def _plot(result: TrialResult, a: str, b: str) -> Plot:
    said = (
        f"{b} minus {a} in {plain(result.metric)} with its interval after each batch. Dashed: the margins, "
        "between which a difference does not matter."
    )
    seen = [Look(look.users, look.mean, look.low, look.high) for look in result.looks]
    sides = (f"{short(a, 20)} better", f"{short(b, 20)} better")
    drawing = looks(seen, result.margin, _state(result), f"Intervals after each look. {plain(result.verdict)}", sides)
    return Plot("What was known after each batch", said, drawing)


def _looks(result: TrialResult, a: str, b: str) -> Sheet:
    rows = tuple(
        (
            Cell(f"{look.users:,}", float(look.users)),
            Cell(number_text(look.mean, 3), look.mean),
            Cell(f"[{number_text(look.low, 3)}, {number_text(look.high, 3)}]", look.low),
        )
        for look in result.looks
    )
    return Sheet(f"{b} minus {a} in {plain(result.metric)}", ("users", "difference", "95% interval"), rows)


def _state(result: TrialResult) -> State:
    if result.decision is not Decision.DIFFERENCE:
        return "open"
    return "better" if result.looks[-1].mean > 0 else "worse"
