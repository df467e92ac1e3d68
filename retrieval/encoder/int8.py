"""The encoder in 8 bits. Reads texts and a sentence-transformers folder, produces unit vectors by ONNX Runtime.

The conversion makes one graph of the whole pipeline (transformer, pooling, dense layers), whose matrix products take
8-bit weights, one scale for each output channel, and activations whose scale is found as they come (Jacob et al. 2018;
dynamic quantization of ONNX Runtime). Weights use 7 of the 8 bits: processors without VNNI add pairs of products in 16
bits, which full 8-bit weights overflow, so that vectors would depend on the processor. Encoding loads the graph and the
tokenizer alone: a process that encodes a free text needs no torch. sentence-transformers' own export is not used: it
needs optimum-onnx, which refuses transformers 4.58 and later, and leaves pooling out of the graph.
"""

from __future__ import annotations

import copy
import hashlib
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from retrieval.encoder.sentence import INT8_FOLDER, SentenceEncoder, Vectors, load_sentence_transformer
from retrieval.errors import ModelMissing, SetupError, UsageError, optional_packages
from retrieval.files import atomic_folder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

GRAPH: Final = "model.onnx"
_TOKENIZER: Final = "tokenizer.json"
_CONVERSION: Final = "1"
"""Version of the conversion: part of the vectors' fingerprint, so it changes whenever they would."""
_OPSET: Final = 17
_MAX_WEIGHT_BYTES: Final = 1_900_000_000
"""Weights that fit into one ONNX file (protobuf ends at 2 GiB)."""
_MIN_COSINE: Final = 0.9
"""Least cosine to the original's vectors on the probes; a faithful conversion has .97 and more."""
_PROBES: Final = (
    "A retired detective hunts artificial humans through a city of rain.",
    "cookbooks, food and wine, baking",
    "一名退休警探在阴雨不断的城市里追捕人造人。",
    "A long text: " + "a family keeps a lighthouse and a secret, and the sea takes both in the end; " * 12,
)


class Int8Encoder(SentenceEncoder):
    """A sentence-transformers model in 8 bits, on the CPU; it is converted at its first use, and the result is kept.

    Args:
        name, folder, batch_size: as of `SentenceEncoder`.
        threads: how many compute; 0: one for each core.
    """

    def __init__(self, name: str, folder: Path, *, batch_size: int = 32, threads: int = 0) -> None:
        super().__init__(name, folder, batch_size=batch_size, device="cpu")
        self.threads = threads

    @cached_property
    def _original_fingerprint(self) -> str:
        return SentenceEncoder(self.name, self.folder).fingerprint

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over the model's weights and the conversion: never that of the model itself.

        Raises:
            ModelMissing: the folder holds no weights.
        """
        return hashlib.sha256(f"{self._original_fingerprint} onnx-int8 {_CONVERSION}".encode()).hexdigest()

    @cached_property
    def _graph(self) -> _Graph:
        return _Graph(_converted_folder(self.folder, self._original_fingerprint), self.threads)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, float32, shape (len(texts), dims).

        Raises:
            ModelMissing: the folder holds no model.
            SetupError: a package is missing, or the converted model cannot be written.
            UsageError: the model cannot be converted faithfully.
        """
        return self._graph.encode(texts, self.batch_size)


class _Graph:
    """A converted encoder's graph and tokenizer, in a folder."""

    def __init__(self, folder: Path, threads: int = 0) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        options = onnxruntime.SessionOptions()
        # Matrices this small are shared badly: one thread for each batch is 5 to 8% faster than two at one batch.
        options.intra_op_num_threads = 1
        self._threads = threads or os.cpu_count() or 1
        self._session = onnxruntime.InferenceSession(folder / GRAPH, options, providers=["CPUExecutionProvider"])
        self._tokenizer = Tokenizer.from_file(str(folder / _TOKENIZER))

    def encode(self, texts: Sequence[str], batch_size: int) -> Vectors:
        tokens = [np.asarray(one.ids, dtype=np.int64) for one in self._tokenizer.encode_batch_fast(list(texts))]
        # Padding costs as much as text: texts of like length share a batch.
        order = np.argsort([len(ids) for ids in tokens], kind="stable")
        batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
        vectors = np.empty((len(tokens), self._session.get_outputs()[0].shape[-1]), dtype=np.float32)
        with ThreadPoolExecutor(self._threads) as pool:
            encoded = pool.map(lambda rows: self._encode_batch([tokens[row] for row in rows]), batches)
            for rows, part in zip(batches, encoded, strict=True):
                vectors[rows] = part
        return vectors

    def _encode_batch(self, tokens: Sequence[NDArray[np.int64]]) -> Vectors:
        lengths = np.array([len(ids) for ids in tokens])
        mask = (np.arange(lengths.max()) < lengths[:, None]).astype(np.int64)
        ids = np.zeros_like(mask)
        ids[mask.astype(bool)] = np.concatenate(tokens)
        vectors: Vectors = self._session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def _converted_folder(folder: Path, fingerprint: str) -> Path:
    """The folder of the converted model, made now unless it was; what was made of other weights is deleted."""
    home = folder / INT8_FOLDER
    converted = home / f"{fingerprint[:16]}-{_CONVERSION}"
    if converted.is_dir():
        return converted
    try:
        home.mkdir(exist_ok=True)
        with FileLock(home / "lock"):
            if not converted.is_dir():  # another process may have been faster
                for old in (p for p in home.iterdir() if p.is_dir()):
                    shutil.rmtree(old)
                with optional_packages("encoder.backend = onnx-int8", "int8"), atomic_folder(converted) as partial:
                    _convert(folder, partial)
    except OSError as exc:
        raise SetupError(
            f"the 8-bit form of {folder.name} cannot be written to {home}: {exc.strerror or exc}",
            hint='copy the model to where you may write, or set encoder.backend to "torch"',
        ) from exc
    return converted


