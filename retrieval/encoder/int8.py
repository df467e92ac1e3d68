"""The encoder in 8 bits. Reads texts and the 8-bit form of a sentence-transformers folder, produces unit vectors.

Only ONNX Runtime and the tokenizer are loaded: a process that encodes a free text needs no torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Final

from retrieval.encoder.int8_export import RECIPE, int8_folder
from retrieval.encoder.int8_graph import Int8Graph
from retrieval.encoder.sentence import SentenceEncoder, Vectors

BACKEND: Final = "onnx-int8"


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
        return hashlib.sha256(f"{self.weights} {BACKEND} {RECIPE}".encode()).hexdigest()

    @cached_property
    def _graph(self) -> Int8Graph:
        return Int8Graph(int8_folder(self.folder, self.weights), self.threads)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, float32, shape (len(texts), dims).

        Raises:
            ModelMissing: the folder holds no model.
            SetupError: a package is missing, or the 8-bit form cannot be written.
            UsageError: the model has no faithful 8-bit form.
        """
        return self._graph.encode(texts, self.batch_size)
