"""Arrow columns as numpy arrays. Reads the buffers of columns, produces values, codes and missing values of rows.

pyarrow's own `to_numpy` imports pandas at its first call, which takes longer than a whole recommendation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

if TYPE_CHECKING:
    import pyarrow as pa


def column_values(column: pa.ChunkedArray, dtype: DTypeLike, missing: float = 0) -> NDArray[Any]:
    """The values of a column of numbers or truth values; shape (rows,), an array of its own.

    Args:
        dtype: of the values as Arrow stores them; bool for bits.
        missing: stands where the column has no value.
    """
    parts = [_chunk_values(chunk, np.dtype(dtype), missing) for chunk in column.chunks]
    return np.concatenate(parts) if parts else np.empty(0, dtype)


def column_codes(column: pa.ChunkedArray) -> tuple[NDArray[np.int32], list[str]]:
    """For each row the place of its text among the distinct texts, shape (rows,); these texts as they first occur."""
    encoded = column.dictionary_encode()
    if not encoded.num_chunks:
        return np.empty(0, np.int32), []
    codes = np.concatenate([_chunk_values(chunk.indices, np.dtype(np.int32), 0) for chunk in encoded.chunks])
    return codes, encoded.chunk(0).dictionary.to_pylist()  # the chunks share it


def _chunk_values(chunk: pa.Array, dtype: np.dtype[Any], missing: float) -> NDArray[Any]:
    valid, data = chunk.buffers()
    if data is None or not len(chunk):
        return np.full(len(chunk), missing, dtype)
    rows = slice(chunk.offset, chunk.offset + len(chunk))
    bits = dtype == np.dtype(np.bool_)
    values = _bits(data, rows) if bits else np.frombuffer(data, dtype, count=rows.stop)[rows].copy()
    if valid is not None:
        values[~_bits(valid, rows)] = missing
    return values


def _bits(buffer: pa.Buffer, rows: slice) -> NDArray[np.bool_]:
    return np.unpackbits(np.frombuffer(buffer, np.uint8), count=rows.stop, bitorder="little")[rows].astype(np.bool_)
