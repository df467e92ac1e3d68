"""Frozen layers. Reads a transformer and token ids, produces the hidden states above them, for each text once.

Where only the upper layers are trained, the lower ones compute the same states of a text in every step. They are
computed when the text comes first and cached, so that a step costs what its upper layers cost.
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
"""Texts computed together: of similar length, so that there is little padding."""

StateCache = dict[tuple[int, tuple[int, ...]], NDArray[np.float16]]
"""Number of frozen layers and a text's token ids → hidden states, shape (tokens, dims); of one model."""


class FrozenLayers:
    """The lower layers of a BERT-like transformer, and a view of the model that begins above them.

    Args:
        cache: known states; new ones are added.

    Attributes:
        layers: how many are frozen.
        upper: the model above them: it takes `inputs_embeds` from `states` and shares its layers with `model`, so that
            LoRA matrices that are added to them later are part of it.

    Raises:
        UsageError: the model has no such layers.
    """

    def __init__(self, model: Any, layers: int, cache: StateCache) -> None:  # noqa: ANN401 (a transformers model)
        import torch

        blocks = getattr(getattr(model, "encoder", None), "layer", ())
        if not 0 < layers < len(blocks):
            raise UsageError(
                f"{type(model).__name__} has no {layers} layers below others that could be kept",
                hint="a BERT-like encoder such as all-MiniLM-L6-v2, or no --layers",
            )

        class Identity(torch.nn.Module):
            """Embeddings that are computed already."""

            def forward(self, inputs_embeds: torch.Tensor, **_: Any) -> torch.Tensor:
                return inputs_embeds

        self.layers = layers
        self._lower = _view(model, blocks[:layers], model.embeddings)
        self.upper = _view(model, blocks[layers:], Identity())
        self._cache = cache

    def states(self, tokens: Sequence[Sequence[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Hidden states of some texts, float32, shape (texts, longest, dims), and the attention mask."""
        import torch

        texts = [tuple(ids) for ids in tokens]
        missing = {text for text in texts if (self.layers, text) not in self._cache}
        self._compute(sorted(missing, key=lambda text: (len(text), text)), device)
        states, mask = _padded([torch.from_numpy(self._cache[self.layers, text]) for text in texts], device)
        return states.float(), mask

    def _compute(self, texts: Sequence[tuple[int, ...]], device: torch.device) -> None:
        import torch

        for start in range(0, len(texts), _CHUNK):
            chunk = texts[start : start + _CHUNK]
            ids, mask = pad_tokens(chunk, device)
            with torch.no_grad():
                states = self._lower(input_ids=ids, attention_mask=mask).last_hidden_state.half().cpu().numpy()
            for row, text in enumerate(chunk):
                self._cache[self.layers, text] = states[row, : len(text)].copy()


def pad_tokens(tokens: Sequence[Sequence[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids, padded with 0, and the attention mask, both of shape (texts, longest)."""
    import torch

    return _padded([torch.tensor(ids) for ids in tokens], device)


def _padded(rows: list[torch.Tensor], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    import torch

    masks = [torch.ones(len(row), dtype=torch.long) for row in rows]
    padded, mask = (torch.nn.utils.rnn.pad_sequence(part, batch_first=True) for part in (rows, masks))
    return padded.to(device), mask.to(device)


def _view(model: Any, layers: Any, embeddings: Any) -> Any:  # noqa: ANN401
    """The model with these layers and embeddings, which it shares."""
    encoder, view = _shallow_copy(model.encoder), _shallow_copy(model)
    encoder.layer = layers
    view.embeddings, view.encoder, view.pooler = embeddings, encoder, None
    return view


def _shallow_copy(module: Any) -> Any:  # noqa: ANN401
    copied = copy.copy(module)
    copied._modules = dict(module._modules)  # copy.copy shares the table of children
    return copied
