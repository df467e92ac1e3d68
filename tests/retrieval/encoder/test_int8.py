"""The encoder in 8 bits: its vectors, its fingerprint, and the form that is made once."""

from __future__ import annotations

import shutil
import subprocess
import sys

import numpy as np
import pytest
from tiny_bert import DIMS, make_encoder

from retrieval.encoder import Int8Encoder, SentenceEncoder
from retrieval.encoder.int8 import GRAPH
from retrieval.encoder.sentence import INT8_FOLDER
from retrieval.errors import IndexMismatch, SetupError, UsageError
from retrieval.index import Index
from retrieval.settings import IndexSettings
from retrieval.store import Store
from retrieval.templates import load_template
from retrieval.types import Item

TEXTS = ["space", "a book about the sea and a ship in winter", "a robot detective", "love " * 50, "song"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A model whose 8-bit form was made."""
    folder = make_encoder(tmp_path_factory.mktemp("models") / "tiny")
    Int8Encoder("tiny", folder).encode(["space"])
    return folder


@pytest.fixture
def model(made, tmp_path):
    """A copy of it that a test may change."""
    return shutil.copytree(made, tmp_path / "tiny")


def graphs(folder):
    return sorted((folder / INT8_FOLDER).glob(f"*/{GRAPH}"))


def test_vectors_are_those_of_the_model_nearly(made):
    """Unit vectors, in the order of the texts, whatever their lengths and batches, with the model's own direction."""
    plain = SentenceEncoder("tiny", made, device="cpu").encode(TEXTS)
    for batch_size in (1, 2, 64):
        small = Int8Encoder("tiny", made, batch_size=batch_size).encode(TEXTS)
        assert (small.shape, small.dtype) == ((len(TEXTS), DIMS), np.float32)
        assert np.linalg.norm(small, axis=1) == pytest.approx(np.ones(len(TEXTS)), abs=1e-5)
        assert ((small * plain).sum(axis=1) > 0.97).all()
        assert ((small @ plain.T).argmax(axis=1) == np.arange(len(TEXTS))).all()
    assert Int8Encoder("tiny", made).encode([]).shape == (0, DIMS)


def test_weights_have_eight_bits(made):
    """The form that was made multiplies by integers: it is not the model in another format."""
    import onnx
    from onnx.numpy_helper import to_array

    graph = onnx.load(graphs(made)[0]).graph
    matrices = [
        to_array(one) for one in graph.initializer if len(one.dims) == 2 and one.data_type == onnx.TensorProto.INT8
    ]
    assert len(matrices) == 2 * 4  # of each layer: query, key and value in one, output, and the two of the feed-forward
    assert max(int(np.abs(m.astype(np.int16)).max()) for m in matrices) <= 64  # 7 bits


def test_a_prompt_of_the_model_is_part_of_every_text(tmp_path, made):
    """A model with a default prompt gives in 8 bits what it gives with torch: the prompt is before each text."""
    prompted = make_encoder(tmp_path / "prompted", prompt="song about ")
    small = Int8Encoder("prompted", prompted).encode(["the sea"])
    assert (small @ Int8Encoder("tiny", made).encode(["song about the sea"]).T).item() > 0.999
    assert (small @ SentenceEncoder("prompted", prompted, device="cpu").encode(["the sea"]).T).item() > 0.97


def test_the_form_is_made_once(made):
    """A second encoder of the folder, as of another process, uses the form that is there."""
    before = graphs(made)[0].stat()
    Int8Encoder("tiny", made).encode(["space"])
    assert [(g.stat().st_ino, g.stat().st_mtime_ns) for g in graphs(made)] == [(before.st_ino, before.st_mtime_ns)]


def test_no_fingerprint_is_shared(model, tmp_path):
    """8 bits have another fingerprint than the model, other weights have another one; making the form changes none."""
    plain, small = SentenceEncoder("tiny", model).fingerprint, Int8Encoder("tiny", model).fingerprint
    shutil.rmtree(model / INT8_FOLDER)
    assert (SentenceEncoder("tiny", model).fingerprint, Int8Encoder("tiny", model).fingerprint) == (plain, small)
    other = make_encoder(tmp_path / "other", seed=1)
    prints = {plain, small, SentenceEncoder("other", other).fingerprint, Int8Encoder("other", other).fingerprint}
    assert len(prints) == 4


def test_new_weights_get_a_new_form(model, tmp_path):
    """Where a folder's weights were replaced, the form of the old ones is deleted and never used."""
    old = graphs(model)
    other = make_encoder(tmp_path / "other", seed=1)
    shutil.copy(other / "model.safetensors", model / "model.safetensors")
    found = Int8Encoder("tiny", model).encode(TEXTS)
    assert [p.parent.name for p in graphs(model)] != [p.parent.name for p in old]
    assert len(graphs(model)) == 1
    assert ((found * SentenceEncoder("tiny", model, device="cpu").encode(TEXTS)).sum(axis=1) > 0.97).all()


def test_an_index_of_one_form_refuses_the_other(made, tmp_path):
    """Vectors of float32 and of 8 bits never meet: the other form needs a rebuild."""
    template, settings = load_template("item"), IndexSettings()
    with Store.open(f"sqlite:///{tmp_path / 'store.sqlite'}") as store:
        store.upsert_items([Item(domain="books", id="1", title="Space")], run="items")
        with Index(tmp_path / "index", SentenceEncoder("tiny", made, device="cpu"), template, settings) as index:
            index.build(store, "books")
        with Index(tmp_path / "index", Int8Encoder("tiny", made), template, settings) as index:
            with pytest.raises(IndexMismatch) as caught:
                index.build(store, "books")
            assert caught.value.hint == "xdrec index books --rebuild"
            assert index.build(store, "books", rebuild=True).embedded == 1


def test_a_missing_package_names_its_command(model, monkeypatch):
    """Without onnx the error says what to install."""
    shutil.rmtree(model / INT8_FOLDER)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(SetupError, match="onnx-int8 needs a package") as caught:
        Int8Encoder("tiny", model).encode(["space"])
    assert caught.value.hint == "pip install 'xdrec[int8]'"


def test_a_folder_that_cannot_be_written_is_a_set_up_error(model):
    """Where the form cannot be kept the error says so, and what else works."""
    shutil.rmtree(model / INT8_FOLDER)
    (model / INT8_FOLDER).write_text("in the way")
    with pytest.raises(SetupError, match="cannot be written") as caught:
        Int8Encoder("tiny", model).encode(["space"])
    assert "torch" in caught.value.hint


def test_what_is_no_transformer_is_refused(tmp_path):
    """A model of static embeddings, which needs no 8 bits, is refused, and nothing half made stays usable."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models

    static = StaticEmbedding(Tokenizer(models.WordLevel({"a": 0, "?": 1}, unk_token="?")), embedding_dim=8)
    SentenceTransformer(modules=[static], device="cpu").save_pretrained(str(tmp_path / "static"))
    with pytest.raises(UsageError, match="has no 8-bit form") as caught:
        Int8Encoder("static", tmp_path / "static").encode(["a"])
    assert "torch" in caught.value.hint
    assert graphs(tmp_path / "static") == []


def test_encoding_needs_no_torch(made):
    """Once the form is there, a process that encodes loads neither torch nor transformers: it starts fast."""
    code = f"""
import sys
from pathlib import Path
from retrieval.encoder.int8 import Int8Encoder
Int8Encoder("tiny", Path({str(made)!r})).encode(["space"])
print([name for name in ("torch", "transformers", "onnx") if name in sys.modules])
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
