"""The encoder with LoRA. Reads a sentence-transformers folder, produces it with low-rank matrices to be trained.

They are added to every matrix of attention and feed-forward, of all layers or of the upper ones alone. Word embeddings
stay as they are: an adapter is small enough to be shipped, and forgets no word that its training data lack.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from pydantic import Field

from retrieval.adapt.frozen_layers import FrozenLayers, StateCache, pad_tokens
from retrieval.adapt.lora import Device, LoraModel, add_lora, device_of, load_lora
from retrieval.encoder import load_sentence_transformer
from retrieval.settings import Section

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

_MAX_TOKENS: Final = 64
"""Tokens of a text that are read in training; few item texts are longer."""
_CHUNK: Final = {"cpu": 32, "cuda": 512}
"""Texts encoded together, by device: of similar length, so that there is little padding. On a CPU the activations of a
few stay in the cache: 600 texts, forwards and backwards on one core, take 3.9 s so and 7.5 s with 512."""
_PART: Final = 4_096
"""Texts that `embed_all` encodes at a time."""


class EncoderLoraSettings(Section):
    """Size and place of the low-rank matrices. alpha is twice the rank."""

    rank: int = Field(default=32, ge=1)
    layers: int | None = Field(default=None, ge=1)
    """How many of the upper layers are adapted; None: all. Fewer cost less: the lower ones are computed once a text."""


@dataclass(frozen=True)
class LoraEncoder(LoraModel):
    """An encoder with LoRA matrices.

    Attributes:
        sentence: a SentenceTransformer whose first module's model is `peft_model`.
        frozen: its layers that have no LoRA matrices; None: all have some.
    """

    sentence: Any
    frozen: FrozenLayers | None = None

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, at most 64, special tokens included."""
        return list(self.sentence.tokenizer(list(texts), truncation=True, max_length=_MAX_TOKENS)["input_ids"])

    def embed(self, tokens: Sequence[Sequence[int]]) -> torch.Tensor:
        """Unit vectors, float32, shape (texts, dims), with gradients where they are on."""
        import torch

        order = np.argsort([len(ids) for ids in tokens], kind="stable")
        size = _CHUNK[self.device.type]
        chunks = [order[start : start + size] for start in range(0, len(order), size)]
        vectors = torch.cat([self._embed([tokens[at] for at in chunk]) for chunk in chunks])
        return vectors[torch.from_numpy(np.argsort(order)).to(self.device)]

    def embed_all(self, tokens: Sequence[Sequence[int]]) -> torch.Tensor:
        """Unit vectors of many texts, as `embed` gives them, on the CPU and without gradients."""
        import torch

        with torch.no_grad():
            parts = [self.embed(tokens[start : start + _PART]).cpu() for start in range(0, len(tokens), _PART)]
        return torch.cat(parts)

    def _embed(self, tokens: Sequence[Sequence[int]]) -> torch.Tensor:
        import torch

        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.device.type == "cuda"):
            if self.frozen is None:
                ids, mask = pad_tokens(tokens, self.device)
                features = self.sentence({"input_ids": ids, "attention_mask": mask})
            else:
                states, mask = self.frozen.states(tokens, self.device)
                hidden = self.frozen.upper(inputs_embeds=states, attention_mask=mask).last_hidden_state
                features = {"token_embeddings": hidden, "attention_mask": mask}
                for module in list(self.sentence)[1:]:
                    features = module(features)
        return torch.nn.functional.normalize(features["sentence_embedding"].float(), dim=1)


def open_encoder_for_training(
    folder: Path,
    settings: EncoderLoraSettings,
    *,
    device: Device = "auto",
    seed: int = 0,
    cache: StateCache | None = None,
    adapter: Path | None = None,
) -> LoraEncoder:
    """Load an encoder and add low-rank matrices: fresh ones, the same for the same seed, or those of an adapter.

    Args:
        cache: hidden states above the frozen layers, where several trainings share them.
        adapter: peft's folder, with matrices as `settings` has them.

    Raises:
        ModelMissing: the folder holds no sentence-transformers model.
        SetupError: there is no such device.
        UsageError: the model has no linear layers to add to, or too few layers for `settings`.
        DataError: the adapter cannot be read.
    """
    torch_device = device_of(device)
    sentence = load_sentence_transformer(folder, torch_device.type)
    base = sentence[0].model
    layers = 0 if settings.layers is None else max(0, base.config.num_hidden_layers - settings.layers)
    frozen = FrozenLayers(base, layers, {} if cache is None else cache) if layers else None
    if adapter:
        sentence[0].model = load_lora(base, adapter)
    else:
        # The pooler is a head that sentence embeddings do not use.
        others = rf"pooler\.dense|encoder\.layer\.({'|'.join(map(str, range(layers)))})\..*"
        place = {"target_modules": "all-linear", "exclude_modules": others, "task_type": "FEATURE_EXTRACTION"}
        sentence[0].model = add_lora(base, settings.rank, seed, **place)
    sentence.eval()
    return LoraEncoder(sentence[0].model, torch_device, sentence, frozen)


def merged_encoder(folder: Path, adapter: Path) -> SentenceTransformer:
    """An encoder with the LoRA matrices of peft's folder merged into its weights.

    Raises:
        ModelMissing: the folder holds no sentence-transformers model.
        DataError: the adapter cannot be read.
    """
    sentence = load_sentence_transformer(folder, "cpu")
    sentence[0].model = load_lora(sentence[0].model, adapter).merge_and_unload()
    return sentence
