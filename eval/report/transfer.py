"""What transfer came to. Reads a TransferResult, produces the page of a report."""

from __future__ import annotations

from typing import Final

from eval.report import cells
from eval.report.cells import EMPTY, UNKNOWN, Cell, Row, Table
from eval.report.page import Page, Plot
from eval.report.plots import MatrixCell, matrix_plot
from eval.stats import number_text
from eval.studies import ALL, AUTO, Effect, Matrix, TransferResult

_READING: Final = (
    "Differences to the first arm, paired, means over users with 95% intervals (users resampled); ratios are of means "
    "over cases. Seen and unseen: candidates and truth limited to items that training users touched, or that none of "
    "them did. An arm that learnt from people is measured on people of another fold. auto takes for each pair of "
    "domains the arm that people of the other folds support. Intervals are not adjusted for how many there are: of "
    "twenty that hold no effect, one leaves out 0."
)


def transfer_page(result: TransferResult) -> Page:
    """The report of transfer: a plot and a table of each matrix and metric."""
    shown = [(part, matrix, metric) for part, matrix in result.matrices.items() for metric in matrix.metrics]
    first = next(iter(result.matrices.values()))
    pooled = first.effect(AUTO, first.metrics[0], (ALL, ALL))
    return Page(
        title="XDRec: transfer",
        verdict=result.verdict,
        state=pooled.state if pooled else "inconclusive",
        facts=result.facts,
        notes=tuple(f"auto, {part}: {_chosen(matrix)}" for part, matrix in result.matrices.items()),
        plots=tuple(_plot(*one) for one in shown),
        tables=tuple(_table(*one) for one in shown),
        reading=_READING,
        command="xdrec-eval transfer FOLDER --data DATA",
        source="in the folder of the runs",
        json=result.model_dump_json(indent=2),
    )


def _chosen(matrix: Matrix) -> str:
    return "; ".join(f"{pair.replace(':', ' to ')} by {arm}" for pair, arm in matrix.chosen.items())


def _plot(part: str, matrix: Matrix, metric: str) -> Plot:
    rows = [
        (_pair_name(pair), [_matrix_cell(matrix.effect(arm, metric, pair)) for arm in matrix.arms[1:]])
        for pair in matrix.pairs
    ]
    return Plot(
        title=f"{part}: {metric} beside {matrix.arms[0]}",
        text="Green: better, orange: worse, grey: cannot be told from no difference.",
        drawing=matrix_plot(rows, matrix.arms[1:], f"{metric} of each arm beside {matrix.arms[0]}"),
    )


def _table(part: str, matrix: Matrix, metric: str) -> Table:
    rows: list[Row] = []
    for pair in matrix.pairs:
        every_case = matrix.effect(AUTO, metric, pair)
        rows.append([
            ("source to target", cells.text(_pair_name(pair))),
            ("users", cells.count(every_case.users) if every_case else EMPTY),
            (matrix.arms[0], cells.score(every_case.before if every_case else None, 4)),
            *((arm, _cell(matrix.effect(arm, metric, pair))) for arm in matrix.arms[1:]),
        ])  # fmt: skip
    return Table.of(f"{part}, {metric}, differences to {matrix.arms[0]}", rows)


def _cell(effect: Effect | None) -> Cell:
    if effect is None:
        return EMPTY
    if effect.difference is None:
        return Cell(UNKNOWN)
    d = effect.difference
    return Cell(f"{cells.estimate(d.mean, d.low, d.high, _number)}\n{effect.ratio_text}".rstrip(), d.mean)


def _matrix_cell(effect: Effect | None) -> MatrixCell | None:
    if effect is None or effect.difference is None:
        return None
    d, mean = effect.difference, _number(effect.difference.mean)
    sign = "" if mean.startswith("-") else "+"
    return MatrixCell(sign + mean, cells.interval(d.low, d.high, _number), effect.state)


def _number(value: float) -> str:
    return number_text(value, 4)


def _pair_name(pair: tuple[str, str]) -> str:
    return ALL if pair == (ALL, ALL) else f"{pair[0]} to {pair[1]}"
