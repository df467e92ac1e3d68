"""The 8-bit form of an encoder. Reads a sentence-transformers folder, produces an ONNX graph and its tokenizer.

The whole pipeline (transformer, pooling, dense layers) becomes one graph whose matrix products take 8-bit weights, one
scale for each output channel, and activations whose scale is found as they come (Jacob et al. 2018; dynamic
quantization of ONNX Runtime). Weights use 7 of the 8 bits: processors without VNNI add pairs of products in 16 bits,
which full 8-bit weights overflow, so that vectors would depend on the processor.
"""

from __future__ import annotations

import copy
import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from filelock import FileLock

from retrieval.encoder.int8_graph import GRAPH, TOKENIZER, Int8Graph
from retrieval.encoder.sentence import DERIVED, Vectors
from retrieval.errors import SetupError, UsageError
from retrieval.files import atomic_folder

RECIPE: Final = "1"
"""Of the conversion: part of the vectors' fingerprint, so it changes whenever they would."""

_OPSET: Final = 17
_LARGEST: Final = 1_900_000_000
"""Bytes of weights that fit into one ONNX file (protobuf ends at 2 GiB)."""
_LIKE: Final = 0.9
"""Least cosine to the original's vectors on the probes; a faithful conversion has .97 and more."""
_PROBES: Final = (
    "A retired detective hunts artificial humans through a city of rain.",
    "cookbooks, food and wine, baking",
    "一名退休警探在阴雨不断的城市里追捕人造人。",
    "A long text: " + "a family keeps a lighthouse and a secret, and the sea takes both in the end; " * 12,
)


def int8_folder(folder: Path, weights: str) -> Path:
    """The folder of a model's 8-bit form, made now if it was not made of these weights before.

    Args:
        folder: of the sentence-transformers model.
        weights: its fingerprint; another form than that of these weights is deleted.

    Raises:
        SetupError: a package is not installed, or the folder cannot be written.
        UsageError: the model cannot be converted faithfully.
    """
    home = folder / DERIVED
    made = home / f"{weights[:16]}-{RECIPE}"
    if made.is_dir():
        return made
    try:
        home.mkdir(exist_ok=True)
        with FileLock(home / "lock"):
            if not made.is_dir():  # another process may have been faster
                for old in (p for p in home.iterdir() if p.is_dir()):
                    shutil.rmtree(old)
                with atomic_folder(made) as partial:
                    _export(folder, partial)
    except OSError as exc:
        raise SetupError(
            f"the 8-bit form of {folder.name} cannot be written to {home}: {exc.strerror or exc}",
            hint='copy the model to where you may write, or set encoder.backend to "torch"',
        ) from exc
    return made


def _export(folder: Path, into: Path) -> None:
    with _packages():
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic
        from onnxruntime.transformers.optimizer import optimize_model

    model = _load(folder)
    _save_tokenizer(model, into / TOKENIZER)
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
    _check(model, Int8Graph(into), folder)


def _load(folder: Path) -> Any:  # noqa: ANN401 (a SentenceTransformer)
    from sentence_transformers import SentenceTransformer
    from transformers.utils.logging import disable_progress_bar

    weights = sum(p.stat().st_size for p in folder.rglob("*.safetensors"))
    if weights > _LARGEST:
        raise _unfit(folder, f"its {weights / 1e9:.1f} GB of weights do not fit into an ONNX file")
    disable_progress_bar()
    try:
        model = SentenceTransformer(
            str(folder),
            device="cpu",
            local_files_only=True,
            trust_remote_code=False,
            # The tracer needs attention written out, and 16-bit weights would be traced as such.
            model_kwargs={"use_safetensors": True, "attn_implementation": "eager", "dtype": "float32"},
        )
    except (OSError, ValueError) as exc:
        raise _unfit(folder, str(exc)) from exc
    if not hasattr(model[0], "model") or not getattr(model.tokenizer, "is_fast", False):
        raise _unfit(folder, "it is no transformer with a fast tokenizer")
    return model.eval()


def _save_tokenizer(model: Any, path: Path) -> None:  # noqa: ANN401
    from tokenizers.normalizers import Prepend, Sequence

    tokenizer = copy.deepcopy(model.tokenizer.backend_tokenizer)
    tokenizer.no_padding()
    tokenizer.enable_truncation(model.max_seq_length or model.tokenizer.model_max_length)
    prompt = model.prompts.get(model.default_prompt_name) if model.default_prompt_name else None
    if prompt:
        own = [tokenizer.normalizer] if tokenizer.normalizer else []
        tokenizer.normalizer = Sequence([Prepend(prompt), *own])
    tokenizer.save(str(path))


def _trace(model: Any, path: Path) -> None:  # noqa: ANN401
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


def _check(model: Any, graph: Int8Graph, folder: Path) -> None:  # noqa: ANN401
    wanted = np.asarray(model.encode(list(_PROBES), normalize_embeddings=True, show_progress_bar=False))
    found: Vectors = graph.encode(list(_PROBES), len(_PROBES))
    least = float((wanted * found).sum(axis=1).min())
    if not least >= _LIKE:
        raise _unfit(folder, f"its 8-bit vectors differ from its own (cosine {least:.2f})")


def _unfit(folder: Path, why: str) -> UsageError:
    return UsageError(f"{folder.name} has no 8-bit form: {why}", hint='set encoder.backend to "torch"')


@contextmanager
def _quiet() -> Iterator[None]:
    """The tracer warns of every branch that it fixes, and the quantizer, on the root logger, of steps left out."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


@contextmanager
def _packages() -> Iterator[None]:
    try:
        yield
    except ImportError as exc:
        raise SetupError(
            f"encoder.backend = onnx-int8 needs a package that is not installed: {exc.name}",
            hint="pip install 'xdrec[int8]'",
        ) from exc
