"""Product quantization: short codes of a large catalogue's vectors. Reads vectors, produces rows near some queries.

Jégou, Douze and Schmid 2011, with four bits for every four dimensions, so that a million vectors of 384 take 48 MB,
compared in registers by faiss (André, Kermarrec and Le Scouarnec 2017). Proposed rows are scored exactly afterwards:
the codes only have to propose the right rows among others. A catalogue within the exact limit needs no faiss.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from retrieval.encoder import Vectors
from retrieval.errors import SetupError

_SUBVECTOR: Final = 4
"""Dimensions that share one code."""
_BITS: Final = 4
_TRAINING_ROWS: Final = 40_000
_SEED: Final = 0
_BLOCK: Final = 16_384
"""Vectors coded at a time."""
_COMPARISONS_PER_THREAD: Final = 8_000_000
"""Work that is worth a thread of its own; with less, threads mostly wait for one another."""


@dataclass(frozen=True)
class QuantizedVectors:
    """The codes of a snapshot's first `rows` rows."""

    rows: int
    index: Any
    """Of faiss."""

    def search(self, queries: Vectors, k: int) -> NDArray[np.int64]:
        """Rows of about the k largest inner products with each query, in no order, some of them several times."""
        faiss = _faiss()
        threads = max(1, self.rows * len(queries) // _COMPARISONS_PER_THREAD)
        faiss.omp_set_num_threads(min(threads, os.cpu_count() or 1))  # of the calling thread
        _, rows = self.index.search(_padded(queries), min(k, self.rows))
        return np.asarray(rows[rows >= 0])  # of vectors that are all alike faiss finds none


def write_quantized(path: Path, vectors: Vectors) -> None:
    """Train the quantizer on a sample of the vectors, and write the codes of all. Raises SetupError: no faiss."""
    faiss = _faiss()
    dims = _padded(vectors[:1]).shape[1]
    index = faiss.IndexPQFastScan(dims, dims // _SUBVECTOR, _BITS, faiss.METRIC_INNER_PRODUCT)
    rng = np.random.default_rng(_SEED)
    sample = np.sort(rng.choice(len(vectors), min(len(vectors), _TRAINING_ROWS), replace=False))
    index.pq.cp.min_points_per_centroid = 1  # else it warns on stderr of small samples
    index.train(_padded(np.resize(vectors[sample], (max(len(sample), 2**_BITS), vectors.shape[1]))))
    for start in range(0, len(vectors), _BLOCK):
        index.add(_padded(vectors[start : start + _BLOCK]))
    faiss.write_index(index, str(path))


def open_quantized(path: Path, rows: int) -> QuantizedVectors:
    """Open the codes of so many vectors. Raises ValueError: they cannot be read; SetupError: faiss is not installed."""
    faiss = _faiss()
    try:
        index = faiss.read_index(str(path))
    except RuntimeError as exc:  # whatever is wrong, faiss raises this
        raise ValueError(str(exc)) from exc
    if index.ntotal != rows:
        raise ValueError(f"{index.ntotal} codes for {rows} rows")
    return QuantizedVectors(rows, index)


def _faiss() -> Any:  # noqa: ANN401 (it has no types)
    try:
        import faiss
    except ImportError as exc:
        raise SetupError(
            "a catalogue of this size needs faiss", hint="pip install 'xdrec[faiss]', or raise index.exact_limit"
        ) from exc
    return faiss


def _padded(vectors: Vectors) -> Vectors:
    """The vectors, zero-padded to a multiple of `_SUBVECTOR` dimensions; contiguous, as faiss wants them."""
    padding = -vectors.shape[1] % _SUBVECTOR
    return np.ascontiguousarray(np.pad(vectors, ((0, 0), (0, padding))), dtype=np.float32)
