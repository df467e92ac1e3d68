"""What an online comparison looks like. Reads an OnlineResult, produces the page of a report. It names no user."""

from __future__ import annotations

import shlex
from typing import Final

from markupsafe import Markup

from eval.report.ab import cost_plots
from eval.report.page import (
    NOTHING,
    UNKNOWN,
    Cell,
    Page,
    Plot,
    Sheet,
    amount_cell,
    p_cell,
    percent,
    percent_cell,
    plain,
    score_cell,
)
from eval.report.plots import Effect, State, forest
from eval.stats import ALPHA, UserDifference, decimals_for, number_text, p_text
from eval.studies import OnlineArm, OnlineComparison, OnlineResult, day

_READING: Final = (
    "An answer's outcome is 0 or 1; a user's value is the mean over their answers, and users are the units. A user is "
    "in one arm, so the arms are independent groups: the interval is a BCa bootstrap of the users of each arm, p comes "
    "from assigning the users to the arms anew (Welch's statistic), and Holm adjusts it for all arms and outcomes. It "
    "holds for one look, at a time that was decided beforehand. The smallest difference seen is what these users would "
    "show with 80% power at 5%."
)


def page_of(result: OnlineResult) -> Page:
    """The report."""
    names = [plain(arm.name) for arm in result.arms]
    decisive = result.comparisons[0] if result.comparisons else None
    outcomes = list(dict.fromkeys(c.outcome for c in result.comparisons))
    words = [f"--outcome {shlex.quote(outcome)}" for outcome in outcomes]
    sheets = (_comparisons(result),) if result.comparisons else ()
    return Page(
        title=f"Online: {', '.join(names)}",
        verdict=plain(result.verdict),
        state="open" if decisive is None else _state(decisive),
        facts={
            "answers": f"{sum(arm.answers for arm in result.arms):,}",
            "from": day(result.first),
            "to": day(result.last),
            "sample ratio": p_text(result.sample_ratio),
        },
        notes=_notes(result),
        plots=_plots(result, names),
        beside=cost_plots([(arm.name, arm.means, arm.costs) for arm in result.arms], decisive.outcome, "an answer")
        if decisive is not None
        else (),
        sheets=(*sheets, _arms(result, outcomes)),
        reading=_READING,
        command=" ".join(["xdrec-eval online", *words, "--out REPORT-FOLDER"]),
        source="with the log of the service and its arms",
        json=result.model_dump_json(indent=2),
    )


def _notes(result: OnlineResult) -> tuple[str, ...]:
    found = []
    if result.moved:
        found.append(
            f"{result.moved:,} users were served by an arm that is not theirs and are left out: names or shares of the "
            "arms were changed. Give --since the time of that change."
        )
    if result.anonymous:
        found.append(f"{result.anonymous:,} answers to nobody in particular are left out.")
    for arm in result.arms:
        several = [task for task, fingerprints in arm.templates.items() if len(fingerprints) > 1]
        if several:
            found.append(f"{plain(arm.name)} was not the same all the time: templates changed ({', '.join(several)}).")
    found += [
        f"{percent(arm.costs['degraded'])} of the answers of {plain(arm.name)} were degraded."
        for arm in result.arms
        if arm.costs["degraded"]
    ]
    return tuple(found)


def _plots(result: OnlineResult, names: list[str]) -> tuple[Plot, ...]:
    shown = [(c, c.difference) for c in result.comparisons if c.difference is not None]
    if not shown:
        return ()
    several = len(result.arms) > 2
    effects = [
        Effect(
            plain(c.outcome), f"{_number(d.mean, d)} {_ends(d)}", d.mean, d.low, d.high, _state(c), d.few_differ,
            plain(c.arm) if several else "",
        )
        for c, d in shown
    ]  # fmt: skip
    told = "; ".join(f"{plain(c.arm)}, {c.outcome}: {plain(c.verdict)}" for c, _ in shown)
    drawn: Markup = forest(
        effects,
        f"Forest plot of differences between arms. {told}",
        (f"{names[0]} better", f"{'the other arm' if several else names[1]} better"),
    )
    said = (
        f"The mean over users of each arm minus that of {names[0]}, with its 95% interval. Coloured: a difference at "
        "5% after Holm; grey: cannot tell. A dashed interval is too short to be trusted: too few users differ from the "
        "rest."
    )
    return (Plot("Differences between users", said, drawn),)


def _comparisons(result: OnlineResult) -> Sheet:
    columns = (
        "arm", "outcome", "difference", "95% interval", "p", "p after Holm", "users", "differing",
        "smallest difference seen",
    )  # fmt: skip
    title = f"Differences from {plain(result.arms[0].name)}, with users as units"
    return Sheet(title, columns, tuple(_compared(c) for c in result.comparisons))


def _compared(comparison: OnlineComparison) -> tuple[Cell, ...]:
    d, nothing = comparison.difference, Cell(NOTHING)
    named = (Cell(plain(comparison.arm), plain(comparison.arm)), Cell(comparison.outcome, comparison.outcome))
    if d is None:
        return (*named, Cell(UNKNOWN), Cell(UNKNOWN), Cell(UNKNOWN), *[nothing] * 4)
    seen = d.detectable
    return (
        *named,
        Cell(_number(d.mean, d), d.mean),
        Cell(_ends(d), d.low),
        p_cell(d.p_value),
        p_cell(comparison.adjusted, NOTHING),
        Cell(" + ".join(f"{n:,}" for n in d.users), float(sum(d.users))),
        Cell(f"{d.differing:,}", float(d.differing)),
        nothing if seen is None else Cell(number_text(seen, decimals_for(seen)), seen),
    )


def _arms(result: OnlineResult, outcomes: list[str]) -> Sheet:
    columns = ("arm", "share", "users", "answers", *outcomes, "tokens", "requests", "seconds", "degraded")
    return Sheet("Arms: means over users, costs an answer", columns, tuple(_arm(a, outcomes) for a in result.arms))


def _arm(arm: OnlineArm, outcomes: list[str]) -> tuple[Cell, ...]:
    return (
        Cell(plain(arm.name), plain(arm.name)),
        percent_cell(arm.share),
        Cell(f"{arm.users:,}", float(arm.users)),
        Cell(f"{arm.answers:,}", float(arm.answers)),
        *(score_cell(arm.means.get(outcome)) for outcome in outcomes),
        *(amount_cell(arm.costs[cost]) for cost in ("tokens", "requests", "seconds")),
        percent_cell(arm.costs["degraded"]),
    )


def _number(value: float, difference: UserDifference) -> str:
    low, high = difference.low, difference.high
    return number_text(value, decimals_for(difference.mean if low is None or high is None else high - low))


def _ends(difference: UserDifference) -> str:
    if difference.low is None or difference.high is None:
        return UNKNOWN
    return f"[{_number(difference.low, difference)}, {_number(difference.high, difference)}]"


def _state(comparison: OnlineComparison) -> State:
    if comparison.difference is None:
        return "open"
    p = comparison.difference.p_value if comparison.adjusted is None else comparison.adjusted
    if p is None or p > ALPHA:
        return "open"
    return "better" if comparison.difference.mean > 0 else "worse"
