"""LoRA. Reads a transformer, produces it with low-rank matrices: fresh ones to be trained, or those of an adapter.

LoRA (Hu et al. 2022): a product B·A of rank r, scaled by alpha / r, is added to a frozen matrix W. B starts at zero, so
that training starts from the base model; alpha is twice the rank. There is no dropout: every text is seen a few times
only.
"""

# ruff: noqa: ANN401 (peft and transformers keep their types to themselves)

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from retrieval.errors import DataError, SetupError, UsageError

if TYPE_CHECKING:
    import torch

Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True)
class LoraModel:
    """A model in training: the transformer as peft wraps it, on a device."""

    peft_model: Any
    device: torch.device


def device_of(device: Device) -> torch.device:
    """The torch device of a name; "auto" is a GPU where there is one. Raises SetupError if there is no such device."""
    import torch

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise SetupError("there is no GPU that torch can use", hint="device = cpu")
    return torch.device(device)


def add_lora(model: Any, rank: int, seed: int, **place: Any) -> Any:
    """Wrap a transformer with fresh matrices in float32, the same for the same seed.

    Args:
        place: of the matrices, as `peft.LoraConfig` takes it.

    Raises:
        UsageError: the model has no such place.
    """
    import peft
    import torch

    torch.manual_seed(seed)
    try:
        return peft.get_peft_model(model, peft.LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, **place))
    except ValueError as exc:
        hint = "an encoder such as all-MiniLM-L6-v2 works, or a language model of the Llama family"
        raise UsageError(f"{model.name_or_path} cannot be adapted: {exc}", hint=hint) from exc


def load_lora(model: Any, adapter: Path) -> Any:
    """Wrap a transformer with the matrices of peft's folder. Raises DataError: they cannot be read."""
    import peft
    from safetensors import SafetensorError

    try:
        return peft.PeftModel.from_pretrained(model, str(adapter), is_trainable=False)
    except (OSError, ValueError, RuntimeError, SafetensorError) as exc:
        raise DataError(f"the adapter {adapter} cannot be read: {exc}", hint="train it again: xdrec adapt") from exc
