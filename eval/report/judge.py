"""What an LLM judge's verdict looks like. Reads a JudgeResult, produces the page of a report. It names no user."""

from __future__ import annotations

from typing import Final

from eval.report import cells
from eval.report.cells import EMPTY, Cell, Row, Table, short
from eval.report.page import Page, Plot
from eval.report.plots import ForestRow, forest, verdict_state
from eval.stats import number_text
from eval.studies import Interval, JudgeResult

_READING: Final = (
    "Each pair is judged twice, with the places swapped. A side wins a pair if it was preferred both times; anything "
    "else is a tie, and ties count half in the win rate. Users are the units: each one's pairs are averaged, the "
    "interval is a BCa bootstrap over users, p comes from flipping the signs of their means. A judge that looks at "
    "places agrees with itself no more than by chance, and says first in far more or fewer than half of its decisions."
)


def judge_page(result: JudgeResult) -> Page:
    """The report of an LLM judge."""
    return Page(
        title=f"Judge: {', '.join(result.arms)}",
        verdict=result.verdict,
        state=verdict_state(result.preference.mean, result.preference.p_value),
        facts={"compared": result.what, "judge": result.model, "template": result.template_fingerprint[:12]},
        notes=tuple(_notes(result)),
        plots=(_plot(result),),
        tables=(
            Table.of("Pairs; a contradiction counts as a tie", [_pairs_row(result)]),
            Table.of("The judge; its costs are of all pairs", [_judge_row(result)]),
        ),
        reading=_READING,
        command=f"xdrec-eval judge A B --what {result.what} --out REPORT-FOLDER",
        source="with the files of both arms in this order",
        json=result.model_dump_json(indent=2),
    )


def _notes(result: JudgeResult) -> list[str]:
    notes = [result.trust]
    if result.cut:
        notes.append(f"In {result.cut:,} pairs the judge saw a reason only in part: it is too long.")
    if result.failed:
        notes.append(f"{result.failed:,} pairs were left out because the judge failed.")
    if result.identical:
        notes.append(f"{result.identical:,} pairs were identical: ties that nobody was asked about.")
    return notes


def _plot(result: JudgeResult) -> Plot:
    (a, b), d = result.arms, result.preference
    rate, low, high = result.win_rate
    below, above = (None if end is None else end - 0.5 for end in (low, high))
    state, few_differ = verdict_state(d.mean, d.p_value), d.few_differ
    row = ForestRow("win rate over a half", _win_rate(result), rate - 0.5, below, above, state, few_differ)
    sides = (f"{short(a, 20)} better", f"{short(b, 20)} better")
    text = f"How far the win rate of {b} against {a} lies from a half, with its 95% interval."
    return Plot("Win rate", text, forest([row], f"Forest plot of the win rate. {result.verdict}", sides))


def _pairs_row(result: JudgeResult) -> Row:
    a, b = result.arms
    return [
        ("arm", Cell(f"{b} against {a}", b)),
        (f"win rate of {b}", Cell(_win_rate(result), result.win_rate[0])),
        ("p", cells.p_value(result.preference.p_value)),
        ("users", cells.count(result.preference.users)),
        ("pairs", cells.count(result.pairs)),
        (f"{b} wins", cells.count(result.b_wins)),
        (f"{a} wins", cells.count(result.a_wins)),
        ("ties", cells.count(result.ties)),
        ("contradictions", cells.count(result.contradictions)),
    ]


def _judge_row(result: JudgeResult) -> Row:
    usage = result.usage
    return [
        ("judge", cells.text(result.model)),
        ("agrees with itself", _share(result.agreement)),
        ("by chance", cells.share(result.agreement_by_chance)),
        ('says "first"', _share(result.says_first)),
        ("requests", cells.amount(usage.requests)),
        ("tokens", cells.amount(usage.prompt_tokens + usage.completion_tokens)),
        ("seconds", cells.amount(usage.seconds)),
        ("cache hits", cells.amount(usage.cache_hits)),
    ]


def _share(found: Interval | None) -> Cell:
    if found is None:
        return EMPTY
    return Cell(cells.estimate(found.value, found.low, found.high, cells.percent), found.value)


def _win_rate(result: JudgeResult) -> str:
    return cells.estimate(*result.win_rate, lambda value: number_text(value, 2))
