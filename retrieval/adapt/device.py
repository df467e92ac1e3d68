"""Where training computes. Reads the setting, produces a torch device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from retrieval.errors import SetupError

if TYPE_CHECKING:
    import torch

Device = Literal["auto", "cpu", "cuda"]


def device_of(device: Device) -> torch.device:
    """The torch device of a name. Raises SetupError if there is none such."""
    import torch

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise SetupError("there is no GPU that torch can use", hint="device = cpu")
    return torch.device(device)
