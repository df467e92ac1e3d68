"""The graph of an encoder in 8 bits. Reads texts as ONNX Runtime and the tokenizer take them, produces unit vectors."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from retrieval.encoder.sentence import Vectors

GRAPH: Final = "model.onnx"
TOKENIZER: Final = "tokenizer.json"


class Int8Graph:
    """An encoder's graph and tokenizer, as `retrieval.encoder.int8_export` writes them.

    Args:
        threads: how many compute, each a batch of its own; 0: one for each core.
    """

    def __init__(self, folder: Path, threads: int = 0) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        options = onnxruntime.SessionOptions()
        # Matrices this small are shared badly: a thread alone did 5 to 8% more in its time than two at one batch.
        options.intra_op_num_threads = 1
        self._threads = threads or os.cpu_count() or 1
        self._session = onnxruntime.InferenceSession(folder / GRAPH, options, providers=["CPUExecutionProvider"])
        self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))

    def encode(self, texts: Sequence[str], batch_size: int) -> Vectors:
        """Unit vectors, float32, shape (len(texts), dims)."""
        tokens = [np.asarray(one.ids, dtype=np.int64) for one in self._tokenizer.encode_batch_fast(list(texts))]
        # What is padded costs as much as what is said: texts of like length share a batch.
        order = np.argsort([len(ids) for ids in tokens], kind="stable")
        dims = self._session.get_outputs()[0].shape[-1]
        vectors = np.empty((len(tokens), dims), dtype=np.float32)
        batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]

        def run(rows: NDArray[np.int64]) -> None:
            vectors[rows] = self._run([tokens[row] for row in rows])

        with ThreadPoolExecutor(self._threads) as pool:
            list(pool.map(run, batches))
        return vectors

    def _run(self, tokens: Sequence[np.ndarray]) -> Vectors:
        lengths = np.array([len(ids) for ids in tokens])
        mask = (np.arange(lengths.max()) < lengths[:, None]).astype(np.int64)
        ids = np.zeros_like(mask)
        ids[mask.astype(bool)] = np.concatenate(tokens)
        found: Vectors = self._session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), dtype=np.float32)
