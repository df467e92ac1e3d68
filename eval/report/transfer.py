"""What transfer came to. Reads run folders, produces matrices source x target and the page of a report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from eval.report import cells
from eval.report.cells import EMPTY, UNKNOWN, Cell, Row, Table
from eval.report.page import Page, Plot
from eval.report.plots import MatrixCell, State, matrix_plot
from eval.runs import RunFolder
from eval.stats import number_text
from eval.studies import ALL, AUTO, CHOOSABLE, Arms, Effect, Matrix, matrix, results_of
from retrieval.types import Frozen
from xdrec_agent.adapt import Pair

if TYPE_CHECKING:
    import numpy as np

RETRIEVAL: Final = "text alone"
FUSED: Final = "all sources"
RERANKING: Final = "reranking"
_RETRIEVAL_METRICS: Final = ("recall@100", "seen recall@100", "unseen recall@100")
_FUSED_METRICS: Final = ("seen recall@100", "recall@100")
"""Of unseen items popularity says nothing."""
_RERANKING_METRICS: Final = ("ndcg@10",)
_READING: Final = (
    "Differences to the first arm, paired, means over users with 95% intervals (users resampled); ratios are of means "
    "over cases. Seen and unseen: candidates and truth limited to items that training users touched, or that none of "
    "them did. An arm that learnt from people is measured on people of another fold. auto takes for each pair of "
    "domains the arm that people of the other folds support. Intervals are not adjusted for how many there are: of "
    "twenty that hold no effect, one leaves out 0."
)


class TransferResult(Frozen):
    """The matrices by what was measured: `RETRIEVAL`, `FUSED` and perhaps `RERANKING`."""

    version: int = 1
    facts: dict[str, str]
    matrices: dict[str, Matrix]

    @property
    def verdict(self) -> str:
        """Over all pairs, what each arm of the first matrix changes in its decisive metric, and what harms."""
        first = next(iter(self.matrices.values()))
        metric = first.metrics[0]
        changes, harms = [], []
        for arm in first.arms[1:]:
            effects = [effect for pair in first.pairs if (effect := first.effect(arm, metric, pair))]
            changes += [f"{arm} {_ratio(effect)}" for effect in effects if effect.source == ALL and effect.ratio]
            harmed = [_pair(effect) for effect in effects if effect.source != ALL and effect_state(effect) == "worse"]
            harms += [f"{arm} ({', '.join(harmed)})"] if harmed else []
        return f"{metric} beside {first.arms[0]}: {', '.join(changes)}; " + (
            f"negative transfer: {', '.join(harms)}" if harms else "no negative transfer that can be told from noise"
        )


def transfer_result(
    retrieved: Sequence[RunFolder],
    fused: Sequence[RunFolder],
    reranked: Sequence[RunFolder],
    rng: np.random.Generator,
) -> TransferResult:
    """The matrices of some runs, each against the first of its kind; no reranker leaves that matrix out.

    Raises:
        UsageError: one run alone, or runs that share no case.
        DataError: a run cannot be read.
    """

    def compared(
        folders: Sequence[RunFolder], metrics: Sequence[str], choosable: Sequence[str] | None = None
    ) -> Matrix:
        results = {folder.manifest.name: results_of(folder.results()) for folder in folders}
        return matrix(Arms(results, choosable or tuple(results), metrics[0]), metrics, rng)

    matrices = {
        RETRIEVAL: compared(retrieved, _RETRIEVAL_METRICS, CHOOSABLE),
        FUSED: compared(fused, _FUSED_METRICS),
    }
    if reranked:
        matrices[RERANKING] = compared(reranked, _RERANKING_METRICS)
    first = retrieved[0].manifest
    facts = {name: str(value) for name, value in first.protocol.items()} | {"data": first.data[:12]}
    return TransferResult(facts=facts, matrices=matrices)


def effect_state(effect: Effect | None) -> State:
    """Whether an effect helps, hurts, or cannot be told from none."""
    difference = effect and effect.difference
    if not difference or difference.low is None or difference.high is None:
        return "inconclusive"
    return "better" if difference.low > 0 else "worse" if difference.high < 0 else "inconclusive"


def transfer_page(result: TransferResult) -> Page:
    """The report of transfer: a plot and a table of each matrix and metric."""
    shown = [(part, found, metric) for part, found in result.matrices.items() for metric in found.metrics]
    first = next(iter(result.matrices.values()))
    chosen = {
        part: "; ".join(f"{pair.replace(':', ' to ')} by {arm}" for pair, arm in found.chosen.items())
        for part, found in result.matrices.items()
    }
    return Page(
        title="XDRec: transfer",
        verdict=result.verdict,
        state=effect_state(first.effect(AUTO, first.metrics[0], (ALL, ALL))),
        facts=result.facts,
        notes=tuple(f"auto, {part}: {arms}" for part, arms in chosen.items()),
        plots=tuple(_plot(*one) for one in shown),
        tables=tuple(_table(*one) for one in shown),
        reading=_READING,
        command="xdrec-eval transfer FOLDER --data DATA",
        source="in the folder of the runs",
        json=result.model_dump_json(indent=2),
    )


def _plot(part: str, found: Matrix, metric: str) -> Plot:
    rows = [
        (_pair_name(pair), [_matrix_cell(found.effect(arm, metric, pair)) for arm in found.arms[1:]])
        for pair in found.pairs
    ]
    return Plot(
        title=f"{part}: {metric} beside {found.arms[0]}",
        text="Green: better, orange: worse, grey: cannot be told from no difference.",
        drawing=matrix_plot(rows, found.arms[1:], f"{metric} of each arm beside {found.arms[0]}"),
    )


def _table(part: str, found: Matrix, metric: str) -> Table:
    rows = []
    for pair in found.pairs:
        every_case = found.effect(AUTO, metric, pair)
        row: Row = [
            ("source to target", cells.text(_pair_name(pair))),
            ("users", cells.count(every_case.users) if every_case else EMPTY),
            (found.arms[0], cells.score(every_case.before if every_case else None, 4)),
            *((arm, _cell(found.effect(arm, metric, pair))) for arm in found.arms[1:]),
        ]
        rows.append(row)
    return Table.of(f"{part}, {metric}, differences to {found.arms[0]}", rows)


def _cell(effect: Effect | None) -> Cell:
    if effect is None:
        return EMPTY
    if effect.difference is None:
        return Cell(UNKNOWN)
    d = effect.difference
    ratio = f"\n{_ratio(effect)}" if effect.ratio else ""
    return Cell(cells.estimate(d.mean, d.low, d.high, _number) + ratio, d.mean)


def _matrix_cell(effect: Effect | None) -> MatrixCell | None:
    if effect is None or effect.difference is None:
        return None
    d, mean = effect.difference, _number(effect.difference.mean)
    sign = "" if mean.startswith("-") else "+"
    return MatrixCell(sign + mean, cells.interval(d.low, d.high, _number), effect_state(effect))


def _number(value: float) -> str:
    return number_text(value, 4)


def _ratio(effect: Effect) -> str:
    ratio = effect.ratio
    return f"{ratio.value:.2f} times [{ratio.low:.2f}, {ratio.high:.2f}]" if ratio else UNKNOWN


def _pair(effect: Effect) -> str:
    return _pair_name((effect.source, effect.target))


def _pair_name(pair: Pair) -> str:
    return ALL if pair == (ALL, ALL) else f"{pair[0]} to {pair[1]}"
