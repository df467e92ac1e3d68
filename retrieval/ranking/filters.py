"""Filters. Reads a `Filter` and a snapshot's metadata, produces a mask over its rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from retrieval.index import Snapshot, attribute_key
from retrieval.types import Filter

if TYPE_CHECKING:
    import pyarrow as pa

Mask = NDArray[np.bool_]


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
