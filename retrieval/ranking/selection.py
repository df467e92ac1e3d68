"""Selection. Reads the scores of rows, produces the rows that are shown: no two editions of a work, the first unread
volume of a series, and a list as diverse as the settings ask for."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from retrieval.index import ItemScores, Positions, Snapshot
from retrieval.ranking.filters import Mask

POOL: Final = 5
"""How many times k rows are looked at, so that editions, series and diversity have what to choose from."""
_SAMPLE: Final = 16_384
"""Rows of a large catalogue that show what a high score is."""


class Selected(NamedTuple):
    """A row to show, and the row that has the score: of a series the first unread volume and the best-fitting one."""

    row: int
    scored_row: int
    score: float


def select(
    target: Snapshot, rows: Positions, scores: ItemScores, mask: Mask, k: int, diversity: float
) -> list[Selected]:
    """At most k of the rows, best first.

    Args:
        scores: of the rows, shape (rows,).
        mask: the eligible ones of all rows, shape (items,).
        diversity: of `Retriever`'s settings, in [0, 1].
    """
    limit = k if diversity == 0 else len(rows)
    pool = k * POOL
    selected = _one_per_work(target, *_top(rows, scores, pool), mask, limit)
    while len(selected) < k and pool < len(rows):  # long series can fill a pool
        pool *= POOL
        selected = _one_per_work(target, *_top(rows, scores, pool), mask, limit)
    return selected if diversity == 0 else _diversify(target, selected, k, diversity)


def best_rows(scores: ItemScores, k: int) -> Positions:
    """The k best of more than k rows, in no order. Of many rows only the high ones, judged by a sample, are sorted."""
    step = max(1, len(scores) // _SAMPLE)
    sample = scores[::step]
    # Four times as deep as k lies in the sample, and a few more, so that chance hardly ever leaves too few.
    depth = 4 * k // step + 16
    if depth < len(sample):
        high = np.flatnonzero(scores >= np.partition(sample, -depth)[-depth])
        if len(high) >= k:
            return _top(high, scores[high], k)[0]
    return _top(np.arange(len(scores)), scores, k)[0]


def _top(rows: Positions, scores: ItemScores, k: int) -> tuple[Positions, ItemScores]:
    """The k best, best first, ties by row."""
    if k < len(rows):
        best = np.flatnonzero(scores >= np.partition(scores, -k)[-k])
        rows, scores = rows[best], scores[best]
    order = np.lexsort((rows, -scores))[:k]
    return rows[order], scores[order]


def _one_per_work(target: Snapshot, rows: Positions, scores: ItemScores, mask: Mask, limit: int) -> list[Selected]:
    """The first unread volume of each series and the best edition of each work: the first `limit`."""
    works: set[int] = set()
    selected: list[Selected] = []
    for row, score in zip(rows.tolist(), scores.tolist(), strict=True):
        series = target.series.get(row)
        shown = row if series is None else int(series[mask[series]][0])
        work = int(target.works[shown])
        if work not in works:
            works.add(work)
            selected.append(Selected(shown, row, score))
        if len(selected) == limit:
            break
    return selected


def _diversify(target: Snapshot, selected: list[Selected], k: int, diversity: float) -> list[Selected]:
    """Maximal marginal relevance (Carbonell and Goldstein 1998): greedily (1-d)·score - d·nearest selected."""
    if not selected:
        return []
    vectors = target.vectors[np.array([one.row for one in selected], dtype=np.int64)]
    gain = (1 - diversity) * np.array([one.score for one in selected])
    nearest = np.full(len(selected), -1.0)
    remaining = np.ones(len(selected), dtype=bool)
    order: list[int] = []
    for _ in range(min(k, len(selected))):
        best = int(np.argmax(np.where(remaining, gain - diversity * nearest, -np.inf)))
        order.append(best)
        remaining[best] = False
        np.maximum(nearest, vectors @ vectors[best], out=nearest)
    return [selected[i] for i in order]
