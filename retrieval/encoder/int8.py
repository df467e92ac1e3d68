"""The encoder in 8 bits. Reads texts and the 8-bit form of a sentence-transformers folder, produces unit vectors.

Only ONNX Runtime and the tokenizer are loaded: a process that encodes a free text needs no torch.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from retrieval.encoder.sentence import SentenceEncoder, Vectors

BACKEND: Final = "onnx-int8"
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


class Int8Encoder(SentenceEncoder):
    """A sentence-transformers model in 8 bits, on the CPU; its 8-bit form is made at the first use and kept.

    Args:
        name, folder, batch_size: as of `SentenceEncoder`.
        threads: how many compute; 0: one for each core.
    """

    def __init__(self, name: str, folder: Path, *, batch_size: int = 32, threads: int = 0) -> None:
        super().__init__(name, folder, batch_size=batch_size, device="cpu")
        self.threads = threads

    @cached_property
    def weights(self) -> str:
        """Fingerprint of the model that the 8-bit form is made of. Raises ModelMissing."""
        return SentenceEncoder(self.name, self.folder).fingerprint

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over the model's weights and the way to 8 bits: never that of the model itself.

        Raises:
            ModelMissing: the folder holds no weights.
        """
        from retrieval.encoder.int8_export import RECIPE

        return hashlib.sha256(f"{self.weights} {BACKEND} {RECIPE}".encode()).hexdigest()

    @cached_property
    def _graph(self) -> Int8Graph:
        from retrieval.encoder.int8_export import int8_folder

        return Int8Graph(int8_folder(self.folder, self.weights), self.threads)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, float32, shape (len(texts), dims).

        Raises:
            ModelMissing: the folder holds no model.
            SetupError: a package is missing, or the 8-bit form cannot be written.
            UsageError: the model has no faithful 8-bit form.
        """
        return self._graph.encode(texts, self.batch_size)
