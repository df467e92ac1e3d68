"""The signals and their weights. Reads interactions, relations and fits, produces scores of a target domain's rows.

The score of a candidate is a weighted sum, a log-linear model: the probability that a user picks a candidate is
proportional to exp(Σ_s w_s · f_s), with f_s the score of signal s and w_s = max(0, base_s + slope_s · log n) for a
user with n liked items, fitted by conditional logit (McFadden 1974) on validation users: the longer the history, the
more its texts and similar users can be trusted. A signal that knows nothing of an item scores 0, so an item without
interactions stands on its text alone.

Three signals are collaborative: how many users interacted with an item, mostly those near the time when the history
ends (popularity); the cosine, over the users who liked both, of an item with the liked history, also across domains
(co-occurrence; Sarwar, Karypis, Konstan and Riedl 2001); and what similar users liked, a user being the mean vector of
the texts of their liked items (neighbours), so that users are compared who share no item. All are 0 without
interactions and shrink where there are few users: a handful of users never outweighs the texts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from importlib import resources
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from retrieval.encoder import Vectors
from retrieval.errors import DataError
from retrieval.files import translated_writes, write_atomic
from retrieval.index import DomainInteractions, InteractionTable, ItemScores, Positions, Snapshot
from retrieval.ranking.query import HistoryProfile
from retrieval.relations import RelationGraph
from retrieval.settings import EncoderSettings
from retrieval.types import Frozen

if TYPE_CHECKING:
    from scipy import sparse

Signal = Literal["text", "bm25", "popularity", "cooccurrence", "neighbours", "relations"]

SIGNALS: Final[Mapping[Signal, str]] = {
    "text": "log-sum-exp pooling of the candidate's cosines with the liked history and the query's text",
    "bm25": "BM25 of the candidate's text for the texts of the history and of the query",
    "popularity": "how many users interacted with it, mostly those near the time when the history ends",
    "cooccurrence": "how often it is liked by those who liked what was liked",
    "neighbours": "how often it is liked by users who like similar texts",
    "relations": "61 / (60 + r) for the r-th of the items that the relation graph leads to from what was liked",
}
"""The signals and their scores."""

_SHIPPED: Final = "shipped_fusion.json"
FUSION_FILE: Final = "fusion.json"
"""Name of the file among the home's fits."""

_BLOCK: Final = 1_024
"""Rows scored at a time: a block and its product stay in the processor's cache."""
_RELATED: Final = 100
"""Most items that the relation graph proposes."""
_RRF_K: Final = 60
"""Of reciprocal ranks: how much the first ones count alike (Cormack, Clarke and Büttcher 2009)."""
_HALF_RELIABILITY: Final = 500
"""So many users give the signals half the weight that very many users give them."""
_SAMPLED_USERS: Final = 20_000
"""Most users that a history is compared with: of more, a random sample."""
_TEMPERATURE: Final = 0.1
"""Of the softmax over users' similarity in [-1, 1]; chosen on validation users (docs/explanation/experiments.md)."""
_NEGLIGIBLE: Final = 1e-6
"""Share of the neighbours' likes below which an item scores about 0."""


class SignalWeight(Frozen):
    """A signal's weight for a user with n liked items: `base` + `slope` · log n, at least 0."""

    base: float
    slope: float = 0.0

    def at(self, liked: int) -> float:
        """The weight for this many liked items."""
        return max(0.0, self.base + self.slope * log(max(liked, 1)))


UNFITTED_WEIGHTS: Final[Mapping[Signal, SignalWeight]] = {"relations": SignalWeight(base=1.0)}
"""Weights set by hand: no data at hand has both a relation graph and users."""


class FusionFit(Frozen):
    """Fitted weights and where they come from.

    Attributes:
        made_by: the command.
        data: SHA-256 of the data that they were fitted on.
        encoder: name of the encoder whose vectors `text` and `neighbours` compare.
        users, picks: how many the fit used.
        weights: by signal.
    """

    made_by: str
    data: str
    encoder: str
    users: int
    picks: int
    weights: dict[Signal, SignalWeight]

    def weights_for(self, liked: int, signals: Collection[str] | None, popularity: float) -> dict[Signal, float]:
        """The weights of the signals that count, all above 0.

        Args:
            liked: number of liked items in the history.
            signals: those that may count; None: all.
            popularity: factor of the weight of popularity.
        """
        weights = {
            signal: weight.at(liked) * (popularity if signal == "popularity" else 1.0)
            for signal, weight in self.weights.items()
            if signals is None or signal in signals
        }
        return {signal: weight for signal, weight in weights.items() if weight > 0}


