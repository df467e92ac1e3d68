"""What a judge's verdict looks like. Reads a JudgeResult, produces the page of a report. No user is named in it."""

from __future__ import annotations

from typing import Final

from eval.report.page import NOTHING, UNKNOWN, Cell, Page, Plot, Sheet, amount_cell, percent, plain, short
from eval.report.plots import Effect, State, forest
from eval.stats import number_text, p_text
from eval.studies import Interval, JudgeResult

_READING: Final = (
    "Each pair is judged twice, with the places swapped. A side wins a pair if it was preferred both times; anything "
    "else is a tie, and ties count half in the win rate. Users are the units: each one's pairs are averaged, the "
    "interval is a BCa bootstrap over users, p comes from flipping the signs of their means. A judge that looks at "
    "places agrees with itself no more than by chance, and says first in far more or fewer than half of its decisions."
)


def page_of(result: JudgeResult) -> Page:
    """The report."""
    a, b = (plain(name) for name in result.arms)
    return Page(
        title=f"Judge: {a}, {b}",
        verdict=plain(result.verdict),
        state=_state(result),
        facts={
            "compared": result.what,
            "judge": plain(result.model),
            "template": result.template_fingerprint[:12],
        },
        notes=_notes(result),
        plots=(_plot(result, a, b),),
        sheets=(_pairs(result, a, b), _judge(result)),
        reading=_READING,
        command=f"xdrec-eval judge A B --what {result.what} --out REPORT-FOLDER",
        source="with the files of both arms in this order",
        json=result.model_dump_json(indent=2),
    )


def _notes(result: JudgeResult) -> tuple[str, ...]:
    found = [result.trust]
    if result.cut:
        found.append(f"In {result.cut:,} pairs the judge saw a reason only in part: it is too long.")
    if result.failed:
        found.append(f"{result.failed:,} pairs were left out because the judge failed.")
    if result.identical:
        found.append(f"{result.identical:,} pairs were identical: ties that nobody was asked about.")
    return tuple(found)


def _plot(result: JudgeResult, a: str, b: str) -> Plot:
    d = result.preference
    rate, low, high = result.win_rate
    below, above = (None if end is None else end - 0.5 for end in (low, high))
    effect = Effect(
        "win rate over a half", _rate(rate, low, high), rate - 0.5, below, above, _state(result), d.few_differ
    )
    sides = (f"{short(a, 20)} better", f"{short(b, 20)} better")
    said = f"How far the win rate of {b} against {a} lies from a half, with its 95% interval."
    return Plot("Win rate", said, forest([effect], f"Forest plot of the win rate. {plain(result.verdict)}", sides))


def _pairs(result: JudgeResult, a: str, b: str) -> Sheet:
    rate, low, high = result.win_rate
    p = result.preference.p_value
    columns = (
        "arm", f"win rate of {b}", "p", "users", "pairs", f"{b} wins", f"{a} wins", "ties", "contradictions",
    )  # fmt: skip
    counts = (result.preference.users, result.pairs, result.b_wins, result.a_wins, result.ties, result.contradictions)
    row = (
        Cell(f"{b} against {a}", b),
        Cell(_rate(rate, low, high), rate),
        Cell(UNKNOWN) if p is None else Cell(p_text(p).removeprefix("p ").removeprefix("= "), p),
        *(Cell(f"{count:,}", float(count)) for count in counts),
    )
    return Sheet("Pairs; a contradiction counts as a tie", columns, (row,))


def _judge(result: JudgeResult) -> Sheet:
    columns = (
        "judge",
        "agrees with itself",
        "by chance",
        'says "first"',
        "requests",
        "tokens",
        "seconds",
        "cache hits",
    )
    usage, chance = result.usage, result.agreement_by_chance
    row = (
        Cell(plain(result.model), plain(result.model)),
        _share(result.agreement),
        Cell(NOTHING) if chance is None else Cell(percent(chance), chance),
        _share(result.says_first),
        *(
            amount_cell(float(value))
            for value in (
                usage.requests,
                usage.prompt_tokens + usage.completion_tokens,
                usage.seconds,
                usage.cache_hits,
            )
        ),
    )
    return Sheet("The judge; its costs are of all pairs", columns, (row,))


def _share(found: Interval | None) -> Cell:
    if found is None:
        return Cell(NOTHING)
    ends = "" if found.low is None or found.high is None else f" [{percent(found.low)}, {percent(found.high)}]"
    return Cell(f"{percent(found.value)}{ends}", found.value)


def _rate(rate: float, low: float | None, high: float | None) -> str:
    ends = "" if low is None or high is None else f" [{number_text(low, 2)}, {number_text(high, 2)}]"
    return f"{number_text(rate, 2)}{ends}"


def _state(result: JudgeResult) -> State:
    if not result.decided:
        return "open"
    return "better" if result.preference.mean > 0 else "worse"