def _convert(folder: Path, into: Path) -> None:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.transformers.optimizer import optimize_model

    model = _load(folder)
    _save_tokenizer(model, into / _TOKENIZER)
    config = model[0].model.config
    with _quiet(), tempfile.TemporaryDirectory(dir=into) as work:
        plain, fused = Path(work) / "plain.onnx", Path(work) / "fused.onnx"
        _trace(model, plain)
        shape = {"num_heads": getattr(config, "num_attention_heads", 0), "hidden_size": config.hidden_size}
        optimize_model(str(plain), model_type="bert", opt_level=0, **shape).save_model_to_file(str(fused))
        quantize_dynamic(
            str(fused),
            str(into / GRAPH),
            op_types_to_quantize=["MatMul", "Attention"],
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True, "DefaultTensorType": onnx.TensorProto.FLOAT},
        )
    original = np.asarray(model.encode(list(_PROBES), normalize_embeddings=True, show_progress_bar=False))
    cosine = float((original * _Graph(into).encode(_PROBES, len(_PROBES))).sum(axis=1).min())
    if not cosine >= _MIN_COSINE:  # NaN is not
        raise _unfit(folder, f"its 8-bit vectors differ from its own (cosine {cosine:.2f})")


def _load(folder: Path) -> SentenceTransformer:
    size = sum(p.stat().st_size for p in folder.rglob("*.safetensors"))
    if size > _MAX_WEIGHT_BYTES:
        raise _unfit(folder, f"its {size / 1e9:.1f} GB of weights do not fit into an ONNX file")
    try:
        # The tracer needs attention written out, and 16-bit weights would be traced as such.
        model = load_sentence_transformer(folder, "cpu", attn_implementation="eager", dtype="float32")
    except ModelMissing as exc:
        raise _unfit(folder, str(exc)) from exc
    if not hasattr(model[0], "model") or not getattr(model.tokenizer, "is_fast", False):
        raise _unfit(folder, "it is no transformer with a fast tokenizer")
    return model.eval()


def _save_tokenizer(model: SentenceTransformer, path: Path) -> None:
    from tokenizers.normalizers import Prepend, Sequence

    tokenizer = copy.deepcopy(model.tokenizer.backend_tokenizer)
    tokenizer.no_padding()
    tokenizer.enable_truncation(model.max_seq_length or model.tokenizer.model_max_length)
    prompt = model.prompts.get(model.default_prompt_name) if model.default_prompt_name else None
    if prompt:
        own = [tokenizer.normalizer] if tokenizer.normalizer else []
        tokenizer.normalizer = Sequence([Prepend(prompt), *own])
    tokenizer.save(str(path))


def _trace(model: SentenceTransformer, path: Path) -> None:
    import torch

    class Pipeline(torch.nn.Module):
        """The modules of the model as a function of tensors."""

        def __init__(self) -> None:
            super().__init__()
            self.parts = torch.nn.ModuleList(model)

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            features = {"input_ids": input_ids, "attention_mask": attention_mask}
            for part in self.parts:
                features = part(features)
            return features["sentence_embedding"]

    shape = {0: "texts", 1: "tokens"}
    example = torch.ones(2, 9, dtype=torch.long)
    # The exporter of TorchScript: ONNX Runtime's fusions know its graphs, not yet those of torch.export.
    with torch.no_grad():
        torch.onnx.export(
            Pipeline().eval(),
            (example, example.clone()),
            str(path),
            dynamo=False,
            opset_version=_OPSET,
            input_names=["input_ids", "attention_mask"],
            output_names=["vectors"],
            dynamic_axes={"input_ids": shape, "attention_mask": shape, "vectors": {0: "texts"}},
        )


def _unfit(folder: Path, why: str) -> UsageError:
    return UsageError(f"{folder.name} has no 8-bit form: {why}", hint='set encoder.backend to "torch"')


@contextmanager
def _quiet() -> Iterator[None]:
    """The tracer warns of every branch that it fixes, and the quantizer, on the root logger, of steps left out."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(level)
