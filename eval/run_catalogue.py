"""A run over the whole target catalogue. Reads cases and a scorer, produces the cases of a run folder.

Every metric is given three times: over the whole catalogue and over its *seen* and *unseen* items apart, each with
candidates and truth limited to its kind (see `eval.protocol`).
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eval.baseline_types import Scorer
from eval.datasets import Dataset, Say
from eval.judging import Progress
from eval.leakage import guard
from eval.metrics import METRICS, by_kind, places_within
from eval.others import Others
from eval.protocol import Case
from eval.run_folder import CaseResult, RunFolder
from eval.slicing import slices_of

KEPT: Final = 100
"""Item ids of a ranking that are kept."""
LIST: Final = 10
"""Length of the list that novelty, diversity and popularity are measured on."""


def run_catalogue(
    folder: RunFolder, data: Dataset, cases: Sequence[Case], others: Others, scorer: Scorer, say: Say
) -> None:
    """Score every case that the folder has not got. Raises DataError if a case leaks."""
    done = {result.key for result in folder.results()}
    left = [case for case in cases if (case.user, case.source, case.target) not in done]
    progress = Progress(folder.manifest.name, len(left), say)
    for case in left:
        guard(case)
        folder.append(catalogue_case(data, case, others.touched(case), scorer))
        progress.one_more()


def catalogue_case(data: Dataset, case: Case, touched: NDArray[np.int64], scorer: Scorer) -> CaseResult:
    """One case; `touched` are the training users of each row."""
    snapshot = data.index.snapshot(case.target)
    began = perf_counter()
    scores = scorer(case)
    seconds = perf_counter() - began
    best = np.argsort(-scores, kind="stable")[:KEPT]
    truth = snapshot.rows(case.truth)
    found: dict[str, float] = {}
    for kind, kept in by_kind(touched).items():
        at = places_within(scores, truth, kept)
        prefix = "" if kind == "all" else f"{kind} "
        found |= {prefix + name: metric(at) for name, metric in METRICS.items()} if at else {}
    return CaseResult(
        user=case.user,
        source=case.source,
        target=case.target,
        slices=slices_of(case, int(next(iter(touched[truth]), 0))),
        ranking=tuple(snapshot.ids(best)),
        metrics=found | _of_list(best[:LIST], touched, snapshot.vectors),
        seconds=seconds,
    )


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
