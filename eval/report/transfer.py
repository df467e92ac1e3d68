"""What transfer came to, to be read. Reads run folders, produces matrices and the page of `eval.report.page`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from markupsafe import Markup

from eval.report.page import NOTHING, UNKNOWN, Cell, Page, Plot, Sheet, plain
from eval.report.plots import State
from eval.report.transfer_matrix import Square, grid
from eval.runs import RunFolder
from eval.stats import number_text
from eval.studies import ALL, AUTO, CHOOSABLE, Arms, Effect, Matrix, matrix, results_of
from retrieval.types import Frozen
from xdrec_agent.adapt import Pair

RETRIEVAL: Final = "text alone"
FUSED: Final = "all sources"
RERANKING: Final = "reranking"
_RETRIEVED: Final = ("recall@100", "seen recall@100", "unseen recall@100")
_FUSED: Final = ("seen recall@100", "recall@100")
"""Of unseen items popularity says nothing."""
_RERANKED: Final = ("ndcg@10",)
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
        found = next(iter(self.matrices.values()))
        metric = found.metrics[0]
        said = [
            f"{arm} {_ratio(e)}" for arm in found.arms[1:] if (e := found.effect(arm, metric, (ALL, ALL))) and e.ratio
        ]
        harms = [f"{arm} ({', '.join(pairs)})" for arm in found.arms[1:] if (pairs := _harmed(found, arm, metric))]
        return f"{metric} beside {found.arms[0]}: {', '.join(said)}; " + (
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
    matrices = {
        RETRIEVAL: matrix(_arms(retrieved, CHOOSABLE, _RETRIEVED[0]), _RETRIEVED, rng),
        FUSED: matrix(_arms(fused, _names(fused), _FUSED[0]), _FUSED, rng),
    }
    if reranked:
        matrices[RERANKING] = matrix(_arms(reranked, _names(reranked), _RERANKED[0]), _RERANKED, rng)
    first = retrieved[0].manifest
    facts = {name: str(value) for name, value in first.protocol.items()} | {"data": first.data[:12]}
    return TransferResult(facts=facts, matrices=matrices)


def _names(folders: Sequence[RunFolder]) -> list[str]:
    return [folder.manifest.name for folder in folders]


def _arms(folders: Sequence[RunFolder], choosable: Sequence[str], decisive: str) -> Arms:
    results = {folder.manifest.name: results_of(folder.results()) for folder in folders}
    return Arms(results, choosable, decisive)


def state(effect: Effect | None) -> State:
    """Whether an effect helps, hurts, or cannot be told from none."""
    difference = effect and effect.difference
    if not difference or difference.low is None or difference.high is None:
        return "open"
    return "better" if difference.low > 0 else "worse" if difference.high < 0 else "open"


def page_of(result: TransferResult) -> Page:
    """The matrices as a page."""
    plots = tuple(
        Plot(
            title=f"{part}: {metric} beside {found.arms[0]}",
            text="Green: better, orange: worse, grey: cannot be told from no difference.",
            drawing=_grid(found, metric),
        )
        for part, found in result.matrices.items()
        for metric in found.metrics
    )
    first = next(iter(result.matrices.values()))
    pooled = first.effect(AUTO, first.metrics[0], (ALL, ALL))
    return Page(
        title="XDRec: transfer",
        verdict=plain(result.verdict),
        state=state(pooled),
        facts={name: plain(text) for name, text in result.facts.items()},
        sheets=tuple(
            _sheet(part, found, metric) for part, found in result.matrices.items() for metric in found.metrics
        ),
        reading=_READING,
        command="xdrec-eval transfer FOLDER --data DATA",
        source="in the folder of the runs",
        json=result.model_dump_json(indent=2),
        notes=tuple(f"auto, {part}: {_chosen(found.chosen)}" for part, found in result.matrices.items()),
        plots=plots,
    )


def _chosen(chosen: Mapping[str, str]) -> str:
    return "; ".join(f"{pair.replace(':', ' to ')} by {plain(arm)}" for pair, arm in chosen.items())


def _sheet(part: str, found: Matrix, metric: str) -> Sheet:
    first = plain(found.arms[0])
    rows = [
        (
            Cell(_pair(pair), _pair(pair)),
            *_first(found, metric, pair),
            *(_cell(e) for e in _effects(found, metric, pair)),
        )
        for pair in found.pairs
    ]
    columns = ("source to target", "users", first, *map(plain, found.arms[1:]))
    return Sheet(title=f"{part}, {metric}, differences to {first}", columns=columns, rows=tuple(rows))


def _effects(found: Matrix, metric: str, pair: Pair) -> list[Effect | None]:
    return [found.effect(arm, metric, pair) for arm in found.arms[1:]]


def _first(found: Matrix, metric: str, pair: Pair) -> tuple[Cell, Cell]:
    effect = found.effect(AUTO, metric, pair)  # it has all cases
    if effect is None:
        return Cell(NOTHING), Cell(NOTHING)
    return Cell(f"{effect.users:,}", effect.users), Cell(number_text(effect.before, 4), effect.before)


def _cell(effect: Effect | None) -> Cell:
    if effect is None:
        return Cell(NOTHING)
    if effect.difference is None:
        return Cell(UNKNOWN)
    ratio = f"\n{_ratio(effect)}" if effect.ratio else ""
    return Cell(_difference(effect) + ratio, effect.difference.mean)


def _difference(effect: Effect) -> str:
    difference = effect.difference
    if difference is None:
        return UNKNOWN
    said = number_text(difference.mean, 4)
    if difference.low is None or difference.high is None:
        return said
    return f"{said} [{number_text(difference.low, 4)}, {number_text(difference.high, 4)}]"


def _harmed(found: Matrix, arm: str, metric: str) -> list[str]:
    effects = (found.effect(arm, metric, pair) for pair in found.pairs if pair != (ALL, ALL))
    return [f"{e.source} to {e.target}" for e in effects if e and state(e) == "worse"]


def _ratio(effect: Effect) -> str:
    ratio = effect.ratio
    return f"{ratio.value:.2f} times [{ratio.low:.2f}, {ratio.high:.2f}]" if ratio else UNKNOWN


def _pair(pair: Pair) -> str:
    return ALL if pair == (ALL, ALL) else plain(f"{pair[0]} to {pair[1]}")


def _grid(found: Matrix, metric: str) -> Markup:
    rows: Sequence[tuple[str, list[Square | None]]] = [
        (_pair(pair), [_square(e) for e in _effects(found, metric, pair)]) for pair in found.pairs
    ]
    return grid(rows, [plain(arm) for arm in found.arms[1:]], f"{metric} of each arm beside {found.arms[0]}")


def _square(effect: Effect | None) -> Square | None:
    if effect is None or effect.difference is None:
        return None
    difference = effect.difference
    said = number_text(difference.mean, 4)
    ends = "" if difference.low is None or difference.high is None else _difference(effect).removeprefix(said).strip()
    return Square(said if said.startswith("-") else f"+{said}", ends, state(effect))
