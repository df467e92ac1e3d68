"""The retriever. Reads a `Query`, produces a `Ranking` of the target domain's items.

Score of a candidate c for a history of items h with weights w_h that sum to 1, x the centred unit vectors (snapshot),
T the temperature:

    s(c) = T · log Σ_h w_h · exp(x_c · x_h / T)

a soft maximum: one film that fits well is enough, which a mean over the history would wash out. Disliked items form the
same sum over themselves; where it is positive it is subtracted, scaled by `dislike_weight`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from retrieval.encoder import Vectors
from retrieval.errors import UsageError
from retrieval.filters import Mask, eligible
from retrieval.index import Index
from retrieval.settings import RetrieverSettings
from retrieval.snapshot import Positions, Snapshot, centred
from retrieval.store import Store
from retrieval.types import Candidate, HistoryEntry, Match, Query, Ranking

Scores = NDArray[np.float32]

_DAY: Final = 86_400.0
_BLOCK: Final = 1_024
"""Rows scored at a time: a block and its product stay in the processor's cache."""
_POOL: Final = 5
"""How many times k rows are looked at, so that editions, series and diversity have what to choose from."""
_MATCHES: Final = 5
_TEXT: Final = "text"


@dataclass(frozen=True)
class Profile:
    """What candidates are matched against: unit rows of one sign, with weights that sum to 1."""

    entries: tuple[tuple[str, str], ...]
    """(domain, item id) of each row; the free text is ("", "text")."""
    vectors: Vectors
    weights: Scores

    def __bool__(self) -> bool:
        return len(self.entries) > 0


