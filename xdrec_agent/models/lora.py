"""Language models with LoRA. Reads a base model's folder, produces it with low-rank matrices that can be trained.

LoRA (Hu et al. 2022): a product B·A of rank r, scaled by alpha / r, is added to a frozen matrix W. B starts at zero, so
that training starts from the base model. There is no dropout: a small model sees every list about once.
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


class LoraSettings(Section):
    """Size and place of the low-rank matrices. alpha is twice the rank."""

    rank: int = Field(default=16, ge=1)
    targets: Literal["attention", "all"] = "all"
    """Matrices that are adapted: those of the attention, or those of the feed-forward part as well."""
    layers: int | None = Field(default=None, ge=1)
    """How many of the last layers are adapted; None: all. The lower ones then store no activations."""


class Tokenizer(Protocol):
    """The part of a transformers tokenizer that is used here."""

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
        """A chat as text, by the model's chat template."""
        ...


@dataclass(frozen=True)
class LoraModel:
    """A base model with LoRA matrices.

    Attributes:
        peft_model: the causal language model as peft wraps it.
        decoder: the part of it that gives hidden states, without the head over the whole vocabulary.
        head: rows of the output embedding, shape (vocabulary, hidden).
    """

    peft_model: Any
    decoder: Any
    head: torch.Tensor
    device: torch.device

    @classmethod
    def of(cls, peft_model: Any) -> LoraModel:
        """The parts of a model that peft has wrapped."""
        base = peft_model.get_base_model()
        head = base.get_output_embeddings().weight.detach()
        return cls(peft_model, base.base_model, head, base.device)


def open_llm_for_training(folder: Path, lora: LoraSettings, *, device: Device = "auto", seed: int = 0) -> LoraModel:
    """Load a base model and add fresh low-rank matrices, the same for the same seed.

    Raises:
        SetupError: there is no such device.
        ModelMissing: the folder holds no causal language model.
        UsageError: the model has none of the matrices, or fewer layers.
    """
    import peft
    import torch

    base = load_base(folder, device)
    layers = base.config.num_hidden_layers
    if lora.layers and lora.layers > layers:
        raise UsageError(f"the model has {layers} layers, not {lora.layers}", hint="leave --layers out")
    config = peft.LoraConfig(
        r=lora.rank,
        lora_alpha=2 * lora.rank,
        target_modules=list(_TARGETS[lora.targets]),
        layers_to_transform=list(range(layers - lora.layers, layers)) if lora.layers else None,
        lora_dropout=0.0,
        task_type="CAUSAL_LM",
    )
    torch.manual_seed(seed)
    try:
        peft_model = peft.get_peft_model(base, config)
    except ValueError as exc:
        raise UsageError(f"{folder} cannot be adapted: {exc}", hint="a model of the Llama family works") from exc
    for parameter in peft_model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()  # steps are too small for bfloat16
    return LoraModel.of(peft_model)


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
