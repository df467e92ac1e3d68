"""Continued pretraining. Reads a domain's item texts, produces the loss of predicting every next token of them.

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
from xdrec_agent.adapt.lora_llm import LoraLLM

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

_VALIDATION_SHARE: Final = 50
"""One item of so many is held out for validation."""
_VALIDATION_BLOCKS: Final = 40

Block = list[int]


def item_texts(store: Store, domain: str, template: PromptTemplate) -> tuple[list[str], list[str]]:
    """Texts for training and for validation, split by a hash of the item's id.

    Raises:
        UsageError: the domain has too few items.
    """
    parts: tuple[list[str], list[str]] = ([], [])
    for item in store.iter_items(domain):
        parts[fold(item.id, _VALIDATION_SHARE) == 0].append(template.text(item=item))
    if not all(parts):
        raise UsageError(f"domain {domain!r} has too few items to learn from", hint=f"xdrec ingest {domain} FILE")
    return parts


class TextTask:
    """A `Task` whose batches are blocks of `length` tokens.

    Raises:
        UsageError: the texts do not fill a block.
    """

    metric = "likelihood"

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        training: Sequence[str],
        validation: Sequence[str],
        *,
        length: int = 256,
        seed: int = 0,
    ) -> None:
        def tokens(texts: Sequence[str]) -> list[Block]:
            end = tokenizer.eos_token_id
            return [[*tokenizer(text, add_special_tokens=False)["input_ids"], end] for text in texts]

        self._seed, self._length = seed, length
        self._texts, held_out = tokens(training), tokens(validation)
        self._size = sum(map(len, self._texts)) // length
        if not self._size:
            raise UsageError(f"the texts are shorter than {length} tokens together", hint="ingest more items")
        # A small catalogue's texts for validation may not fill a block.
        self._validation = _blocks(held_out, min(length, sum(map(len, held_out))))[:_VALIDATION_BLOCKS]
        self._epoch = lru_cache(maxsize=1)(self._joined)

    def __len__(self) -> int:
        return self._size

    def batch(self, epoch: int, index: int) -> Block:
        """The `index`-th block of an epoch."""
        return self._epoch(epoch)[index]

    def loss(self, model: LoraLLM, batches: Sequence[Block]) -> tuple[torch.Tensor, int]:
        """Mean loss of some blocks' tokens in nats, and their number."""
        return _next_token_loss(model, batches), self._length * len(batches)

    def validate(self, model: LoraLLM) -> dict[str, float]:
        """Mean log-likelihood of a token (in nats, below 0) and perplexity."""
        loss = float(np.mean([float(_next_token_loss(model, [block])) for block in self._validation]))
        return {"likelihood": -loss, "loss": loss, "perplexity": float(np.exp(loss))}

    def _joined(self, epoch: int) -> list[Block]:
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self._texts))
        return _blocks([self._texts[i] for i in order], self._length)


def _blocks(texts: Sequence[Block], length: int) -> list[Block]:
    joined = [token for text in texts for token in text]
    return [joined[start : start + length] for start in range(0, len(joined) - length + 1, length)]


def _next_token_loss(model: LoraLLM, blocks: Sequence[Block]) -> torch.Tensor:
    import torch

    tokens = torch.tensor(blocks, device=model.device)
    hidden = model.decoder(input_ids=tokens, use_cache=False).last_hidden_state[:, :-1]
    logits = (hidden.to(model.head.dtype) @ model.head.T).float()
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
