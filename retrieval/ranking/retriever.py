"""The retriever. Reads a `Query`, produces a `Ranking` of the target domain's items.

Several sources speak for a candidate: its text (`retrieval.ranking.profile`), its words, and the crowd
(`retrieval.ranking.collaborative`).
What they say, weighted (`retrieval.ranking.fusion`), adds up to the score. The best-matching disliked items pull down
what the
text says, scaled by `dislike_weight`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache, reduce
from typing import Final, NamedTuple

import numpy as np
from threadpoolctl import ThreadpoolController

from retrieval.errors import UsageError
from retrieval.index import Index, Positions, Scores, Snapshot
from retrieval.ranking.collaborative import Crowd
from retrieval.ranking.filters import Mask, eligible
from retrieval.ranking.fusion import SOURCES, FusionFit, Source, fusion_fit
from retrieval.ranking.profile import Profile, liked_and_disliked, soft_maximum
from retrieval.relations import RelationGraph
from retrieval.settings import RetrieverSettings
from retrieval.store import Store
from retrieval.types import Candidate, Match, Query, Ranking

_POOL: Final = 5
"""How many times k rows are looked at, so that editions, series and diversity have what to choose from."""
_AS_MANY: Final = 20
"""A short list is looked for among as many rows as one of so many, so that its places do not depend on its length."""
_SHORT: Final = 4
"""A history of fewer items has each of them propose as much more."""
_SAMPLED: Final = 16_384
"""Rows of a large catalogue by which it is judged what a high score is."""
_MATCHES: Final = 5
_TEXT: Final = "text"
_RELATED: Final = 100
"""Most items that the graph proposes."""
_SMOOTHING: Final = 60
"""Of reciprocal ranks: how much the first ones count alike (Cormack, Clarke and Büttcher 2009)."""

Voices = dict[Source, Scores]
"""What each source says for each row that is asked about, weighted."""


class _Chosen(NamedTuple):
    """A row to be shown, and the one that scored so: of a series the first unread volume and the best-fitting one."""

    row: int
    scored: int
    score: float


@dataclass(frozen=True)
class _Asked:
    """A query, made ready."""

    query: Query
    target: Snapshot
    liked: Profile
    disliked: Profile
    mask: Mask
    weights: dict[Source, float]


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()


def _one_thread() -> AbstractContextManager[object]:
    """One BLAS thread: at products this narrow several mostly wait for one another, long where a core is busy."""
    limited: AbstractContextManager[object] = _libraries().limit(limits=1, user_api="blas")
    return limited


class Retriever:
    """Ranks the target domain for a query.

    A query of known items touches neither the encoder nor Chroma; free text loads the encoder.

    Args:
        crowd: the other people; None: everybody in the index.
        fusion: the sources' weights; None: the shipped ones.
        graph: how items hang together; None: relations say nothing.

    Raises:
        UsageError: `settings.sources` names a source that there is not, or leaves out the text.
    """

    def __init__(
        self,
        store: Store,
        index: Index,
        settings: RetrieverSettings,
        crowd: Crowd | None = None,
        fusion: FusionFit | None = None,
        graph: RelationGraph | None = None,
    ) -> None:
        self.store = store
        self.index = index
        self.settings = settings
        self.fusion = fusion or fusion_fit(index.encoder.name)
        self.graph = graph
        self._crowd = crowd
        self._indexed: Crowd | None = None
        if settings.sources is not None and not {_TEXT} <= set(settings.sources) <= set(SOURCES):
            raise UsageError(
                f"retriever.sources must hold text and may hold others, not {', '.join(settings.sources) or 'nothing'}",
                hint=f"sources: {', '.join(SOURCES)}",
            )

    def rank(self, query: Query) -> Ranking:
        """The best `query.k` candidates, fewer if fewer are eligible.

        Raises:
            UsageError: neither a liked item with a vector nor a text to go by.
            IndexMissing, IndexMismatch: see `Index.snapshot`.
        """
        asked = self._asked(query)
        with _one_thread():
            others = self._others(asked)
            rows = self._rows(asked, others)
            # From here on only these are looked at: of a large catalogue they are few.
            voices = {_TEXT: self._text(asked, rows), **{source: said[rows] for source, said in others.items()}}
            chosen = self._choose(asked.target, rows, _total(voices), asked.mask, query.k)
            return Ranking(candidates=tuple(self._candidates(asked, chosen, rows, voices)), source="retrieval")

    def scores(self, query: Query) -> tuple[Mask, Scores]:
        """Which rows of the target's snapshot are eligible, and the score of every row; both of shape (items,).

        Raises: as `rank`.
        """
        asked = self._asked(query)
        return asked.mask, _total(self._all(asked))

    def voices(self, query: Query, weights: dict[Source, float]) -> Voices:
        """What each of these sources says for every row of the target, times its weight; shape (items,) each.

        Raises: as `rank`.
        """
        return self._all(self._asked(query, weights))

    def _all(self, asked: _Asked) -> Voices:
        with _one_thread():
            every = np.arange(len(asked.mask), dtype=np.int64)
            return {_TEXT: self._text(asked, every), **self._others(asked)}

    def _asked(self, query: Query, weights: dict[Source, float] | None = None) -> _Asked:
        target = self.index.snapshot(query.target)
        liked, disliked = liked_and_disliked(query, self.index, self.settings)
        fitted = self.fusion.for_person(liked.items, self.settings.sources, self.settings.popularity)
        return _Asked(query, target, liked, disliked, _open_to(query, target), weights or fitted)

    def popularity(self, domain: str, ids: Sequence[str]) -> float:
        """Share of the domain's catalogue that fewer people touched than the median of these items, in [0, 1).

        0 where the popularity of items has no say, whatever they are.
        """
        if not self.fusion.for_person(1, self.settings.sources, self.settings.popularity).get("popularity"):
            return 0.0
        target = self.index.snapshot(domain)
        return self.crowd().above(target, target.rows(ids))

    def crowd(self) -> Crowd:
        """The other people that candidates are judged by."""
        if self._crowd is not None:
            return self._crowd
        behaviour = self.index.behaviour()
        if self._indexed is None or self._indexed.behaviour is not behaviour:
            self._indexed = Crowd(behaviour)
        return self._indexed

    def _others(self, asked: _Asked) -> Voices:
        """What every source but the text says for all rows: sparse products, which cost little beside the text's."""
        liked, target, crowd, graph = asked.liked, asked.target, self.crowd(), self.graph
        says = {
            "words": lambda: target.words.scores(liked.texts),
            "popularity": lambda: crowd.popularity(target, asked.query.history.last_seen),
            "cooccurrence": lambda: crowd.cooccurrence(liked.rows, target),
            "neighbours": lambda: crowd.neighbours(liked.rows, target, asked.query.history.user),
            "relations": lambda: _related(graph, liked, target) if graph else np.zeros(len(target.vectors), np.float32),
        }
        return {s: np.float32(w) * says[s]() for s, w in asked.weights.items() if s in says}

    def _text(self, asked: _Asked, rows: Positions) -> Scores:
        """What the text says for these rows; shape (rows,)."""
        vectors = asked.target.vectors
        # Gathering most rows costs more than scoring a few in vain.
        everything = 2 * len(rows) > len(vectors)
        some = None if everything else rows
        said = soft_maximum(vectors, asked.liked, self.settings.temperature, some)
        if asked.disliked and self.settings.dislike_weight:
            away = soft_maximum(vectors, asked.disliked, self.settings.temperature, some)
            said -= np.float32(self.settings.dislike_weight) * np.maximum(away, 0)
        said *= np.float32(asked.weights.get(_TEXT, 0))  # fitted weights may leave it out
        return said[rows] if everything else said

    def _rows(self, asked: _Asked, others: Voices) -> Positions:
        """Eligible rows: all, or of a large catalogue those near the history and the best by the other sources."""
        mask, codes = asked.mask, asked.target.codes
        free, enough = int(np.count_nonzero(mask)), max(asked.query.k, _AS_MANY) * _POOL
        if codes is None or free <= max(self.index.settings.exact_limit, enough):
            return np.flatnonzero(mask)
        # Codes do not know the mask: they are asked for so much more that enough is left, of a short history, too.
        wanted = enough * max(1, _SHORT // len(asked.liked.vectors)) * len(mask) // free
        if wanted * len(asked.liked.vectors) >= free:  # of so few, all are scored sooner than the right ones found
            return np.flatnonzero(mask)
        proposed = np.zeros(len(mask), dtype=np.bool_)
        proposed[codes.near(asked.liked.vectors, wanted)] = True
        proposed[codes.rows :] = True
        proposed &= mask
        if np.count_nonzero(proposed) < enough:
            return np.flatnonzero(mask)
        if others:
            said = _total(others)
            said[~mask] = -np.inf
            proposed[_best(said, enough)] = True
        return np.flatnonzero(proposed)

    def _choose(self, target: Snapshot, rows: Positions, scores: Scores, mask: Mask, k: int) -> list[_Chosen]:
        """One edition a work, one volume a series (its first unread one), then diversity; at most k."""
        enough = k if self.settings.diversity == 0 else len(rows)
        pool = k * _POOL
        kept = _one_a_work(target, *_top(rows, scores, pool), mask, enough)
        while len(kept) < k and pool < len(rows):  # long series can fill a pool
            pool *= _POOL
            kept = _one_a_work(target, *_top(rows, scores, pool), mask, enough)
        if self.settings.diversity == 0:
            return kept
        return _diverse(target, kept, k, self.settings.diversity)

    def _candidates(
        self, asked: _Asked, chosen: Sequence[_Chosen], asked_about: Positions, voices: Voices
    ) -> Iterator[Candidate]:
        target, liked = asked.target, asked.liked
        places = np.searchsorted(asked_about, [one.scored for one in chosen])
        spoken = {source: voice[places].tolist() for source, voice in voices.items()}
        rows = np.array([one.row for one in chosen], dtype=np.int64)
        ids = target.ids(rows)
        items = self.store.items(target.manifest.domain, ids)
        similarity = target.vectors[rows] @ liked.vectors.T
        parts = np.exp(similarity / self.settings.temperature) * liked.weights
        shares = parts / parts.sum(axis=1, keepdims=True)
        best = np.argsort(-np.where(liked.liked, shares, -1), axis=1, kind="stable")[:, :_MATCHES]
        speaking = (best, np.take_along_axis(similarity, best, axis=1), np.take_along_axis(shares, best, axis=1))
        for at, (item_id, one, *matches) in enumerate(zip(ids, chosen, *(m.tolist() for m in speaking), strict=True)):
            item = items.get(item_id)
            if item is not None and item.available:  # else deleted or withdrawn after the last index run
                said = {source: voice[at] for source, voice in spoken.items()}
                yield Candidate(item=item, score=one.score, stages=said, matches=tuple(_matches(liked, *matches)))


def _total(voices: Voices) -> Scores:
    """The score of every row, as an array of its own."""
    first, *rest = voices.values()
    return reduce(lambda total, said: np.add(total, said, out=total), rest, first.copy())


def _related(graph: RelationGraph, liked: Profile, target: Snapshot) -> Scores:
    """Reciprocal ranks of the items that the graph leads to, 1 for the first; 0 elsewhere."""
    said = np.zeros(len(target.vectors), dtype=np.float32)
    starts = [entry for entry, clear in zip(liked.entries, liked.liked, strict=True) if clear]
    found = graph.ranked(starts, target.manifest.domain, _RELATED)
    ranks = {item_id: rank for rank, item_id in enumerate(found, 1) if item_id in target.positions}
    rows = target.rows(ranks)
    said[rows] = (_SMOOTHING + 1) / (_SMOOTHING + np.fromiter(ranks.values(), dtype=np.float32, count=len(ranks)))
    return said


def _open_to(query: Query, target: Snapshot) -> Mask:
    """Rows that fulfil the filter and are no edition of what the person knows."""
    mask = eligible(target, query.filter)
    known = target.rows(e.item.id for e in query.history.entries if e.item.domain == query.target)
    if len(known):
        mask[np.isin(target.works, target.works[known])] = False
    return mask


def _top(rows: Positions, scores: Scores, k: int) -> tuple[Positions, Scores]:
    """The k best, best first, ties by row."""
    if k < len(rows):
        best = np.flatnonzero(scores >= np.partition(scores, -k)[-k])
        rows, scores = rows[best], scores[best]
    top = np.lexsort((rows, -scores))[:k]
    return rows[top], scores[top]


def _best(scores: Scores, k: int) -> Positions:
    """The k best rows, fewer than in all, in no order. Of many only those are sorted that a sample shows to be high."""
    every = max(1, len(scores) // _SAMPLED)
    sample = scores[::every]
    # Four times as deep as k lies in the sample, and a few more, so that chance hardly ever leaves too few.
    deep = 4 * k // every + 16
    if deep < len(sample):
        high = np.flatnonzero(scores >= np.partition(sample, -deep)[-deep])
        if len(high) >= k:
            return _top(high, scores[high], k)[0]
    return _top(np.arange(len(scores)), scores, k)[0]


def _one_a_work(target: Snapshot, rows: Positions, scores: Scores, mask: Mask, enough: int) -> list[_Chosen]:
    """The first unread volume of each series and the best edition of each work: the first `enough`."""
    works: set[int] = set()
    kept: list[_Chosen] = []
    for row, score in zip(rows.tolist(), scores.tolist(), strict=True):
        first = _first_unread(target, row, mask)
        work = int(target.works[first])
        if work not in works:
            works.add(work)
            kept.append(_Chosen(first, row, score))
        if len(kept) == enough:
            break
    return kept


def _matches(
    liked: Profile, rows: Sequence[int], similarity: Sequence[float], shares: Sequence[float]
) -> Iterator[Match]:
    for row, near, share in zip(rows, similarity, shares, strict=True):
        domain, item_id = liked.entries[row]
        if liked.liked[row]:
            yield Match(domain=domain, item=item_id, similarity=near, share=share)


def _first_unread(target: Snapshot, row: int, mask: Mask) -> int:
    """The earliest volume of the row's series that is still eligible; the row itself outside any series."""
    series = target.series.get(row)
    if series is None:
        return row
    return int(series[mask[series]][0])


def _diverse(target: Snapshot, kept: list[_Chosen], k: int, diversity: float) -> list[_Chosen]:
    """Maximal marginal relevance (Carbonell and Goldstein 1998): greedily (1-d)·score - d·nearest chosen."""
    if not kept:
        return []
    vectors = target.vectors[np.array([one.row for one in kept], dtype=np.int64)]
    gain = (1 - diversity) * np.array([one.score for one in kept])
    nearest = np.full(len(kept), -1.0)
    open_ = np.ones(len(kept), dtype=bool)
    order: list[int] = []
    for _ in range(min(k, len(kept))):
        best = int(np.argmax(np.where(open_, gain - diversity * nearest, -np.inf)))
        order.append(best)
        open_[best] = False
        np.maximum(nearest, vectors @ vectors[best], out=nearest)
    return [kept[i] for i in order]
