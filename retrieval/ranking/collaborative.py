"""The crowd: what other people's behaviour says for a candidate. Reads behaviour and snapshots, produces scores by row.

Three sources: how many people touched an item, those above all who did when the person was last seen (popularity); the
cosine, over the people who liked both, of a candidate with the liked history, also across domains (co-occurrence;
Sarwar, Karypis, Konstan and Riedl 2001); and what people with similar taste liked, taste being the mean vector of the
texts of what they like (neighbours), so that people are compared who share no item. All are 0 where nobody did
anything, and shrink where the crowd is small: a handful of people never outweigh the texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from retrieval.encoder import Vectors
from retrieval.index import Behaviour, Likes, Positions, Scores, Snapshot

_HALF: Final = 500
"""A crowd of so many people has half the say of a very large one."""
_COMPARED: Final = 20_000
"""Most people that a history is compared with: of more, a random sample."""
_SHARPNESS: Final = 0.1
"""Temperature of the softmax over people's similarity in [-1, 1]; chosen on validation users (docs/experiments.md)."""
_FAINT: Final = 1e-6
"""Share of the neighbours' likes below which nothing is said for an item."""


class Crowd:
    """What is computed of people once and used by every query. Not thread-safe to make, safe to read."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        everybody = len(behaviour.people)
        self.reliability: float = everybody / (everybody + _HALF)
        """What the crowd's word is worth, in [0, 1)."""
        self._sample = np.sort(np.random.default_rng(0).permutation(everybody)[:_COMPARED])
        self._likes: dict[str, tuple[Snapshot, Likes]] = {}
        self._compared_likes: dict[str, tuple[Snapshot, sparse.csr_array]] = {}
        self._tastes: dict[tuple[str, ...], tuple[tuple[Snapshot, ...], Vectors, NDArray[np.bool_]]] = {}

    def popularity(self, target: Snapshot, at: int | None) -> Scores:
        """`Likes.popularity`, as far as the crowd can be relied upon; shape (items,)."""
        return np.float32(self.reliability) * self.likes(target).popularity(at)

    def cooccurrence(self, liked: Mapping[Snapshot, Positions], target: Snapshot) -> Scores:
        """Logarithm of 1 + 100 times the sum of cosines with the liked rows; shape (items,), at least 0."""
        people = np.zeros(len(self.behaviour.people), dtype=np.float32)
        for source, rows in liked.items():
            known, times = np.unique(rows, return_counts=True)
            people += self.likes(source).unit_by_item[:, known] @ times.astype(np.float32)
        some = np.flatnonzero(people)  # of all people few share a like
        total = self.likes(target).unit[some].T @ people[some]
        return self._logarithm(100 * total)

    def neighbours(self, liked: Mapping[Snapshot, Positions], target: Snapshot, user: str | None) -> Scores:
        """Logarithm of the share of similar people's likes, in multiples of `_FAINT`; shape (items,), at least 0."""
        nothing = np.zeros(len(target.vectors), dtype=np.float32)
        if not liked:
            return nothing
        wish = sum(source.vectors[rows].sum(axis=0) for source, rows in liked.items())
        norm = float(np.linalg.norm(wish))
        tastes, known = self._compared(sorted(liked, key=lambda source: source.manifest.domain))
        if norm == 0 or not known.any():
            return nothing
        near = np.where(known, tastes @ (wish / norm), -np.inf)
        own = self.behaviour.people.get(user) if user else None
        if own is not None:
            near[self._sample == own] = -np.inf
        weights = np.exp((near - near.max()) / _SHARPNESS) if np.isfinite(near.max()) else np.zeros_like(near)
        weights /= max(float(weights.sum()), 1e-12)
        share = self._likes_compared(target).T @ weights.astype(np.float32)
        return self._logarithm(share / _FAINT)

    def above(self, target: Snapshot, rows: Positions) -> float:
        """Share of the catalogue that fewer people touched than the median of these rows, in [0, 1); 0 without rows."""
        touched = self.likes(target).touched
        return float(np.mean(touched < np.median(touched[rows]))) if len(rows) else 0.0

    def likes(self, snapshot: Snapshot) -> Likes:
        """What people did in the snapshot's domain."""
        domain = snapshot.manifest.domain
        known = self._likes.get(domain)
        if known is None or known[0] is not snapshot:
            known = self._likes[domain] = (snapshot, self.behaviour.likes(domain, snapshot.positions))
        return known[1]

    def _likes_compared(self, target: Snapshot) -> sparse.csr_array:
        """`Likes.by_person` of the people compared alone."""
        domain = target.manifest.domain
        known = self._compared_likes.get(domain)
        if known is None or known[0] is not target:
            known = self._compared_likes[domain] = (target, self.likes(target).by_person[self._sample])
        return known[1]

    def _logarithm(self, said: Scores) -> Scores:
        """log(1 + what is said), as far as the crowd can be relied upon."""
        # numpy has vector instructions for log but not for log1p. What is below 1e-7, and says nothing, becomes 0.
        out = said + np.float32(1)
        np.log(out, out=out)
        out *= np.float32(self.reliability)
        return out

    def _compared(self, sources: Sequence[Snapshot]) -> tuple[Vectors, NDArray[np.bool_]]:
        """Unit tastes of the people compared, in these domains, and who has one there."""
        key = tuple(source.manifest.domain for source in sources)
        known = self._tastes.get(key)
        if known is not None and all(a is b for a, b in zip(known[0], sources, strict=True)):
            return known[1:]
        sums = [self.likes(source).liked[self._sample] @ source.vectors for source in sources]
        total = np.asarray(sum(sums), dtype=np.float32)
        norms = np.linalg.norm(total, axis=1, keepdims=True)
        tastes = total / np.maximum(norms, 1e-12)
        self._tastes[key] = (tuple(sources), tastes, norms[:, 0] > 0)
        return self._tastes[key][1:]