class _Fits(Frozen):
    version: Literal[3] = 3
    fits: tuple[FusionFit, ...] = Field(min_length=1)


@cache
def _shipped() -> _Fits:
    return _Fits.model_validate_json((resources.files("retrieval.ranking") / _SHIPPED).read_bytes())


def fusion_fit(encoder: str, fits_dir: Path | None = None) -> FusionFit:
    """The weights for an encoder, by name: the home's own where it has them, else the shipped ones.

    An encoder that nothing was fitted for gets those of the default encoder.

    Args:
        fits_dir: folder of the home's fits; None: the shipped ones alone count.

    Raises:
        DataError: the home's file cannot be read.
    """
    by_encoder = {fit.encoder: fit for fit in (*_shipped().fits, *_home_fits(fits_dir))}
    return by_encoder.get(encoder, by_encoder[EncoderSettings().model])


def save_fusion(fit: FusionFit, fits_dir: Path) -> Path:
    """Write the weights into the home's file, in place of older ones for their encoder; returns the file.

    Raises:
        DataError: the file is there and cannot be read.
        BackendError: it cannot be written.
    """
    file = fits_dir / FUSION_FILE
    others = [other for other in _home_fits(fits_dir) if other.encoder != fit.encoder]
    fits = sorted((*others, fit), key=lambda one: one.encoder)
    with translated_writes(file, "make room, or check the folder's permissions"):
        write_atomic(file, _Fits(fits=tuple(fits)).model_dump_json(indent=2) + "\n")
    return file


def _home_fits(fits_dir: Path | None) -> tuple[FusionFit, ...]:
    file = None if fits_dir is None else fits_dir / FUSION_FILE
    if file is None or not file.is_file():
        return ()
    try:
        return _Fits.model_validate_json(file.read_bytes()).fits
    except (OSError, ValidationError) as exc:
        hint = "delete it, or fit again: xdrec-eval fit fusion --write"
        raise DataError(f"{file} cannot be read as fitted weights", hint=hint) from exc


def log_sum_exp_pooling(
    candidates: Vectors, profile: HistoryProfile, temperature: float, rows: Positions | None = None
) -> ItemScores:
    """The signal of the text for each row of `candidates`, or for these rows; shape (rows,), values in [-1, 1].

    For items h with weights w_h that sum to 1, x the centred unit vectors and T the temperature, a candidate c gets

        T · log Σ_h w_h · exp(x_c · x_h / T)

    One film that fits well is enough, which a mean over the history would wash out.
    """
    candidates = np.asarray(candidates)  # slices of a memmap are memmaps, which take longer to make
    scores = np.empty(len(candidates) if rows is None else len(rows), dtype=np.float32)
    history = np.ascontiguousarray(profile.vectors.T / np.float32(temperature))
    for start in range(0, len(scores), _BLOCK):
        part = slice(start, start + _BLOCK)
        block = candidates[part if rows is None else rows[part]] @ history
        np.exp(block, out=block)
        scores[part] = block @ profile.weights
    np.log(scores, out=scores)
    scores *= np.float32(temperature)
    return scores


def relation_scores(graph: RelationGraph | None, liked: HistoryProfile, target: Snapshot) -> ItemScores:
    """Reciprocal ranks of the items that the graph leads to, 1 for the first; 0 elsewhere."""
    scores = np.zeros(len(target.vectors), dtype=np.float32)
    if graph is not None:
        starts = [entry for entry, clear in zip(liked.entries, liked.clear, strict=True) if clear]
        related = graph.ranked_items(starts, target.manifest.domain, _RELATED)
        ranks = {item_id: rank for rank, item_id in enumerate(related, 1) if item_id in target.positions}
        reciprocal = (_RRF_K + 1) / (_RRF_K + np.fromiter(ranks.values(), dtype=np.float32, count=len(ranks)))
        scores[target.rows(ranks)] = reciprocal
    return scores


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
