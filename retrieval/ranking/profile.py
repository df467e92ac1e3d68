"""Profiles. Reads a query, produces what candidates are compared with: vectors and texts of what was liked, or not.

A soft maximum of cosines says how well a candidate's text fits a profile. For items h with weights w_h that sum to 1, x
the centred unit vectors (snapshot) and T the temperature, a candidate c gets

    T · log Σ_h w_h · exp(x_c · x_h / T)

One film that fits well is enough, which a mean over the history would wash out. What somebody chose and then found
middling still tells where they look for things, so it has a part in the profile; it is no reason to name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from retrieval.encoder import Vectors
from retrieval.errors import UsageError
from retrieval.index import Index, Positions, Scores, Snapshot, centred
from retrieval.settings import RetrieverSettings
from retrieval.types import HistoryEntry, Query

_DAY: Final = 86_400.0
_BLOCK: Final = 1_024
"""Rows scored at a time: a block and its product stay in the processor's cache."""
_SAID: Final = ("", "text")


@dataclass(frozen=True)
class Profile:
    """What candidates are compared with: rows of one sign, with weights that sum to 1.

    Attributes:
        entries: (domain, item id) of each row; of words that were said, ("", "text").
        vectors: unit rows.
        liked: which rows are items with a clear preference (of the profile's sign); the others are words or middling.
        rows: where these items stand in their domains' snapshots.
        texts: of all items and what was said.
    """

    entries: tuple[tuple[str, str], ...]
    vectors: Vectors
    weights: Scores
    liked: NDArray[np.bool_]
    rows: Mapping[Snapshot, Positions]
    texts: tuple[str, ...]

    def __bool__(self) -> bool:
        return len(self.entries) > 0

    @property
    def items(self) -> int:
        """How many items with a clear preference it has."""
        return sum(map(len, self.rows.values()))


def soft_maximum(candidates: Vectors, profile: Profile, temperature: float, rows: Positions | None = None) -> Scores:
    """The module's formula for each row of `candidates`, or for these rows; shape (rows,), values in [-1, 1]."""
    candidates = np.asarray(candidates)  # each slice of a mapped array would be one, too, which takes longer to make
    out = np.empty(len(candidates) if rows is None else len(rows), dtype=np.float32)
    right = np.ascontiguousarray(profile.vectors.T / np.float32(temperature))
    for start in range(0, len(out), _BLOCK):
        part = slice(start, start + _BLOCK)
        block = candidates[part if rows is None else rows[part]] @ right
        np.exp(block, out=block)
        out[part] = block @ profile.weights
    np.log(out, out=out)
    out *= np.float32(temperature)
    return out


def liked_and_disliked(query: Query, index: Index, settings: RetrieverSettings) -> tuple[Profile, Profile]:
    """The profile of what the query's history likes (and its text asks for), and that of what it dislikes.

    Raises:
        UsageError: neither a liked item with a vector nor a text to go by.
        IndexMissing, IndexMismatch: see `Index.snapshot`.
    """
    sources = [e for e in query.history.entries if e.item.domain != query.target]
    said = query.text if settings.text_weight else None
    liked = _profile([e for e in sources if not e.disliked], said, index.snapshot(query.target), index, settings)
    if not (liked.items or said):
        raise UsageError(
            "nothing to go by: no liked item outside the target domain, and no text",
            hint="name what you liked with --like TITLE, or what you want with --about TEXT",
        )
    disliked = _profile([e for e in sources if e.disliked], None, index.snapshot(query.target), index, settings)
    return liked, disliked


def _profile(
    entries: Sequence[HistoryEntry], said: str | None, target: Snapshot, index: Index, settings: RetrieverSettings
) -> Profile:
    names: list[tuple[str, str]] = []
    vectors: list[Vectors] = []
    weights: list[float] = []
    texts: list[str] = []
    liked: list[bool] = []
    rows: dict[Snapshot, list[int]] = {}
    snapshots = {domain: index.snapshot(domain) for domain in {e.item.domain for e in entries}}
    # Less what came after the last index run, and what has no weight.
    found = [
        (e, snapshots[e.item.domain])
        for e in entries
        if e.item.id in snapshots[e.item.domain].positions and (e.liked or e.disliked or settings.middling_weight)
    ]
    newest = max((e.timestamp for e, _ in found if e.timestamp is not None), default=None)
    for entry, snapshot in found:
        row = snapshot.positions[entry.item.id]
        names.append((entry.item.domain, entry.item.id))
        vectors.append(np.asarray(snapshot.vectors)[row])
        clear = entry.liked or entry.disliked
        weight = abs(entry.preference) if clear else settings.middling_weight
        weights.append(weight * _recency(entry.timestamp, newest, settings.half_life_days))
        texts.append(index.text(entry.item))
        liked.append(clear)
        if clear:
            rows.setdefault(snapshot, []).append(row)
    if said:
        names.append(_SAID)
        vectors.append(centred(index.encoder.encode([said]), target.mean)[0])
        # Beside a history of any length the words said now count as much as all of it.
        weights.append(settings.text_weight * (sum(weights) or 1.0))
        texts.append(said)
        liked.append(False)
    w = np.asarray(weights, dtype=np.float32)
    return Profile(
        entries=tuple(names),
        vectors=np.array(vectors, dtype=np.float32) if vectors else np.empty((0, 0), dtype=np.float32),
        weights=w / max(float(w.sum()), 1e-12),
        liked=np.asarray(liked, dtype=np.bool_),
        rows={snapshot: np.asarray(some, dtype=np.int64) for snapshot, some in rows.items()},
        texts=tuple(texts),
    )


def _recency(timestamp: int | None, newest: int | None, half_life: float | None) -> float:
    if half_life is None or timestamp is None or newest is None:
        return 1.0
    return float(0.5 ** ((newest - timestamp) / _DAY / half_life))
