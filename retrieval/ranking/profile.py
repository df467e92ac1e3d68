"""History profiles. Reads a query, produces what candidates are compared with: vectors and texts of liked items.

Log-sum-exp pooling of cosines scores how well a candidate's text fits a profile. For items h with weights w_h that sum
to 1, x the centred unit vectors (snapshot) and T the temperature, a candidate c gets

    T · log Σ_h w_h · exp(x_c · x_h / T)

One film that fits well is enough, which a mean over the history would wash out. Items that a user chose and found
neutral still tell what they look for, so they are part of the profile; they are no reason for a recommendation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from retrieval.encoder import Vectors
from retrieval.errors import UsageError
from retrieval.index import Index, ItemScores, Positions, Snapshot, centred
from retrieval.settings import RetrieverSettings
from retrieval.types import HistoryEntry, Query

_DAY: Final = 86_400.0
_BLOCK: Final = 1_024
"""Rows scored at a time: a block and its product stay in the processor's cache."""
_QUERY_TEXT: Final = ("", "text")


@dataclass(frozen=True)
class HistoryProfile:
    """The liked or the disliked part of a history; the liked one holds the query's text, too.

    Attributes:
        entries: (domain, item id) of each row; of the query's text, ("", "text").
        vectors: unit rows, shape (entries, dims).
        weights: sum to 1, shape (entries,).
        clear: which rows are items with a clear preference; the others are neutral items or the query's text.
        rows: of the items with a clear preference, in their domains' snapshots.
        texts: of all entries.
    """

    entries: tuple[tuple[str, str], ...]
    vectors: Vectors
    weights: NDArray[np.float32]
    clear: NDArray[np.bool_]
    rows: Mapping[Snapshot, Positions]
    texts: tuple[str, ...]

    def __bool__(self) -> bool:
        return len(self.entries) > 0

    @property
    def items(self) -> int:
        """The number of items with a clear preference."""
        return sum(map(len, self.rows.values()))


def log_sum_exp_pooling(
    candidates: Vectors, profile: HistoryProfile, temperature: float, rows: Positions | None = None
) -> ItemScores:
    """The module's formula for each row of `candidates`, or for these rows; shape (rows,), values in [-1, 1]."""
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


def history_profiles(query: Query, index: Index, settings: RetrieverSettings) -> tuple[HistoryProfile, HistoryProfile]:
    """The profile of liked (and neutral) items and the query's text, and the profile of disliked items.

    Raises:
        UsageError: neither a liked item with a vector nor a text.
        IndexMissing, IndexMismatch: see `Index.snapshot`.
    """
    source_entries = [e for e in query.history.entries if e.item.domain != query.target]
    text, target = query.text if settings.text_weight else None, index.snapshot(query.target)
    liked = _profile([e for e in source_entries if not e.disliked], text, target, index, settings)
    if not (liked.items or text):
        raise UsageError(
            "nothing to go by: no liked item outside the target domain, and no text",
            hint="name what you liked with --like TITLE, or what you want with --about TEXT",
        )
    return liked, _profile([e for e in source_entries if e.disliked], None, target, index, settings)


def _profile(
    entries: Sequence[HistoryEntry], text: str | None, target: Snapshot, index: Index, settings: RetrieverSettings
) -> HistoryProfile:
    snapshots = {domain: index.snapshot(domain) for domain in dict.fromkeys(e.item.domain for e in entries)}
    # Items that came after the last index run have no vector, and items without weight do not count.
    entries = [
        e for e in entries if e.item.id in snapshots[e.item.domain].positions and (_clear(e) or settings.neutral_weight)
    ]
    keys = [(e.item.domain, e.item.id) for e in entries]
    vectors = [np.asarray(snapshots[domain].vectors)[snapshots[domain].positions[item_id]] for domain, item_id in keys]
    newest = max((e.timestamp for e in entries if e.timestamp is not None), default=None)
    weights = [
        (abs(e.preference) if _clear(e) else settings.neutral_weight)
        * _recency(e.timestamp, newest, settings.half_life_days)
        for e in entries
    ]
    texts = [index.text(e.item) for e in entries]
    clear = [_clear(e) for e in entries]
    rows = {s: s.rows(e.item.id for e in entries if e.item.domain == d and _clear(e)) for d, s in snapshots.items()}
    if text:
        keys.append(_QUERY_TEXT)
        vectors.append(centred(index.encoder.encode([text]), target.mean)[0])
        # The query's text counts as much as a whole history, however long.
        weights.append(settings.text_weight * (sum(weights) or 1.0))
        texts.append(text)
        clear.append(False)
    w = np.asarray(weights, dtype=np.float32)
    return HistoryProfile(
        entries=tuple(keys),
        vectors=np.array(vectors, dtype=np.float32) if vectors else np.empty((0, 0), dtype=np.float32),
        weights=w / max(float(w.sum()), 1e-12),
        clear=np.asarray(clear, dtype=np.bool_),
        rows={snapshot: found for snapshot, found in rows.items() if len(found)},
        texts=tuple(texts),
    )


def _clear(entry: HistoryEntry) -> bool:
    return entry.liked or entry.disliked


def _recency(timestamp: int | None, newest: int | None, half_life: float | None) -> float:
    if half_life is None or timestamp is None or newest is None:
        return 1.0
    return float(0.5 ** ((newest - timestamp) / _DAY / half_life))
