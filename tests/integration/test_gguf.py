"""Converting a GGUF, with a real one of a few thousand weights and the real transformers."""

from __future__ import annotations

import json

import gguf as gguf_format
import numpy as np
import pytest

from xdrec_agent.errors import ModelCorrupt
from xdrec_agent.models.conversion import convert_in_subprocess

pytestmark = pytest.mark.integration

HIDDEN, INNER = 32, 64
TOKENS = ["<unk>", "<s>", "</s>", *map(chr, range(33, 127)), "Ġ", "he"]
TEMPLATE = "{{ messages[0].content }}"


def write_gguf(path, template=TEMPLATE):
    """A llama of one layer with random weights; returns its embedding matrix."""
    rng = np.random.default_rng(0)
    writer = gguf_format.GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(1)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(HIDDEN // 2)
    writer.add_vocab_size(len(TOKENS))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(TOKENS)
    writer.add_token_merges(["h e"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    if template:
        writer.add_chat_template(template)
    square, wide, narrow = (HIDDEN, HIDDEN), (INNER, HIDDEN), (HIDDEN, INNER)
    shapes = {"attn_norm": (HIDDEN,), "ffn_norm": (HIDDEN,), "ffn_gate": wide, "ffn_up": wide, "ffn_down": narrow}
    shapes |= dict.fromkeys(("attn_q", "attn_k", "attn_v", "attn_output"), square)
    weights = {f"blk.0.{name}": shape for name, shape in shapes.items()}
    weights |= {"token_embd": (len(TOKENS), HIDDEN), "output": (len(TOKENS), HIDDEN), "output_norm": (HIDDEN,)}
    tensors = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in weights.items()}
    for name, tensor in tensors.items():
        writer.add_tensor(f"{name}.weight", tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tensors["token_embd"]


def test_a_gguf_becomes_a_plain_folder(tmp_path, capfd):
    """The folder has the same weights in bfloat16, the chat template and no quantization; nothing is printed."""
    import torch
    from safetensors.torch import load_file

    embedding = write_gguf(tmp_path / "tiny.gguf")
    convert_in_subprocess(tmp_path / "tiny.gguf", tmp_path / "out")
    assert capfd.readouterr() == ("", "")
    converted = load_file(tmp_path / "out" / "model.safetensors")["model.embed_tokens.weight"]
    assert torch.equal(converted, torch.from_numpy(embedding).to(torch.bfloat16))
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert "quantization_config" not in config
    assert (tmp_path / "out" / "chat_template.jinja").read_text() == TEMPLATE


def test_a_gguf_without_chat_template_is_refused(tmp_path):
    """A base model, which cannot hold a conversation, is ModelCorrupt and leaves no folder."""
    write_gguf(tmp_path / "base.gguf", template=None)
    with pytest.raises(ModelCorrupt, match=r"base\.gguf carries no chat template"):
        convert_in_subprocess(tmp_path / "base.gguf", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_no_gguf_is_refused(tmp_path):
    """A file of another format is ModelCorrupt with the reader's reason."""
    (tmp_path / "no.gguf").write_bytes(b"not a model")
    with pytest.raises(ModelCorrupt, match=r"no\.gguf cannot be read as a language model"):
        convert_in_subprocess(tmp_path / "no.gguf", tmp_path / "out")
