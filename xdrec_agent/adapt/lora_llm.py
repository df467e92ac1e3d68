"""Language models with LoRA. Reads a base model's folder, produces it with low-rank matrices that can be trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import Field

from retrieval.adapt import Device, LoraModel, add_lora, device_of
from retrieval.errors import UsageError
from retrieval.settings import Section
from xdrec_agent.models import load_llm

if TYPE_CHECKING:
    import torch

_TARGETS: Final[Mapping[str, tuple[str, ...]]] = {
    "attention": ("q_proj", "k_proj", "v_proj", "o_proj"),
    "all": ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
}


class LoraSettings(Section):
    """Size and place of the low-rank matrices. alpha is twice the rank."""

    rank: int = Field(default=16, ge=1)
    targets: Literal["attention", "all"] = "all"
    """Matrices that are adapted: those of the attention, or those of the feed-forward part as well."""
    layers: int | None = Field(default=None, ge=1)
    """How many of the last layers are adapted; None: all. The lower ones then store no activations."""


@dataclass(frozen=True)
class LoraLLM(LoraModel):
    """A causal language model with LoRA matrices."""

    @property
    def decoder(self) -> Any:  # noqa: ANN401 (a transformers model)
        """The part of it that gives hidden states, without the head over the whole vocabulary."""
        return self.peft_model.get_base_model().base_model

    @property
    def head(self) -> torch.Tensor:
        """Rows of the output embedding, shape (vocabulary, hidden)."""
        head: torch.Tensor = self.peft_model.get_base_model().get_output_embeddings().weight.detach()
        return head


def open_llm_for_training(folder: Path, lora: LoraSettings, *, device: Device = "auto", seed: int = 0) -> LoraLLM:
    """Load a base model and add fresh low-rank matrices, the same for the same seed.

    Raises:
        SetupError: there is no such device.
        ModelMissing: the folder holds no causal language model.
        UsageError: the model has none of the matrices, or fewer layers.
    """
    torch_device = device_of(device)
    base = load_llm(folder, torch_device)
    layers = base.config.num_hidden_layers
    if lora.layers and lora.layers > layers:
        raise UsageError(f"the model has {layers} layers, not {lora.layers}", hint="leave --layers out")
    place = {
        "target_modules": list(_TARGETS[lora.targets]),
        "layers_to_transform": list(range(layers - lora.layers, layers)) if lora.layers else None,
        "task_type": "CAUSAL_LM",
    }
    return LoraLLM(add_lora(base, lora.rank, seed, **place), torch_device)
