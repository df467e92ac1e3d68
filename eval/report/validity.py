"""What a simulation of validity looks like. Reads a ValidityResult, produces the page of a report."""

from __future__ import annotations

from typing import Final

from eval.report import cells
from eval.report.cells import EMPTY, Cell, Row, Table
from eval.report.page import Page, Plot
from eval.report.plots import ForestRow, State, forest
from eval.stats import COVERAGE, ENOUGH, LEAST_ALARMS, MOST_ALARMS, MOST_SEQUENTIAL
from eval.studies import MetricValidity, ValidityResult

_READING: Final = (
    "Each comparison draws users with replacement and gives each of them two of their real scores, in random order, as "
    "A and B: the true difference is 0 and the users are as they are. False alarms: p of .05 or less. Coverage: "
    "intervals that hold 0. Peeking: the confidence sequence left out 0 at one of the looks after every batch. Real "
    "coverage: intervals that hold the true mean where users are drawn from the real differences of the first two runs."
)


def validity_page(result: ValidityResult) -> Page:
    """The report of a simulation of validity."""
    options = [f"--metric '{one.metric}'" for one in result.metrics]
    return Page(
        title="Validity",
        verdict=result.verdict,
        state="better" if result.holds else "worse",
        facts={
            "runs": ", ".join(result.runs),
            "comparisons": f"{result.metrics[0].found.comparisons:,}",
            "users between two looks": str(result.batch),
        },
        notes=tuple(
            f"{one.metric}: {one.found.differing:.0f} users differ, fewer than {ENOUGH}: too few to hold "
            "coverage and the least number of alarms to their bounds."
            for one in result.metrics
            if not one.found.enough
        ),
        plots=(_plot(result),),
        tables=(Table.of("Comparisons without a difference", map(_row, result.metrics)),),
        reading=_READING,
        command=" ".join(["xdrec-eval validity RUN-FOLDER…", *options, f"--seed {result.seed}"]),
        source="with the run folders in this order",
        json=result.model_dump_json(indent=2),
    )


def _row(one: MetricValidity) -> Row:
    found = one.found
    held = "missed" if found.missed else "held" if found.enough else "held; few differ"
    return [
        ("metric", cells.text(one.metric)),
        ("users", cells.count(found.users)),
        ("differing", cells.count(found.differing)),
        (f"false alarms ({LEAST_ALARMS:.1%} to {MOST_ALARMS:.1%})", _rate(found.false_alarms)),
        (f"coverage ({COVERAGE[0]:.1%} to {COVERAGE[1]:.1%})", _rate(found.coverage)),
        (f"peeking (≤ {MOST_SEQUENTIAL:.0%})", _rate(found.sequential)),
        ("real coverage", _rate(found.real_coverage)),
        ("bounds", cells.text(held)),
    ]


def _rate(rate: float | None) -> Cell:
    return EMPTY if rate is None else Cell(f"{rate:.1%}", rate)


def _plot(result: ValidityResult) -> Plot:
    text = (
        "How far each rate lies from its level, with the interval that so many comparisons leave. Right of zero a "
        "verdict is too daring, left of it too careful; the sequential one is careful, as it may be looked at often."
    )
    rows = [row for one in result.metrics for row in _forest_rows(one, grouped=len(result.metrics) > 1)]
    drawn = forest(rows, f"Rates and their levels. {result.verdict}", ("too careful", "too daring"))
    return Plot("Rates", text, drawn)


def _forest_rows(one: MetricValidity, *, grouped: bool) -> list[ForestRow]:
    """A metric's rates less the 5% that each of them promises."""
    from scipy.stats import binomtest

    found, level = one.found, 0.05
    state: State = "worse" if found.missed else "better" if found.enough else "inconclusive"
    rates = {
        "false alarms over 5%": found.false_alarms,
        "intervals that miss 0, over 5%": None if found.coverage is None else 1 - found.coverage,
        "false alarms with peeking, over 5%": found.sequential,
    }
    rows = []
    for label, rate in rates.items():
        if rate is not None:
            # Clopper and Pearson 1934
            ends = binomtest(round(rate * found.comparisons), found.comparisons).proportion_ci(0.95)
            low, high = float(ends.low), float(ends.high)
            text = cells.estimate(rate, low, high, lambda value: f"{value:.1%}")
            group = one.metric if grouped else ""
            rows.append(ForestRow(label, text, rate - level, low - level, high - level, state, not found.enough, group))
    return rows
