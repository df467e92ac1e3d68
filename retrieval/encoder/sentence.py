"""The encoder. Reads a sentence-transformers model folder and texts, produces unit vectors."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import ModelMissing

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Vectors = NDArray[np.float32]
"""A matrix of row vectors, float32."""

INT8_FOLDER: Final = "onnx-int8"
"""Folder in a model's folder for its 8-bit form (`retrieval.encoder.int8`): no part of the model's identity."""


class Encoder(Protocol):
    """What the index and the retriever need of an encoder."""

    name: str

    @property
    def fingerprint(self) -> str:
        """Identity of the weights: vectors of different fingerprints must not meet."""

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, shape (len(texts), dims)."""


class SentenceEncoder:
    """A sentence-transformers model in a folder, loaded at its first use (importing torch takes seconds).

    Args:
        name: what the settings call it; shown in messages.
        folder: of the model; read at first use.
        device: "cpu", "cuda", or None for what is there.
    """

    def __init__(self, name: str, folder: Path, *, batch_size: int = 32, device: str | None = None) -> None:
        self.name = name
        self.folder = folder
        self.batch_size = batch_size
        self.device = device

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over the model's weights and configuration.

        Raises:
            ModelMissing: the folder holds no weights.
        """
        digest = hashlib.sha256()
        inside = [p for p in self.folder.rglob("*") if INT8_FOLDER not in p.relative_to(self.folder).parts]
        files = sorted(p for p in inside if p.suffix in {".safetensors", ".json"} and p.is_file())
        if not any(p.suffix == ".safetensors" for p in files):
            raise ModelMissing(f"{self.folder} holds no model", hint=f"xdrec models pull {self.name}")
        for path in files:
            if path.name.startswith("xdrec-"):  # our own notes on where the files came from
                continue
            with path.open("rb") as file:
                digest.update(path.relative_to(self.folder).as_posix().encode())
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()

    @cached_property
    def _model(self) -> SentenceTransformer:
        return load_sentence_transformer(self.folder, self.device)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, float32, shape (len(texts), dims)."""
        vectors = self._model.encode(
            list(texts), batch_size=self.batch_size, normalize_embeddings=True, show_progress_bar=False
        )
        return np.asarray(vectors, dtype=np.float32)


def load_sentence_transformer(folder: Path, device: str | None, **model_kwargs: object) -> SentenceTransformer:
    """A model of safetensors in a folder, silently; never code or a hub's files.

    Args:
        device: "cpu", "cuda", or None for what is there.
        model_kwargs: for the transformer in it.

    Raises:
        ModelMissing: the folder holds no such model.
    """
    from sentence_transformers import SentenceTransformer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    # It would tell of every model with a default prompt that it has one.
    logging.getLogger("sentence_transformers.base.model").setLevel(logging.ERROR)
    try:
        return SentenceTransformer(
            str(folder),
            device=device,
            model_kwargs={"use_safetensors": True, **model_kwargs},
            trust_remote_code=False,
            local_files_only=True,
        )
    except (OSError, ValueError) as exc:
        hint = f"xdrec models pull {folder.name}"
        raise ModelMissing(f"{folder} does not load as a sentence-transformers model: {exc}", hint=hint) from exc
