"""The layers that do not learn. Reads a transformer and token ids, produces those layers' states, each text's once.

Where additions are trained beside the upper layers alone, what lies below says the same of a text in every step. It is
computed when the text comes first and kept, so that a step costs what its upper layers cost.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import UsageError

if TYPE_CHECKING:
    import torch

_CHUNK: Final = 64
"""Texts computed together: of similar length, so that little is padded."""

Kept = dict[tuple[int, tuple[int, ...]], NDArray[np.float16]]
"""How many layers, and a text's token ids → their states of that text, shape (tokens, dims); of one model."""


class Below:
    """The lower layers of a BERT-like transformer, and a view of it that begins above them.

    Args:
        kept: what is known already; what is computed is added.

    Attributes:
        layers: how many they are.
        above: the model from there on: it takes `inputs_embeds` of `states` and shares its layers with `model`, so
            that what is added to them later works here, too.

    Raises:
        UsageError: the model has no such layers.
    """

    def __init__(self, model: Any, layers: int, kept: Kept) -> None:  # noqa: ANN401 (a transformers model)
        blocks = getattr(getattr(model, "encoder", None), "layer", ())
        if not 0 < layers < len(blocks):
            raise UsageError(
                f"{type(model).__name__} has no {layers} layers below others that could be kept",
                hint="a BERT-like encoder such as all-MiniLM-L6-v2, or no --layers",
            )
        self.layers = layers
        self._lower = _view(model, blocks[:layers], model.embeddings)
        self.above = _view(model, blocks[layers:], _given())
        self._kept = kept

    def states(self, tokens: Sequence[Sequence[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """States of some texts, float32, shape (texts, longest, dims), and which of them are tokens and not padding."""
        import torch

        texts = [tuple(some) for some in tokens]
        new = {text for text in texts if (self.layers, text) not in self._kept}
        self._learn(sorted(new, key=lambda text: (len(text), text)), device)
        mask = torch.zeros(len(texts), max(map(len, texts)), dtype=torch.long)
        found = np.zeros((*mask.shape, self._kept[self.layers, texts[0]].shape[1]), dtype=np.float16)
        for row, text in enumerate(texts):
            found[row, : len(text)] = self._kept[self.layers, text]
            mask[row, : len(text)] = 1
        return torch.from_numpy(found).to(device).float(), mask.to(device)

    def _learn(self, texts: Sequence[tuple[int, ...]], device: torch.device) -> None:
        import torch

        for start in range(0, len(texts), _CHUNK):
            some = texts[start : start + _CHUNK]
            ids, mask = (part.to(device) for part in padded(some))
            with torch.no_grad():
                states = self._lower(input_ids=ids, attention_mask=mask).last_hidden_state.half().cpu().numpy()
            for row, text in enumerate(some):
                self._kept[self.layers, text] = states[row, : len(text)].copy()


def padded(tokens: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and which of them are no padding, both of shape (texts, longest)."""
    import torch

    ids = torch.zeros(len(tokens), max(map(len, tokens)), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, some in enumerate(tokens):
        ids[row, : len(some)] = torch.tensor(some)
        mask[row, : len(some)] = 1
    return ids, mask


def _view(model: Any, layers: Any, embeddings: torch.nn.Module) -> Any:  # noqa: ANN401
    """The model with these layers and embeddings, which it shares."""
    encoder = _copied(model.encoder)
    encoder.layer = layers
    view = _copied(model)
    view.embeddings, view.encoder, view.pooler = embeddings, encoder, None
    return view


def _copied(module: Any) -> Any:  # noqa: ANN401
    made = copy.copy(module)
    made._modules = dict(module._modules)  # copy.copy shares the table of children
    return made


def _given() -> torch.nn.Module:
    import torch

    class Given(torch.nn.Module):
        """Embeddings that are already computed."""

        def forward(self, inputs_embeds: torch.Tensor, **_: Any) -> torch.Tensor:
            return inputs_embeds

    return Given()
