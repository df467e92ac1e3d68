"""Reading on. Reads a domain's item texts, produces the loss of predicting every next token of them.

Texts are joined and cut into blocks of equal length, so nothing is padded; every epoch joins them in another order.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from retrieval.errors import UsageError
from retrieval.folds import fold
from retrieval.store import Store
from retrieval.templates import PromptTemplate
from xdrec_agent.models import Tokenizer, TrainedModel

if TYPE_CHECKING:
    import torch

_SHARE: Final = 50
"""One item of so many is kept for validation."""


def item_texts(store: Store, domain: str, template: PromptTemplate) -> tuple[list[str], list[str]]:
    """Texts for training and for validation, split by a hash of the item's id.

    Raises:
        UsageError: the domain has too few items.
    """
    parts: tuple[list[str], list[str]] = ([], [])
    for item in store.iter_items(domain):
        parts[fold(item.id, _SHARE) == 0].append(template.text(item=item))
    if not all(parts):
        raise UsageError(f"domain {domain!r} has too few items to learn from", hint=f"xdrec ingest {domain} FILE")
    return parts


class TextTask:
    """A task for `training.train`; a step is a block of `length` tokens."""

    metric = "likelihood"

    def __init__(
        self,
        tokenizer: Tokenizer,
        training: Sequence[str],
        validation: Sequence[str],
        *,
        length: int = 256,
        seed: int = 0,
        validation_blocks: int = 40,
    ) -> None:
        self._seed = seed
        self._length = length
        end = tokenizer.eos_token_id
        self._texts = [[*tokenizer(text, add_special_tokens=False)["input_ids"], end] for text in training]
        kept = [[*tokenizer(text, add_special_tokens=False)["input_ids"], end] for text in validation]
        self._size = sum(map(len, self._texts)) // length
        if not self._size:
            raise UsageError(f"the texts are shorter than {length} tokens together", hint="ingest more items")
        # A small catalogue's texts for validation may not fill a block.
        self._validation = _blocks(kept, min(length, sum(map(len, kept))))[:validation_blocks]
        self._epoch = lru_cache(maxsize=1)(self._joined)

    def __len__(self) -> int:
        """Blocks in an epoch."""
        return self._size

    def loss(self, model: TrainedModel, epoch: int, indices: Sequence[int]) -> tuple[torch.Tensor, int]:
        """Mean loss of some blocks' tokens in nats, and how many they are."""
        blocks = [self._epoch(epoch)[index] for index in indices]
        return _next_token_loss(model, blocks), self._length * len(blocks)

    def validate(self, model: TrainedModel) -> dict[str, float]:
        """Mean log-likelihood of a token (in nats, below 0) and perplexity."""
        import torch

        with torch.no_grad():
            loss = float(np.mean([float(_next_token_loss(model, [block])) for block in self._validation]))
        return {"likelihood": -loss, "loss": loss, "perplexity": float(np.exp(loss))}

    def _joined(self, epoch: int) -> list[list[int]]:
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self._texts))
        return _blocks([self._texts[i] for i in order], self._length)


def _blocks(texts: Sequence[Sequence[int]], length: int) -> list[list[int]]:
    joined = [token for text in texts for token in text]
    return [joined[start : start + length] for start in range(0, len(joined) - length + 1, length)]


def _next_token_loss(model: TrainedModel, blocks: Sequence[Sequence[int]]) -> torch.Tensor:
    import torch

    tokens = torch.tensor([list(block) for block in blocks], device=model.device)
    hidden = model.decoder(input_ids=tokens, use_cache=False).last_hidden_state[:, :-1]
    logits = (hidden.to(model.head.dtype) @ model.head.T).float()
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
