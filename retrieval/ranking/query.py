"""Queries. Reads a user, titles and rules, produces a `Query`; of a query the profiles and the rows to rank.

A profile is what candidates are compared with: the vectors and texts of liked (or disliked) items. Items that a user
chose and found neutral still tell what they look for, so they are part of the liked profile; they are no reason for a
recommendation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from retrieval.encoder import Vectors
from retrieval.errors import UsageError
from retrieval.index import Index, Positions, Snapshot, attribute_key, centred
from retrieval.settings import ExclusionSettings, RetrieverSettings
from retrieval.store import Store
from retrieval.titles import resolve_title
from retrieval.types import Filter, History, HistoryEntry, Item, Query

if TYPE_CHECKING:
    import pyarrow as pa

Mask = NDArray[np.bool_]
"""One value for each row of a snapshot."""

_DAY: Final = 86_400.0
_QUERY_TEXT: Final = ("", "text")


def build_query(
    store: Store,
    *,
    sources: Sequence[str],
    target: str,
    user: str | None = None,
    likes: Sequence[str | Item] = (),
    dislikes: Sequence[str | Item] = (),
    about: str | None = None,
    filter_: Filter | None = None,
    k: int = 5,
    allow_new_user: bool = False,
) -> Query:
    """What `user` is known to like in the source domains, and what is said now, as a query.

    Titles said now count as fully liked or disliked, are the latest of the history, and replace what the store knows of
    the same item. What the user has in the target domain goes along: it is known and will not be recommended.

    Args:
        likes, dislikes: titles in the source domains, or items.
        allow_new_user: whether `user` may be one without any interactions, if there is something else to go by.

    Raises:
        UsageError: a domain without items, a source that is the target, an unknown user, or nothing to go by.
        UnknownTitle, AmbiguousTitle: a title does not name one item of the sources.
    """
    if not store.has(*sources, target):
        known = store.domain_names()
        missing = next(domain for domain in (*sources, target) if domain not in known)
        have = ", ".join(known) or "none yet"
        raise UsageError(f"there is no domain {missing!r} (domains: {have})", hint=f"xdrec ingest {missing} FILE")
    if target in sources:
        raise UsageError(f"{target!r} is both source and target", hint="name different domains in --from and --to")
    if not (user or likes or about):
        raise UsageError("nothing to go by", hint="give --user ID, --like TITLE or --about TEXT")
    stored = _stored_history(store, user, [*sources, target], allow_new=allow_new_user and bool(likes or about))
    stated = [
        HistoryEntry(
            item=title if isinstance(title, Item) else resolve_title(store, sources, title), preference=preference
        )
        for titles, preference in ((likes, 1.0), (dislikes, -1.0))
        for title in titles
    ]
    stated_items = {(entry.item.domain, entry.item.id) for entry in stated}
    earlier = [entry for entry in stored.entries if (entry.item.domain, entry.item.id) not in stated_items]
    history = History(user=user, entries=(*earlier, *stated))
    return Query(history=history, target=target, text=about, filter=filter_ or Filter(), k=k)


def apply_exclusions(query: Query, rules: Sequence[ExclusionSettings], store: Store) -> Query:
    """The query, less what the rules of its target forbid this user; applied again it changes nothing.

    What somebody has in one domain can forbid items of another: a condition forbids what is contraindicated for it. So
    can what they lack: a project requires a course. All that the user has counts, however they liked it, in the query
    or in the store, whether or not the domain is one of the query's sources.
    """
    rules = [rule for rule in rules if rule.target == query.target]
    if not rules:
        return query
    stored = _stored_history(store, query.history.user, sorted({rule.source for rule in rules}), allow_new=True)
    entries = (*query.history.entries, *stored.entries)
    forbidden, allowed = dict(query.filter.not_attributes), dict(query.filter.within_attributes)
    for rule in rules:
        owned = tuple(dict.fromkeys(entry.item.id for entry in entries if entry.item.domain == rule.source))
        name = rule.attribute
        if rule.when == "has":
            forbidden[name] = tuple(dict.fromkeys((*forbidden.get(name, ()), *owned)))
        else:
            allowed[name] = tuple(value for value in allowed.get(name, owned) if value in owned)
    narrowed = query.filter.model_copy(update={"not_attributes": forbidden, "within_attributes": allowed})
    return query.model_copy(update={"filter": narrowed})


def _stored_history(store: Store, user: str | None, domains: Sequence[str], *, allow_new: bool) -> History:
    if user is None:
        return History()
    try:
        return store.history(user, domains)
    except UsageError:  # the store does not know the user: the query says all
        if not allow_new:
            raise
        return History()


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


def eligible(snapshot: Snapshot, conditions: Filter) -> Mask:
    """Rows that are available and fulfil the filter, shape (items,). An item without a year fails any year limit."""
    import pyarrow.compute as pc

    metadata = snapshot.metadata
    mask = snapshot.available.copy()
    if conditions.year_from is not None:
        mask &= _array(pc.greater_equal(metadata["year"], conditions.year_from))
    if conditions.year_to is not None:
        mask &= _array(pc.less_equal(metadata["year"], conditions.year_to))
    if conditions.languages:
        mask &= _array(pc.is_in(metadata["language"], value_set=_folded(conditions.languages)))
    if conditions.categories:
        mask &= _any_of(metadata["categories"], conditions.categories)
    if conditions.not_categories:
        mask &= ~_any_of(metadata["categories"], conditions.not_categories)
    if conditions.creators:
        mask &= _any_of(metadata["creators"], conditions.creators)
    for name, values in conditions.attributes.items():
        mask &= _any_of(metadata["attributes"], [attribute_key(name, v) for v in values])
    for name, values in conditions.not_attributes.items():
        mask &= ~_any_of(metadata["attributes"], [attribute_key(name, v) for v in values])
    for name, values in conditions.within_attributes.items():
        mask &= ~_any_other(metadata["attributes"], attribute_key(name, ""), [attribute_key(name, v) for v in values])
    return mask


def _folded(values: Iterable[str]) -> pa.Array:
    import pyarrow as pa

    return pa.array([v.casefold() for v in values], type=pa.string())


def _array(column: pa.ChunkedArray) -> Mask:
    """A boolean column as a writable mask; null counts as false."""
    import pyarrow.compute as pc

    return np.array(pc.fill_null(column, False), dtype=np.bool_)


def _any_of(lists: pa.ChunkedArray, values: Iterable[str]) -> Mask:
    """Rows whose list holds any of the values."""
    import pyarrow.compute as pc

    return _rows(lists, _array(pc.is_in(pc.list_flatten(lists), value_set=_folded(values))))


def _any_other(lists: pa.ChunkedArray, start: str, values: Iterable[str]) -> Mask:
    """Rows whose list holds anything that starts so and is none of the values."""
    import pyarrow.compute as pc

    flat = pc.list_flatten(lists)
    return _rows(lists, _array(pc.starts_with(flat, start)) & ~_array(pc.is_in(flat, value_set=_folded(values))))


def _rows(lists: pa.ChunkedArray, hits: Mask) -> Mask:
    """Rows whose list holds a hit; `hits` is over the flattened lists."""
    import pyarrow.compute as pc

    mask = np.zeros(len(lists), dtype=np.bool_)
    mask[np.asarray(pc.list_parent_indices(lists))[hits]] = True
    return mask
