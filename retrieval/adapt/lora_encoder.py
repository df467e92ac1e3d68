"""The encoder with LoRA. Reads a sentence-transformers folder, produces it with low-rank matrices to be trained.

LoRA (Hu et al. 2022) is added to every matrix of attention and feed-forward, of all layers or of the upper ones alone.
Word embeddings stay as they are: an adapter is small enough to be shipped, and forgets no word that its training data
lack.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from pydantic import Field

from retrieval.adapt.frozen_layers import FrozenLayers, StateCache, pad_tokens
from retrieval.errors import DataError, ModelMissing, SetupError, UsageError
from retrieval.settings import Section

if TYPE_CHECKING:
    import torch

_MAX_TOKENS: Final = 64
"""Tokens of a text that are read in training; few item texts are longer."""
_CHUNK: Final = {"cpu": 32, "cuda": 512}
"""Texts encoded together, by device: of similar length, so that there is little padding. On a CPU the activations of a
few stay in the cache: 600 texts, forwards and backwards on one core, take 3.9 s so and 7.5 s with 512."""
_PART: Final = 4_096
"""Texts that `embed_all` encodes at a time."""

Device = Literal["auto", "cpu", "cuda"]


def device_of(device: Device) -> torch.device:
    """The torch device of a name; "auto" is a GPU where there is one. Raises SetupError if there is no such device."""
    import torch

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise SetupError("there is no GPU that torch can use", hint="device = cpu")
    return torch.device(device)


class EncoderLoraSettings(Section):
    """Size and place of the low-rank matrices. alpha is twice the rank."""

    rank: int = Field(default=32, ge=1)
    layers: int | None = Field(default=None, ge=1)
    """How many of the upper layers are adapted; None: all. Fewer cost less: the lower ones are computed once a text."""


@dataclass(frozen=True)
class LoraEncoder:
    """An encoder with LoRA matrices.

    Attributes:
        sentence: a SentenceTransformer whose first module's model peft has wrapped.
        frozen: its layers that have no LoRA matrices; None: all have some.
    """

    sentence: Any
    device: torch.device
    frozen: FrozenLayers | None = None

    @property
    def peft_model(self) -> Any:  # noqa: ANN401 (peft keeps its types to itself)
        """The transformer as peft wraps it."""
        return self.sentence[0].model

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, at most 64, special tokens included."""
        ids: list[list[int]] = self.sentence.tokenizer(list(texts), truncation=True, max_length=_MAX_TOKENS)[
            "input_ids"
        ]
        return ids

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
                ids, mask = (part.to(self.device) for part in pad_tokens(tokens))
                features = self.sentence({"input_ids": ids, "attention_mask": mask})
            else:
                states, mask = self.frozen.states(tokens, self.device)
                hidden = self.frozen.upper(inputs_embeds=states, attention_mask=mask).last_hidden_state
                features = {"token_embeddings": hidden, "attention_mask": mask}
                for module in list(self.sentence)[1:]:
                    features = module(features)
        return torch.nn.functional.normalize(features["sentence_embedding"].float(), dim=1)

    def load_adapter(self, folder: Path) -> None:
        """Replace the LoRA matrices by those of peft's folder, which have the same shape.

        Raises:
            DataError: they cannot be read.
        """
        import peft
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            peft.set_peft_model_state_dict(self.peft_model, load_file(folder / "adapter_model.safetensors"))
        except (OSError, RuntimeError, SafetensorError) as exc:
            raise DataError(f"the adapter {folder} cannot be read: {exc}", hint="xdrec adapt encoder") from exc


def open_encoder_for_training(
    folder: Path,
    settings: EncoderLoraSettings,
    *,
    device: Device = "auto",
    seed: int = 0,
    cache: StateCache | None = None,
) -> LoraEncoder:
    """Load an encoder and add fresh low-rank matrices, the same for the same seed.

    Args:
        cache: hidden states above the frozen layers, where several trainings share them.

    Raises:
        ModelMissing: the folder holds no sentence-transformers model.
        SetupError: there is no such device.
        UsageError: the model has no linear layers to add to, or too few layers for `settings`.
    """
    import peft
    import torch

    torch_device = device_of(device)
    sentence = load_base_encoder(folder, torch_device)
    base = sentence[0].model
    layers = 0 if settings.layers is None else max(0, base.config.num_hidden_layers - settings.layers)
    frozen = FrozenLayers(base, layers, {} if cache is None else cache) if layers else None
    config = peft.LoraConfig(
        r=settings.rank,
        lora_alpha=2 * settings.rank,
        target_modules="all-linear",
        # The pooler is a head that sentence embeddings do not use.
        exclude_modules=rf"pooler\.dense|encoder\.layer\.({'|'.join(map(str, range(layers)))})\..*",
        lora_dropout=0.0,
        task_type="FEATURE_EXTRACTION",
    )
    torch.manual_seed(seed)
    try:
        sentence[0].model = peft.get_peft_model(base, config)
    except ValueError as exc:
        raise UsageError(f"{folder} cannot be adapted: {exc}", hint="a transformer such as all-MiniLM-L6-v2") from exc
    sentence.eval()  # no dropout: every text is seen a few times only
    return LoraEncoder(sentence, torch_device, frozen)


def merged_encoder(folder: Path, adapter: Path) -> Any:  # noqa: ANN401 (a SentenceTransformer)
    """An encoder with the LoRA matrices of peft's folder merged into its weights.

    Raises:
        ModelMissing: the folder holds no sentence-transformers model.
        DataError: the adapter cannot be read.
    """
    import peft
    import torch
    from safetensors import SafetensorError

    sentence = load_base_encoder(folder, torch.device("cpu"))
    try:
        peft_model = peft.PeftModel.from_pretrained(sentence[0].model, str(adapter), is_trainable=False)
    except (OSError, ValueError, RuntimeError, SafetensorError) as exc:
        raise DataError(f"the adapter {adapter} cannot be read: {exc}", hint="xdrec adapt encoder") from exc
    sentence[0].model = peft_model.merge_and_unload()
    return sentence


def load_base_encoder(folder: Path, device: torch.device) -> Any:  # noqa: ANN401 (a SentenceTransformer)
    """A sentence-transformers model in float32. Raises ModelMissing."""
    from sentence_transformers import SentenceTransformer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    try:
        return SentenceTransformer(
            str(folder),
            device=str(device),
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True},
        )
    except (OSError, ValueError) as exc:
        raise ModelMissing(f"{folder} does not load as an encoder: {exc}", hint="xdrec models pull") from exc
