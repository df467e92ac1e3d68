"""Collaborative signals. Reads all users' interactions and snapshots, produces scores of every row of a target domain.

Three signals: how many users interacted with an item, mostly those near the time when the history ends (popularity);
the cosine, over the users who liked both, of an item with the liked history, also across domains (co-occurrence;
Sarwar, Karypis, Konstan and Riedl 2001); and what similar users liked, a user being the mean vector of the texts of
their liked items (neighbours), so that users are compared who share no item. All are 0 without interactions and shrink
where there are few users: a handful of users never outweighs the texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from retrieval.encoder import Vectors
from retrieval.index import DomainInteractions, InteractionTable, ItemScores, Positions, Snapshot

if TYPE_CHECKING:
    from scipy import sparse

_HALF_RELIABILITY: Final = 500
"""So many users give the signals half the weight that very many users give them."""
_SAMPLED_USERS: Final = 20_000
"""Most users that a history is compared with: of more, a random sample."""
_TEMPERATURE: Final = 0.1
"""Of the softmax over users' similarity in [-1, 1]; chosen on validation users (docs/explanation/experiments.md)."""
_NEGLIGIBLE: Final = 1e-6
"""Share of the neighbours' likes below which an item scores about 0."""


class CollaborativeSignals:
    """What is computed once of the interactions and used by every query. Not thread-safe to make, safe to read."""

    def __init__(self, interactions: InteractionTable) -> None:
        self.interactions = interactions
        users = len(interactions.users)
        self.reliability: float = users / (users + _HALF_RELIABILITY)
        """Factor of all signals, in [0, 1)."""
        self._sample = np.sort(np.random.default_rng(0).permutation(users)[:_SAMPLED_USERS])
        # By snapshot: one that a run of the index has replaced goes with what was made of it.
        self._by_snapshot: WeakKeyDictionary[Snapshot, DomainInteractions] = WeakKeyDictionary()
        self._sampled_likes: WeakKeyDictionary[Snapshot, sparse.csr_array] = WeakKeyDictionary()
        self._user_vectors: dict[tuple[str, ...], tuple[tuple[Snapshot, ...], Vectors, NDArray[np.bool_]]] = {}

    def popularity(self, target: Snapshot, at: int | None) -> ItemScores:
        """`DomainInteractions.popularity` times the reliability; shape (items,), in [0, 1)."""
        return np.float32(self.reliability) * self.in_domain(target).popularity(at)

    def cooccurrence(self, liked: Mapping[Snapshot, Positions], target: Snapshot) -> ItemScores:
        """Logarithm of 1 + 100 times the sum of cosines with the liked rows; shape (items,), at least 0."""
        users = np.zeros(len(self.interactions.users), dtype=np.float32)
        for source, rows in liked.items():
            distinct, times = np.unique(rows, return_counts=True)
            users += self.in_domain(source).item_normalized_columns[:, distinct] @ times.astype(np.float32)
        sharing = np.flatnonzero(users)  # few of all users share a liked item
        return self._logarithm(100 * (self.in_domain(target).item_normalized[sharing].T @ users[sharing]))

    def neighbours(self, liked: Mapping[Snapshot, Positions], target: Snapshot, user: str | None) -> ItemScores:
        """Logarithm of the share of similar users' likes, in multiples of `_NEGLIGIBLE`; shape (items,), at least 0."""
        zeros = np.zeros(len(target.vectors), dtype=np.float32)
        if not liked:
            return zeros
        profile = sum(source.vectors[rows].sum(axis=0) for source, rows in liked.items())
        norm = float(np.linalg.norm(profile))
        user_vectors, known = self._vectors_of_users(sorted(liked, key=lambda source: source.manifest.domain))
        if norm == 0 or not known.any():
            return zeros
        similarity = np.where(known, user_vectors @ (profile / norm), -np.inf)
        own = self.interactions.users.get(user) if user else None
        if own is not None:
            similarity[self._sample == own] = -np.inf
        if not np.isfinite(similarity.max()):  # the user is the only one
            return zeros
        weights = np.exp((similarity - similarity.max()) / _TEMPERATURE)
        weights /= weights.sum()
        share = self._likes_of_sample(target).T @ weights.astype(np.float32)
        return self._logarithm(share / _NEGLIGIBLE)

    def popularity_percentile(self, target: Snapshot, rows: Positions) -> float:
        """Share of the catalogue with fewer users than the median of these rows, in [0, 1); 0 without rows."""
        counts = self.in_domain(target).user_counts
        return float(np.mean(counts < np.median(counts[rows]))) if len(rows) else 0.0

    def in_domain(self, snapshot: Snapshot) -> DomainInteractions:
        """The interactions with the snapshot's items."""
        if snapshot not in self._by_snapshot:
            self._by_snapshot[snapshot] = self.interactions.in_domain(snapshot.manifest.domain, snapshot.positions)
        return self._by_snapshot[snapshot]

    def _likes_of_sample(self, target: Snapshot) -> sparse.csr_array:
        """`DomainInteractions.user_normalized` of the sampled users."""
        if target not in self._sampled_likes:
            self._sampled_likes[target] = self.in_domain(target).user_normalized[self._sample]
        return self._sampled_likes[target]

    def _logarithm(self, values: ItemScores) -> ItemScores:
        """log(1 + values), times the reliability."""
        # numpy has vector instructions for log but not for log1p. Values below 1e-7, which mean nothing, become 0.
        out = values + np.float32(1)
        np.log(out, out=out)
        out *= np.float32(self.reliability)
        return out

    def _vectors_of_users(self, sources: Sequence[Snapshot]) -> tuple[Vectors, NDArray[np.bool_]]:
        """Unit mean vectors of the sampled users' likes in these domains, and which users have any likes there."""
        key = tuple(source.manifest.domain for source in sources)
        cached = self._user_vectors.get(key)
        if cached is not None and all(a is b for a, b in zip(cached[0], sources, strict=True)):
            return cached[1:]
        sums = [self.in_domain(source).liked[self._sample] @ source.vectors for source in sources]
        total = np.asarray(sum(sums), dtype=np.float32)
        norms = np.linalg.norm(total, axis=1, keepdims=True)
        self._user_vectors[key] = (tuple(sources), total / np.maximum(norms, 1e-12), norms[:, 0] > 0)
        return self._user_vectors[key][1:]
