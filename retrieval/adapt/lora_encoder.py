"""The encoder in training. Reads a sentence-transformers folder, produces it with low-rank additions to be trained.

LoRA (Hu et al. 2022) beside every matrix of attention and feed-forward, of all layers or of the upper ones alone; word
embeddings stay as they are, so that what is learnt is small enough to be shipped and cannot forget words that the
training data lack.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from pydantic import Field

from retrieval.adapt.device import Device, device_of
from retrieval.adapt.frozen_layers import Below, Kept, padded
from retrieval.errors import DataError, ModelMissing, UsageError
from retrieval.settings import Section

if TYPE_CHECKING:
    import torch

_LONGEST: Final = 64
"""Tokens of a text that are read in training; few item texts are longer."""
_CHUNK: Final = {"cpu": 32, "cuda": 512}
"""Texts encoded together, by device: of similar length, so that little is padded. On a CPU what a layer says of a few
stays in the cache; 600 texts, there and back by one core, take 3.9 s so and 7.5 s with 512."""


class EncoderShape(Section):
    """How large the additions are. alpha is twice the rank."""

    rank: int = Field(default=32, ge=1)
    layers: int | None = Field(default=None, ge=1)
    """How many of the upper layers get some; None: all. Fewer cost less: what lies below is computed once a text."""


@dataclass(frozen=True)
class TrainedEncoder:
    """An encoder with additions.

    Attributes:
        sentence: a SentenceTransformer whose first module's model peft has wrapped.
        below: its layers that have none; None: all have some.
    """

    sentence: Any
    device: torch.device
    below: Below | None = None

    @property
    def whole(self) -> Any:  # noqa: ANN401 (peft keeps its types to itself)
        """The transformer as peft wraps it."""
        return self.sentence[0].model

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        """What is trained, by name, in a fixed order."""
        return {name: p for name, p in sorted(self.sentence.named_parameters()) if p.requires_grad}

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, at most 64, special tokens included."""
        encoded = self.sentence.tokenizer(list(texts), truncation=True, max_length=_LONGEST)
        ids: list[list[int]] = encoded["input_ids"]
        return ids

    def embed(self, tokens: Sequence[Sequence[int]]) -> torch.Tensor:
        """Unit vectors, float32, shape (texts, dims), with gradients where they are on."""
        import torch

        order = np.argsort([len(some) for some in tokens], kind="stable")
        chunk = _CHUNK[self.device.type]
        some = [order[start : start + chunk] for start in range(0, len(order), chunk)]
        parts = [self._embed([tokens[at] for at in rows]) for rows in some]
        back = torch.empty(len(order), dtype=torch.long)
        back[torch.from_numpy(order)] = torch.arange(len(order))
        return torch.cat(parts)[back.to(self.device)]

    def _embed(self, tokens: Sequence[Sequence[int]]) -> torch.Tensor:
        import torch

        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.device.type == "cuda"):
            if self.below is None:
                ids, mask = (part.to(self.device) for part in padded(tokens))
                vectors = self.sentence({"input_ids": ids, "attention_mask": mask})["sentence_embedding"]
            else:
                vectors = self._above(self.below, tokens)
        return torch.nn.functional.normalize(vectors.float(), dim=1)

    def _above(self, below: Below, tokens: Sequence[Sequence[int]]) -> torch.Tensor:
        states, mask = below.states(tokens, self.device)
        said = below.above(inputs_embeds=states, attention_mask=mask).last_hidden_state
        features: dict[str, torch.Tensor] = {"token_embeddings": said, "attention_mask": mask}
        for module in list(self.sentence)[1:]:
            features = module(features)
        return features["sentence_embedding"]


def open_encoder_for_training(
    folder: Path, shape: EncoderShape, *, device: Device = "auto", seed: int = 0, kept: Kept | None = None
) -> TrainedEncoder:
    """Load an encoder and add fresh low-rank matrices, the same for the same seed.

    Args:
        kept: what the layers that get none are known to say, where several trainings share it.

    Raises:
        ModelMissing: the folder holds no sentence-transformers model.
        SetupError: there is no such device.
        UsageError: the model has no linear layers to add to, or too few layers for `shape`.
    """
    import peft
    import torch

    place = device_of(device)
    sentence = load_base_encoder(folder, place)
    plain = sentence[0].model
    frozen = 0 if shape.layers is None else max(0, plain.config.num_hidden_layers - shape.layers)
    below = Below(plain, frozen, {} if kept is None else kept) if frozen else None
    config = peft.LoraConfig(
        r=shape.rank,
        lora_alpha=2 * shape.rank,
        target_modules="all-linear",
        # The pooler is a head that sentence embeddings do not use.
        exclude_modules=rf"pooler\.dense|encoder\.layer\.({'|'.join(map(str, range(frozen)))})\..*",
        lora_dropout=0.0,
        task_type="FEATURE_EXTRACTION",
    )
    torch.manual_seed(seed)
    try:
        sentence[0].model = peft.get_peft_model(plain, config)
    except ValueError as exc:
        raise UsageError(f"{folder} cannot be adapted: {exc}", hint="a transformer such as all-MiniLM-L6-v2") from exc
    # Dropout would make a resumed run come to other weights, and every text is seen a few times only.
    sentence.eval()
    return TrainedEncoder(sentence, place, below)


def take_additions(encoder: TrainedEncoder, additions: Path) -> None:
    """Put the additions of peft's folder in place of the encoder's own, which have the same shape.

    Raises:
        DataError: they cannot be read.
    """
    import peft
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        peft.set_peft_model_state_dict(encoder.whole, load_file(additions / "adapter_model.safetensors"))
    except (OSError, RuntimeError, SafetensorError) as exc:
        raise DataError(f"the adapter {additions} cannot be read: {exc}", hint="xdrec adapt encoder") from exc


def merged_encoder(folder: Path, additions: Path) -> Any:  # noqa: ANN401 (a SentenceTransformer)
    """An encoder with the additions of peft's folder added to its weights.

    Raises:
        ModelMissing: the folder holds no sentence-transformers model.
        DataError: the additions cannot be read.
    """
    import peft
    import torch
    from safetensors import SafetensorError

    sentence = load_base_encoder(folder, torch.device("cpu"))
    try:
        whole = peft.PeftModel.from_pretrained(sentence[0].model, str(additions), is_trainable=False)
    except (OSError, ValueError, RuntimeError, SafetensorError) as exc:
        raise DataError(f"the adapter {additions} cannot be read: {exc}", hint="xdrec adapt encoder") from exc
    sentence[0].model = whole.merge_and_unload()
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
