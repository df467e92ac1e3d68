"""The model in training. Reads a base model's folder, produces it with low-rank additions that can be trained.

LoRA (Hu et al. 2022): beside a frozen matrix W stands a product B·A of rank r, scaled by alpha / r; B starts at zero,
so that the model starts as the base. No dropout: a small model sees every list about once, and a run that is resumed
must go on exactly where it stopped.
"""

# ruff: noqa: ANN401 (peft and transformers keep their types to themselves)

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from pydantic import Field

from retrieval.errors import ModelMissing, UsageError
from retrieval.settings import Section

if TYPE_CHECKING:
    import torch

    from retrieval.adapt import Device

_TARGETS: Final[Mapping[str, tuple[str, ...]]] = {
    "attention": ("q_proj", "k_proj", "v_proj", "o_proj"),
    "all": ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
}


class LoraShape(Section):
    """How large the additions are. alpha is twice the rank."""

    rank: int = Field(default=16, ge=1)
    targets: Literal["attention", "all"] = "all"
    """Matrices that get one: of the attention, or of the feed-forward part as well."""
    layers: int | None = Field(default=None, ge=1)
    """Only the last ones: the lower ones are then computed without remembering anything. None: all."""


class Tokenizer(Protocol):
    """What is needed of a transformers tokenizer."""

    chat_template: str | None
    eos_token_id: int

    def __call__(self, text: str, *, add_special_tokens: bool) -> Mapping[str, list[int]]:
        """`input_ids` of a text."""
        ...

    def apply_chat_template(
        self,
        conversation: Sequence[Mapping[str, str]],
        *,
        tokenize: bool,
        continue_final_message: bool = False,
        add_generation_prompt: bool = False,
    ) -> str:
        """A chat as the model reads it."""
        ...


@dataclass(frozen=True)
class TrainedModel:
    """A base model with additions.

    Attributes:
        whole: the causal language model as peft wraps it.
        decoder: the part of it that gives hidden states, without the head over the whole vocabulary.
        head: rows of the output embedding, shape (vocabulary, hidden).
    """

    whole: Any
    decoder: Any
    head: torch.Tensor
    device: torch.device

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        """What is trained, by name, in a fixed order."""
        return {name: p for name, p in sorted(self.whole.named_parameters()) if p.requires_grad}


def open_for_training(folder: Path, shape: LoraShape, *, device: Device = "auto", seed: int = 0) -> TrainedModel:
    """Load a base model and add fresh low-rank matrices, the same for the same seed.

    Raises:
        SetupError: there is no such device.
        ModelMissing: the folder holds no causal language model.
        UsageError: the model has none of the matrices, or fewer layers.
    """
    import peft
    import torch

    base = load_base(folder, device)
    number = base.config.num_hidden_layers
    if shape.layers and shape.layers > number:
        raise UsageError(f"the model has {number} layers, not {shape.layers}", hint="leave --layers out")
    last = list(range(number - shape.layers, number)) if shape.layers else None
    config = peft.LoraConfig(
        r=shape.rank,
        lora_alpha=2 * shape.rank,
        target_modules=list(_TARGETS[shape.targets]),
        layers_to_transform=last,
        lora_dropout=0.0,
        task_type="CAUSAL_LM",
    )
    torch.manual_seed(seed)
    try:
        whole = peft.get_peft_model(base, config)
    except ValueError as exc:
        raise UsageError(f"{folder} cannot be adapted: {exc}", hint="a model of the Llama family works") from exc
    for parameter in whole.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()  # steps are too small for bfloat16
    return wrapped(whole)


def load_base(folder: Path, device: Device) -> Any:
    """The base model, in bfloat16 where the hardware multiplies it and float32 elsewhere. Raises ModelMissing."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    from retrieval.adapt import device_of

    disable_progress_bar()
    place = device_of(device)
    dtype = torch.bfloat16 if place.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float32
    try:
        model = AutoModelForCausalLM.from_pretrained(
            str(folder), dtype=dtype, local_files_only=True, use_safetensors=True, trust_remote_code=False
        )
    except (OSError, ValueError) as exc:
        raise ModelMissing(f"{folder} does not load as a language model: {exc}", hint="xdrec models pull") from exc
    return model.to(place)


def load_tokenizer(folder: Path) -> Tokenizer:
    """The model's tokenizer. Raises ModelMissing."""
    from transformers import AutoTokenizer

    try:
        tokenizer: Tokenizer = AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError) as exc:
        raise ModelMissing(f"{folder} holds no tokenizer: {exc}", hint="xdrec models pull") from exc
    return tokenizer


def wrapped(whole: Any) -> TrainedModel:
    """The parts of a model that peft has wrapped."""
    base = whole.get_base_model()
    return TrainedModel(whole, base.base_model, base.get_output_embeddings().weight.detach(), base.device)