def soft_maximum(candidates: Vectors, profile: Profile, temperature: float) -> Scores:
    """The module's formula for each row of `candidates`; shape (rows,), values in [-1, 1]."""
    out = np.empty(len(candidates), dtype=np.float32)
    right = np.ascontiguousarray(profile.vectors.T / np.float32(temperature))
    for start in range(0, len(candidates), _BLOCK):
        block = candidates[start : start + _BLOCK] @ right
        np.exp(block, out=block)
        out[start : start + _BLOCK] = block @ profile.weights
    np.log(out, out=out)
    out *= np.float32(temperature)
    return out


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
    """

    def __init__(self, store: Store, index: Index, settings: RetrieverSettings) -> None:
        self.store = store
        self.index = index
        self.settings = settings

    def rank(self, query: Query) -> Ranking:
        """The best `query.k` candidates, fewer if fewer are eligible.

        Raises:
            UsageError: neither a liked item with a vector nor a text to go by.
            IndexMissing, IndexMismatch: see `Index.snapshot`.
        """
        target = self.index.snapshot(query.target)
        liked, disliked = self._profiles(query, target)
        mask = _open_to(query, target)
        with _one_thread():
            rows, scores = self._scored(target, liked, disliked, mask, query.k * _POOL)
            chosen = self._choose(target, rows, scores, mask, query.k)
            return Ranking(candidates=tuple(self._candidates(target, chosen, liked)), source="retrieval")

    def scores(self, query: Query) -> tuple[Mask, Scores]:
        """Which rows of the target's snapshot are eligible, and the score of every row; both of shape (items,).

        Raises: as `rank`.
        """
        target = self.index.snapshot(query.target)
        liked, disliked = self._profiles(query, target)
        with _one_thread():
            return _open_to(query, target), self._score(target.vectors, liked, disliked)

    def _profiles(self, query: Query, target: Snapshot) -> tuple[Profile, Profile]:
        sources = [e for e in query.history.entries if e.item.domain != query.target]
        text = self._text_vector(query.text, target) if query.text and self.settings.text_weight else None
        liked = self._profile([e for e in sources if e.liked], text)
        if not liked:
            raise UsageError(
                "nothing to go by: no liked item outside the target domain, and no text",
                hint="name what you liked with --like TITLE, or what you want with --about TEXT",
            )
        return liked, self._profile([e for e in sources if e.disliked], None)

    def _text_vector(self, text: str, target: Snapshot) -> Vectors:
        return centred(self.index.encoder.encode([text]), target.mean)

    def _profile(self, entries: Sequence[HistoryEntry], text: Vectors | None) -> Profile:
        names: list[tuple[str, str]] = []
        blocks: list[Vectors] = []
        weights: list[float] = []
        snapshots = {domain: self.index.snapshot(domain) for domain in {e.item.domain for e in entries}}
        # Less what came after the last index run.
        found = [(e, row) for e in entries for row in _vector(snapshots[e.item.domain], e.item.id)]
        newest = max((e.timestamp for e, _ in found if e.timestamp is not None), default=None)
        for entry, row in found:
            names.append((entry.item.domain, entry.item.id))
            blocks.append(row)
            weights.append(abs(entry.preference) * self._recency(entry.timestamp, newest))
        if text is not None:
            names.append(("", _TEXT))
            blocks.append(text)
            # Beside a history of any length the words said now count as much as all of it.
            weights.append(self.settings.text_weight * (sum(weights) or 1.0))
        if not names:
            return Profile((), np.empty((0, 0), dtype=np.float32), np.empty(0, dtype=np.float32))
        w = np.asarray(weights, dtype=np.float32)
        return Profile(tuple(names), np.concatenate(blocks), w / w.sum())

    def _recency(self, timestamp: int | None, newest: int | None) -> float:
        half_life = self.settings.half_life_days
        if half_life is None or timestamp is None or newest is None:
            return 1.0
        return float(0.5 ** ((newest - timestamp) / _DAY / half_life))

    def _score(self, vectors: Vectors, liked: Profile, disliked: Profile) -> Scores:
        scores = soft_maximum(vectors, liked, self.settings.temperature)
        if disliked and self.settings.dislike_weight:
            away = soft_maximum(vectors, disliked, self.settings.temperature)
            scores -= np.float32(self.settings.dislike_weight) * np.maximum(away, 0)
        return scores

    def _scored(
        self, target: Snapshot, liked: Profile, disliked: Profile, mask: Mask, k: int
    ) -> tuple[Positions, Scores]:
        """Eligible rows with their scores: all, or in a large catalogue at least k that contain about the best ones."""
        rows = np.flatnonzero(mask)
        if len(rows) > self.index.settings.exact_limit:
            # Chroma does not know the mask: it is asked for so much more that enough is left.
            asked = 2 * k * len(mask) // len(rows)
            near = self.index.vectors.nearest(target.manifest.domain, liked.vectors, asked)
            found = np.sort(target.rows(near))
            found = found[mask[found]]
            rows = found if len(found) >= k else rows
        # A copy of most rows costs more than scoring a few in vain.
        if 2 * len(rows) > len(mask):
            return rows, self._score(target.vectors, liked, disliked)[rows]
        return rows, self._score(target.vectors[rows], liked, disliked)

    def _choose(self, target: Snapshot, rows: Positions, scores: Scores, mask: Mask, k: int) -> list[tuple[int, float]]:
        """One edition a work, one volume a series (its first unread one), then diversity; at most k (row, score)."""
        enough = k if self.settings.diversity == 0 else len(rows)
        pool = k * _POOL
        kept = _one_a_work(target, *_top(rows, scores, pool), mask, enough)
        while len(kept) < k and pool < len(rows):  # long series can fill a pool
            pool *= _POOL
            kept = _one_a_work(target, *_top(rows, scores, pool), mask, enough)
        if self.settings.diversity == 0:
            return kept
        return _diverse(target, kept, k, self.settings.diversity)

    def _candidates(self, target: Snapshot, chosen: Sequence[tuple[int, float]], liked: Profile) -> Iterator[Candidate]:
        rows = np.array([row for row, _ in chosen], dtype=np.int64)
        ids = target.ids(rows)
        items = self.store.items(target.manifest.domain, ids)
        similarity = target.vectors[rows] @ liked.vectors.T
        parts = np.exp(similarity / self.settings.temperature) * liked.weights
        shares = parts / parts.sum(axis=1, keepdims=True)
        best = np.argsort(-shares, axis=1, kind="stable")[:, :_MATCHES]
        speaking = (best, np.take_along_axis(similarity, best, axis=1), np.take_along_axis(shares, best, axis=1))
        for item_id, (_, score), *matches in zip(ids, chosen, *(m.tolist() for m in speaking), strict=True):
            item = items.get(item_id)
            if item is not None and item.available:  # else deleted or withdrawn after the last index run
                yield Candidate(item=item, score=score, matches=tuple(_matches(liked, *matches)))


def _vector(snapshot: Snapshot, item_id: str) -> Iterator[Vectors]:
    rows = snapshot.rows([item_id])
    if len(rows):
        yield snapshot.vectors[rows]


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


def _one_a_work(target: Snapshot, rows: Positions, scores: Scores, mask: Mask, enough: int) -> list[tuple[int, float]]:
    """(row, score) of the first unread volume of each series and the best edition of each work: the first `enough`."""
    works: set[int] = set()
    kept: list[tuple[int, float]] = []
    for row, score in zip(rows.tolist(), scores.tolist(), strict=True):
        first = _first_unread(target, row, mask)
        work = int(target.works[first])
        if work not in works:
            works.add(work)
            kept.append((first, score))
        if len(kept) == enough:
            break
    return kept


def _matches(
    liked: Profile, rows: Sequence[int], similarity: Sequence[float], shares: Sequence[float]
) -> Iterator[Match]:
    for row, near, share in zip(rows, similarity, shares, strict=True):
        domain, item_id = liked.entries[row]
        if domain:  # else the text
            yield Match(domain=domain, item=item_id, similarity=near, share=share)


def _first_unread(target: Snapshot, row: int, mask: Mask) -> int:
    """The earliest volume of the row's series that is still eligible; the row itself outside any series."""
    series = target.series.get(row)
    if series is None:
        return row
    return int(series[mask[series]][0])


def _diverse(target: Snapshot, kept: list[tuple[int, float]], k: int, diversity: float) -> list[tuple[int, float]]:
    """Maximal marginal relevance (Carbonell and Goldstein 1998): greedily (1-d)·score - d·nearest chosen."""
    if not kept:
        return []
    vectors = target.vectors[np.array([row for row, _ in kept], dtype=np.int64)]
    gain = (1 - diversity) * np.array([score for _, score in kept])
    nearest = np.full(len(kept), -1.0)
    open_ = np.ones(len(kept), dtype=bool)
    order: list[int] = []
    for _ in range(min(k, len(kept))):
        best = int(np.argmax(np.where(open_, gain - diversity * nearest, -np.inf)))
        order.append(best)
        open_[best] = False
        np.maximum(nearest, vectors @ vectors[best], out=nearest)
    return [kept[i] for i in order]
