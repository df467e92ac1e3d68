"""The retriever. Reads a `Query`, produces a `Ranking` of the target domain's items.

In this order: the query becomes two history profiles, liked and disliked, and a mask of the eligible rows (`query`);
each signal scores the rows, the text by the profiles' vectors, the others by BM25, by other users (`signals`) and by
the relation graph; the weighted sum of the signals is the score; the best rows are selected (no two editions of a work,
the first unread volume of a series, a list as diverse as the settings ask for) and become candidates with the history
items that speak for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple

import numpy as np
from threadpoolctl import ThreadpoolController

from retrieval.errors import UsageError
from retrieval.index import Index, ItemScores, Positions, Snapshot
from retrieval.ranking.query import HistoryProfile, Mask, eligible, history_profiles
from retrieval.ranking.signals import (
    SIGNALS,
    CollaborativeSignals,
    FusionFit,
    Signal,
    fusion_fit,
    log_sum_exp_pooling,
    relation_scores,
)
from retrieval.relations import RelationGraph
from retrieval.settings import RetrieverSettings
from retrieval.store import Store
from retrieval.types import Candidate, Match, Query, Ranking

_LEAST_K: Final = 20
"""A shorter list is looked for among as many rows as one of this length, so that its order does not depend on k."""
_SHORT_HISTORY: Final = 4
"""The codes propose more rows for each item of a history that is shorter than this."""
_POOL: Final = 5
"""How many times k rows are looked at, so that editions, series and diversity have what to choose from."""
_SAMPLE: Final = 16_384
"""Rows of a large catalogue that show what a high score is."""
_MATCHES: Final = 5
"""Most history items that a candidate names."""
_TEXT: Final = "text"
SignalScores = dict[Signal, ItemScores]
"""What each signal scores for each row, times its weight."""


@dataclass(frozen=True)
class _PreparedQuery:
    query: Query
    target: Snapshot
    liked: HistoryProfile
    disliked: HistoryProfile
    mask: Mask
    weights: dict[Signal, float]


class _Selected(NamedTuple):
    """A row to show, and the row that has the score: of a series the first unread volume and the best-fitting one."""

    row: int
    scored_row: int
    score: float


@cache
def _threadpools() -> ThreadpoolController:
    return ThreadpoolController()


def _one_blas_thread() -> AbstractContextManager[object]:
    """At products this narrow several threads mostly wait for one another, long where a core is busy."""
    limited: AbstractContextManager[object] = _threadpools().limit(limits=1, user_api="blas")
    return limited


class Retriever:
    """Ranks the target domain for a query.

    A query of known items touches neither the encoder nor Chroma; free text loads the encoder.

    Args:
        collaborative: signals of other users; None: of all users in the index.
        fusion: the signals' weights; None: the shipped ones.
        graph: the relation graph; None: the signal of relations is 0.

    Raises:
        UsageError: `settings.signals` names an unknown signal, or leaves out the text.
    """

    def __init__(
        self,
        store: Store,
        index: Index,
        settings: RetrieverSettings,
        collaborative: CollaborativeSignals | None = None,
        fusion: FusionFit | None = None,
        graph: RelationGraph | None = None,
    ) -> None:
        self.store = store
        self.index = index
        self.settings = settings
        self.fusion = fusion or fusion_fit(index.encoder.name)
        self.graph = graph
        self._collaborative = collaborative
        self._indexed: CollaborativeSignals | None = None
        if settings.signals is not None and not {_TEXT} <= set(settings.signals) <= set(SIGNALS):
            raise UsageError(
                f"retriever.signals must hold text and may hold others, not {', '.join(settings.signals) or 'nothing'}",
                hint=f"signals: {', '.join(SIGNALS)}",
            )

    def rank(self, query: Query) -> Ranking:
        """The best `query.k` candidates, fewer if fewer are eligible.

        Raises:
            UsageError: neither a liked item with a vector nor a text.
            IndexMissing, IndexMismatch: see `Index.snapshot`.
        """
        prepared = self._prepare(query)
        with _one_blas_thread():
            others = self._other_signals(prepared)
            rows = self._rows_to_score(prepared, others)
            # From here on only these rows are scored: of a large catalogue they are few.
            signals = {_TEXT: self._text_scores(prepared, rows), **{name: s[rows] for name, s in others.items()}}
            scores = _fused(signals)
            selected = _select(prepared.target, rows, scores, prepared.mask, query.k, self.settings.diversity)
            return Ranking(candidates=tuple(self._candidates(prepared, selected, rows, signals)), source="retrieval")

    def scores(self, query: Query) -> tuple[Mask, ItemScores]:
        """Which rows of the target's snapshot are eligible, and the score of every row; both of shape (items,).

        Raises: as `rank`.
        """
        prepared = self._prepare(query)
        return prepared.mask, _fused(self._all_scores(prepared))

    def signal_scores(self, query: Query, weights: dict[Signal, float]) -> SignalScores:
        """The score of each of these signals for every row of the target, times its weight; shape (items,) each.

        Raises: as `rank`.
        """
        return self._all_scores(self._prepare(query, weights))

    def popularity_percentile(self, domain: str, ids: Sequence[str]) -> float:
        """Share of the domain's catalogue with fewer users than the median of these items, in [0, 1).

        0 where popularity has no weight, whatever the items.
        """
        if not self.fusion.weights_for(1, self.settings.signals, self.settings.popularity).get("popularity"):
            return 0.0
        target = self.index.snapshot(domain)
        return self.collaborative().popularity_percentile(target, target.rows(ids))

    def collaborative(self) -> CollaborativeSignals:
        """The signals of other users, as of the last run of the index."""
        if self._collaborative is not None:
            return self._collaborative
        interactions = self.index.interactions()
        if self._indexed is None or self._indexed.interactions is not interactions:
            self._indexed = CollaborativeSignals(interactions)
        return self._indexed

    def _prepare(self, query: Query, weights: dict[Signal, float] | None = None) -> _PreparedQuery:
        target = self.index.snapshot(query.target)
        liked, disliked = history_profiles(query, self.index, self.settings)
        fitted = self.fusion.weights_for(liked.items, self.settings.signals, self.settings.popularity)
        mask = eligible(target, query.filter)
        known = target.rows(e.item.id for e in query.history.entries if e.item.domain == query.target)
        if len(known):  # no edition of a known item is recommended
            mask[np.isin(target.works, target.works[known])] = False
        return _PreparedQuery(query, target, liked, disliked, mask, weights or fitted)

    def _all_scores(self, prepared: _PreparedQuery) -> SignalScores:
        with _one_blas_thread():
            rows = np.arange(len(prepared.mask), dtype=np.int64)
            return {_TEXT: self._text_scores(prepared, rows), **self._other_signals(prepared)}

    def _other_signals(self, prepared: _PreparedQuery) -> SignalScores:
        """The signals but the text, for all rows: sparse products, which cost little beside the text's."""
        liked, target, history = prepared.liked, prepared.target, prepared.query.history
        users, graph = self.collaborative(), self.graph
        compute = {
            "bm25": lambda: target.bm25.scores(liked.texts),
            "popularity": lambda: users.popularity(target, history.last_seen),
            "cooccurrence": lambda: users.cooccurrence(liked.rows, target),
            "neighbours": lambda: users.neighbours(liked.rows, target, history.user),
            "relations": lambda: relation_scores(graph, liked, target),
        }
        return {name: np.float32(w) * compute[name]() for name, w in prepared.weights.items() if name in compute}

    def _text_scores(self, prepared: _PreparedQuery, rows: Positions) -> ItemScores:
        """Pooled cosines with the liked profile, less a part of those with the disliked one; shape (rows,)."""
        vectors, temperature = prepared.target.vectors, self.settings.temperature
        # Gathering most rows costs more than scoring the few others in vain.
        score_all = 2 * len(rows) > len(vectors)
        some = None if score_all else rows
        scores = log_sum_exp_pooling(vectors, prepared.liked, temperature, some)
        if prepared.disliked and self.settings.dislike_weight:
            dislike = log_sum_exp_pooling(vectors, prepared.disliked, temperature, some)
            scores -= np.float32(self.settings.dislike_weight) * np.maximum(dislike, 0)
        scores *= np.float32(prepared.weights.get(_TEXT, 0))  # the fitted weight may be 0
        return scores[rows] if score_all else scores

    def _rows_to_score(self, prepared: _PreparedQuery, others: SignalScores) -> Positions:
        """Eligible rows: all, or of a large catalogue those near the history and the best by the other signals."""
        mask, codes, queries = prepared.mask, prepared.target.quantized, prepared.liked.vectors
        free, enough = int(np.count_nonzero(mask)), max(prepared.query.k, _LEAST_K) * _POOL
        if codes is None or free <= max(self.index.settings.exact_limit, enough):
            return np.flatnonzero(mask)
        # The codes do not know the mask: they are asked for so much more that enough is left, of a short history, too.
        per_item = enough * max(1, _SHORT_HISTORY // len(queries)) * len(mask) // free
        if per_item * len(queries) >= free:  # scoring all is faster than searching so many
            return np.flatnonzero(mask)
        proposed = np.zeros(len(mask), dtype=np.bool_)
        proposed[codes.search(queries, per_item)] = True
        proposed[codes.rows :] = True  # incremental items have no codes
        proposed &= mask
        if np.count_nonzero(proposed) < enough:
            return np.flatnonzero(mask)
        if others:
            scores = _fused(others)
            scores[~mask] = -np.inf
            proposed[best_rows(scores, enough)] = True
        return np.flatnonzero(proposed)

    def _candidates(
        self, prepared: _PreparedQuery, selected: Sequence[_Selected], scored_rows: Positions, signals: SignalScores
    ) -> Iterator[Candidate]:
        target, liked = prepared.target, prepared.liked
        places = np.searchsorted(scored_rows, [one.scored_row for one in selected])
        stages = {name: scores[places].tolist() for name, scores in signals.items()}
        rows = np.array([one.row for one in selected], dtype=np.int64)
        ids = target.ids(rows)
        items = self.store.items(target.manifest.domain, ids)
        # Each history item's part of the pooled score, and the best ones of the clearly liked.
        similarity = target.vectors[rows] @ liked.vectors.T
        parts = np.exp(similarity / self.settings.temperature) * liked.weights
        shares = parts / parts.sum(axis=1, keepdims=True)
        best = np.argsort(-np.where(liked.clear, shares, -1), axis=1, kind="stable")[:, :_MATCHES]
        matched = (best, np.take_along_axis(similarity, best, axis=1), np.take_along_axis(shares, best, axis=1))
        for at, (item_id, one, *matches) in enumerate(zip(ids, selected, *(m.tolist() for m in matched), strict=True)):
            item = items.get(item_id)
            if item is not None and item.available:  # else deleted or withdrawn after the last index run
                by_signal = {name: scores[at] for name, scores in stages.items()}
                matching = tuple(_matches(liked, *matches))
                yield Candidate(item=item, score=one.score, stages=by_signal, matches=matching)


def _fused(signals: SignalScores) -> ItemScores:
    """The score of every row, as an array of its own."""
    first, *rest = signals.values()
    total = first.copy()
    for scores in rest:
        total += scores
    return total


def _matches(
    liked: HistoryProfile, rows: Sequence[int], similarities: Sequence[float], shares: Sequence[float]
) -> Iterator[Match]:
    for row, similarity, share in zip(rows, similarities, shares, strict=True):
        domain, item_id = liked.entries[row]
        if liked.clear[row]:
            yield Match(domain=domain, item=item_id, similarity=similarity, share=share)


def _select(
    target: Snapshot, rows: Positions, scores: ItemScores, mask: Mask, k: int, diversity: float
) -> list[_Selected]:
    """At most k of the rows, best first.

    Args:
        scores: of the rows, shape (rows,).
        mask: the eligible ones of all rows, shape (items,).
        diversity: of `Retriever`'s settings, in [0, 1].
    """
    limit = k if diversity == 0 else len(rows)
    pool = k * _POOL
    selected = _one_per_work(target, *_top(rows, scores, pool), mask, limit)
    while len(selected) < k and pool < len(rows):  # long series can fill a pool
        pool *= _POOL
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


def _one_per_work(target: Snapshot, rows: Positions, scores: ItemScores, mask: Mask, limit: int) -> list[_Selected]:
    """The first unread volume of each series and the best edition of each work: the first `limit`."""
    works: set[int] = set()
    selected: list[_Selected] = []
    for row, score in zip(rows.tolist(), scores.tolist(), strict=True):
        series = target.series.get(row)
        shown = row if series is None else int(series[mask[series]][0])
        work = int(target.works[shown])
        if work not in works:
            works.add(work)
            selected.append(_Selected(shown, row, score))
        if len(selected) == limit:
            break
    return selected


def _diversify(target: Snapshot, selected: list[_Selected], k: int, diversity: float) -> list[_Selected]:
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
