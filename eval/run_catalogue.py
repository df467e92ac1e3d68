"""A run over the whole target catalogue. Reads cases and a scorer, produces the cases of a run folder.

Every metric is given three times: over the whole catalogue and over its *seen* and *unseen* items apart, each with
candidates and truth limited to its kind (see `eval.protocol`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eval.baseline_types import Scorer
from eval.choices import FOLDS
from eval.datasets import Dataset, Say
from eval.judging import Progress
from eval.leakage import guard
from eval.metrics import Places, ndcg, places, recall, reciprocal_rank
from eval.protocol import Case, Popularity, fold
from eval.run_folder import CaseResult, RunFolder
from eval.slicing import slices_of

KEPT: Final = 100
"""Item ids of a ranking that are kept."""
LIST: Final = 10
"""Length of the list that novelty, diversity and popularity are measured on."""
METRICS: Final[Mapping[str, Callable[[Places], float]]] = {
    **{f"recall@{k}": (lambda at, k=k: recall(at, k)) for k in (10, 50, 100, 500)},  # type: ignore[misc]
    "ndcg@10": lambda at: ndcg(at, 10),
    "mrr": reciprocal_rank,
}


def run_catalogue(
    folder: RunFolder, data: Dataset, cases: Sequence[Case], popularity: Sequence[Popularity], scorer: Scorer, say: Say
) -> None:
    """Score every case that the folder has not got.

    Args:
        popularity: by fold, among the users of all other folds (`eval.protocol.training_popularity`).

    Raises:
        DataError: a case leaks.
    """
    done = {result.key for result in folder.results()}
    left = [case for case in cases if (case.user, case.source, case.target) not in done]
    progress = Progress(folder.manifest.name, len(left), say)
    for case in left:
        guard(case)
        counts: Mapping[str, int] = popularity[fold(case.user, FOLDS)].get(case.target, {})
        folder.append(catalogue_case(data, case, counts, scorer))
        progress.one_more()


def catalogue_case(data: Dataset, case: Case, counts: Mapping[str, int], scorer: Scorer) -> CaseResult:
    """One case."""
    snapshot = data.index.snapshot(case.target)
    began = perf_counter()
    scores = scorer(case)
    seconds = perf_counter() - began
    best = np.argsort(-scores, kind="stable")[:KEPT]
    touched = np.array([counts.get(i, 0) for i in snapshot.positions], dtype=np.int64)
    truth = snapshot.rows(case.truth)
    parts = {"": np.ones(len(touched), dtype=bool), "seen ": touched > 0, "unseen ": touched == 0}
    found = {name + metric: value for name, kept in parts.items() for metric, value in _of(scores, truth, kept).items()}
    return CaseResult(
        user=case.user,
        source=case.source,
        target=case.target,
        slices=slices_of(case, case.truth[0], counts),
        ranking=tuple(snapshot.ids(best)),
        metrics=found | _of_list(best[:LIST], touched, snapshot.vectors),
        seconds=seconds,
    )


def _of(scores: NDArray[np.float32], truth: NDArray[np.int64], kept: NDArray[np.bool_]) -> dict[str, float]:
    relevant = truth[kept[truth]]
    if not len(relevant):
        return {}
    # Row numbers become positions among the slice's candidates.
    at = places(scores[kept], (np.cumsum(kept) - 1)[relevant])
    return {name: metric(at) for name, metric in METRICS.items()}


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
