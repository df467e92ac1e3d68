"""Codes: short vectors of a large catalogue, all looked at by every search. Reads vectors, produces rows near some.

Product quantisation (Jégou, Douze and Schmid 2011) with four bits for every four dimensions, so that a million vectors
of 384 take 48 MB, compared in registers by faiss (André, Kermarrec and Le Scouarnec 2017). What the codes propose is
scored exactly: they only have to name the right rows among others. A catalogue within the exact limit needs no faiss.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from retrieval.encoder import Vectors

_WIDTH: Final = 4
"""Dimensions that share four bits."""
_BITS: Final = 4
_SAMPLE: Final = 40_000
"""Vectors that the code is learnt from."""
_SEED: Final = 0
_BLOCK: Final = 16_384
"""Vectors coded at a time."""
_A_THREAD: Final = 8_000_000
"""Comparisons that are worth a thread of their own; with fewer, threads mostly wait for one another."""


@dataclass(frozen=True)
class Codes:
    """The codes of a snapshot's first `rows` rows."""

    rows: int
    index: Any
    """Of faiss."""

    def near(self, queries: Vectors, k: int) -> NDArray[np.int64]:
        """Rows of about the k largest inner products with each query, in no order, some of them several times."""
        import faiss

        worth = max(1, self.rows * len(queries) // _A_THREAD)
        faiss.omp_set_num_threads(min(worth, os.cpu_count() or 1))  # of the calling thread
        _, found = self.index.search(_padded(queries), min(k, self.rows))
        return np.asarray(found[found >= 0])  # of vectors that are all alike faiss finds none


def write_codes(path: Path, vectors: Vectors) -> None:
    """Learn a code from some of the vectors, and write that of all of them."""
    import faiss

    dims = _padded(vectors[:1]).shape[1]
    index = faiss.IndexPQFastScan(dims, dims // _WIDTH, _BITS, faiss.METRIC_INNER_PRODUCT)
    sample = np.sort(np.random.default_rng(_SEED).choice(len(vectors), min(len(vectors), _SAMPLE), replace=False))
    index.pq.cp.min_points_per_centroid = 1  # it says on stderr that fewer are few
    index.train(_padded(np.resize(vectors[sample], (max(len(sample), 2**_BITS), vectors.shape[1]))))
    for start in range(0, len(vectors), _BLOCK):
        index.add(_padded(vectors[start : start + _BLOCK]))
    faiss.write_index(index, str(path))


def open_codes(path: Path, rows: int) -> Codes:
    """Open the codes of so many vectors. Raises ValueError: they cannot be read."""
    import faiss

    try:
        index = faiss.read_index(str(path))
    except RuntimeError as exc:  # whatever is wrong, faiss raises this
        raise ValueError(str(exc)) from exc
    if index.ntotal != rows:
        raise ValueError(f"{index.ntotal} codes for {rows} rows")
    return Codes(rows, index)


def _padded(vectors: Vectors) -> Vectors:
    """The vectors with zeros behind, so that `_WIDTH` divides their length; contiguous, as faiss wants them."""
    more = -vectors.shape[1] % _WIDTH
    return np.ascontiguousarray(np.pad(vectors, ((0, 0), (0, more))), dtype=np.float32)
