"""A run over the whole target catalogue. Reads cases and a scorer, produces the cases of a run folder.

The scorer gets the case as an ablation shows it (`eval.data.history_ablation`), without its truth.

Every metric is given three times: over the whole catalogue and over its *seen* and *unseen* items apart, each with
candidates and truth limited to its kind (see `eval.data.protocols`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from eval.data import Ablate, Case, CatalogueScores, Dataset, OutOfFold, Say, Scorer, guard, slices_of, unchanged
from eval.runs.folder import CaseResult, RunFolder
from eval.stats import METRICS, by_kind, reference_scores, tied_ranks_within
from eval.systems import ProgressLines
from retrieval.folds import stable_hash

KEPT: Final = 100
"""Item ids of a ranking that are kept."""
LIST: Final = 10
"""Length of the list that novelty, diversity and popularity are measured on."""


def remaining_cases(folder: RunFolder, cases: Sequence[Case]) -> list[Case]:
    """Those that the folder has not got."""
    done = {result.key for result in folder.results()}
    return [case for case in cases if (case.user, case.source, case.target) not in done]


def run_catalogue(
    folder: RunFolder,
    data: Dataset,
    cases: Sequence[Case],
    others: OutOfFold,
    scorer: Scorer,
    say: Say,
    ablate: Ablate = unchanged,
) -> None:
    """Score every case that the folder has not got.

    Args:
        ablate: what of a case the scorer sees.

    Raises:
        DataError: a case leaks.
        UsageError: there is no other user whose history could be shown.
    """
    left = remaining_cases(folder, cases)
    progress = ProgressLines(folder.manifest.name, len(left), say)
    for case in left:
        folder.append(measure_case(data, case, others.touched(case), scorer, ablate))
        progress.one_more()


def measure_case(
    data: Dataset, case: Case, touched: NDArray[np.int64], scorer: Scorer, ablate: Ablate = unchanged
) -> CaseResult:
    """One case; `touched` are the training users of each row. Raises as `run_catalogue`."""
    snapshot = data.index.snapshot(case.target)
    asked = replace(ablate(case), truth=())
    guard(asked)
    began = perf_counter()
    scores = scorer(asked)
    seconds = perf_counter() - began
    best = _best(scores, case)
    truth = snapshot.rows(case.truth)
    items = data.store.items(case.target, case.truth)
    return CaseResult(
        user=case.user,
        source=case.source,
        target=case.target,
        slices=slices_of(case, list(items.values()), int(touched[truth].max(initial=0))),
        ranking=tuple(snapshot.ids(best)),
        metrics=_measured(scores, truth, touched) | _of_list(best[:LIST], touched, snapshot.vectors),
        references={name: _measured(blind, truth, touched) for name, blind in reference_scores(touched).items()},
        seconds=seconds,
    )


def _measured(scores: NDArray[Any], truth: NDArray[np.int64], touched: NDArray[np.int64]) -> dict[str, float]:
    """Every metric over the whole catalogue, its seen and its unseen items."""
    found: dict[str, float] = {}
    for kind, kept in by_kind(touched).items():
        at = tied_ranks_within(scores, truth, kept)
        prefix = "" if kind == "all" else f"{kind} "
        found |= {prefix + name: metric(at) for name, metric in METRICS.items()} if at else {}
    return found


def _best(scores: CatalogueScores, case: Case) -> NDArray[np.int64]:
    """The first rows, best first. Of equal scores chance decides, by case: else all ties would show the same items."""
    seed = stable_hash(f"ties {case.user} {case.source} {case.target}")
    chance = np.random.default_rng(seed).permutation(len(scores))
    return np.asarray(np.lexsort((chance, -scores))[:KEPT], dtype=np.int64)


def _of_list(rows: NDArray[np.int64], touched: NDArray[np.int64], vectors: NDArray[np.float32]) -> dict[str, float]:
    """Of the list that a person would see.

    `novelty@10`: mean self-information -log2 of the share of touches, one added to each item (Zhou et al. 2010).
    `diversity@10`: mean cosine distance between two items of the list (Ziegler et al. 2005).
    `popularity lift@10`: mean training count over the catalogue's mean.
    """
    share = (touched[rows] + 1) / (touched.sum() + len(touched))
    unit = vectors[rows] / np.maximum(np.linalg.norm(vectors[rows], axis=1, keepdims=True), 1e-9)
    pairs = np.triu_indices(len(rows), 1)
    return {
        "novelty@10": float(-np.log2(share).mean()),
        "diversity@10": float(1 - (unit @ unit.T)[pairs].mean()) if len(rows) > 1 else 0.0,
        "popularity lift@10": float(touched[rows].mean() / max(touched.mean(), 1e-9)),
    }
