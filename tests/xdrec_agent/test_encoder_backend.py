"""The setting `encoder.backend`, at the place where the encoder is made."""

from __future__ import annotations

import pytest

from retrieval.encoder import Int8Encoder, SentenceEncoder
from retrieval.errors import UsageError
from xdrec_agent.app import open_encoder
from xdrec_agent.settings import load_settings


@pytest.fixture
def model(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    return str(tmp_path)


def made(model, device="auto", **settings):
    return open_encoder(load_settings(device=device, encoder={"model": model, **settings}))


def test_the_backend_is_what_the_settings_say(model):
    """Without a word it is torch; onnx-int8 is the encoder in 8 bits, of the same folder, with another fingerprint."""
    plain, small = made(model), made(model, backend="onnx-int8", batch_size=7)
    assert type(plain) is SentenceEncoder
    assert type(small) is Int8Encoder
    assert (small.folder, small.batch_size, small.device) == (plain.folder, 7, "cpu")
    assert small.fingerprint != plain.fingerprint


def test_a_gpu_is_not_for_eight_bits(model):
    """Where a GPU is asked for, 8 bits on the CPU are refused instead of being used silently."""
    with pytest.raises(UsageError, match="onnx-int8"):
        made(model, "cuda", backend="onnx-int8")
    assert made(model, "cuda").device == "cuda"


def test_another_backend_is_unknown():
    """A misspelt backend is refused when the settings are made."""
    with pytest.raises(UsageError, match=r"encoder\.backend"):
        load_settings(encoder={"backend": "int8"})
