"""The small models themselves, pulled from whatever source this machine reaches, once for all runs."""

from __future__ import annotations

import json

import numpy as np
import pytest

from retrieval.encoder import SentenceEncoder
from xdrec_agent.models import find_model, pull_model
from xdrec_agent.models.manifest import ModelManifest
from xdrec_agent.models.table import MODELS
from xdrec_agent.settings import load_settings

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def models_dir():
    """The folder that projects share, so that a model is downloaded once."""
    return load_settings().models_dir


def test_the_encoder_embeds(models_dir):
    """The pulled encoder loads and puts texts about the same thing closer together than others."""
    from sentence_transformers import SentenceTransformer

    folder = pull_model("all-MiniLM-L6-v2", models_dir)
    encoder = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    vectors = encoder.encode(
        ["A spaceship lost among the stars", "Astronauts on a voyage through space", "Baking bread at home"],
        normalize_embeddings=True,
        show_progress_bar=False,
    )
    assert vectors.shape == (3, 384)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2


def test_the_language_model_is_a_servable_folder(models_dir):
    """The pulled LLM is plain bfloat16 safetensors with configuration and a tokenizer that knows the chat format."""
    from transformers import AutoConfig, AutoTokenizer

    folder = pull_model("smollm2-135m-instruct", models_dir)
    assert (folder / "model.safetensors").stat().st_size > 200_000_000
    config = AutoConfig.from_pretrained(folder)
    assert (config.model_type, getattr(config, "quantization_config", None)) == ("llama", None)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hello"}], tokenize=False, add_generation_prompt=True
    )
    assert chat.endswith("<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n")
    assert json.loads((folder / "tokenizer_config.json").read_text())["eos_token"] == "<|im_end|>"


@pytest.mark.parametrize("name", ["all-MiniLM-L6-v2", "smollm2-135m-instruct"])
def test_the_manifest_names_source_and_weights(models_dir, name):
    """What was pulled says which source it is from, at the pinned revision if that was the hub."""
    manifest = ModelManifest.read(pull_model(name, models_dir))
    spec = MODELS[name]
    assert (manifest.name, manifest.kind, set(manifest.weights)) == (name, spec.kind, {"model.safetensors"})
    expected = {f"hub {spec.hub_id}": spec.revision, f"package {spec.packages[0][0]}": spec.packages[0][1]}
    assert manifest.revision == expected[manifest.source]


def test_the_adapted_encoder_is_made_of_the_base_and_what_the_package_carries(models_dir):
    """`minilm-taste` loads as any encoder, under a fingerprint of its own, and still knows what texts are about."""
    folder = pull_model("minilm-taste", models_dir)
    assert ModelManifest.read(folder).source == "adapter minilm-taste on all-MiniLM-L6-v2"
    encoder = SentenceEncoder("minilm-taste", folder)
    base = SentenceEncoder("all-MiniLM-L6-v2", find_model("all-MiniLM-L6-v2", models_dir))
    assert encoder.fingerprint != base.fingerprint
    film, book, other = encoder.encode(
        [
            "Alien. by Ridley Scott. Science Fiction & Fantasy, Horror.",
            "Solaris. by Stanislaw Lem. Literature & Fiction, Science Fiction.",
            "The Joy of Cooking. Cookbooks, Food & Wine.",
        ]
    )
    assert film @ book > film @ other + 0.05
