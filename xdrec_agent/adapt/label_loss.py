"""What a list teaches. Reads the tokens of lists, produces scores of their labels, the loss and how good they are.

Only the last position is projected, and only onto the labels that are shown. What all lists of a group begin with is
computed once, and its keys and values serve each of them: the scores are those of the whole prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from xdrec_agent.adapt.list_prompts import TokenGroup
from xdrec_agent.adapt.lora import TrainedModel

if TYPE_CHECKING:
    import torch


def label_scores(model: TrainedModel, group: TokenGroup, label_ids: Sequence[int]) -> torch.Tensor:
    """Logits of the labels shown, float32, shape (lists, candidates)."""
    import torch
    from transformers import DynamicCache

    shared = torch.tensor([group.prefix], device=model.device)
    cache = model.decoder(input_ids=shared, past_key_values=DynamicCache(), use_cache=True).past_key_values
    if len(group.rests) > 1:
        cache.batch_repeat_interleave(len(group.rests))
    hidden = model.decoder(input_ids=_padded(model, group.rests), past_key_values=cache, use_cache=True)
    answer = _last(hidden.last_hidden_state, group.rests)
    scores: torch.Tensor = answer.float() @ model.head[list(label_ids[: group.size])].float().T
    return scores


def batch_scores(model: TrainedModel, groups: Sequence[TokenGroup], label_ids: Sequence[int]) -> list[torch.Tensor]:
    """As `label_scores` for each of several groups, all prompts computed whole and together.

    More arithmetic in far fewer steps: right for a GPU, and only there.
    """
    import torch

    prompts = [(*group.prefix, *rest) for group in groups for rest in group.rests]
    with torch.autocast(model.device.type, dtype=torch.bfloat16):
        hidden = model.decoder(input_ids=_padded(model, prompts), use_cache=False).last_hidden_state
    scores = _last(hidden, prompts).float() @ model.head[list(label_ids)].float().T
    parts = torch.split(scores, [len(group.rests) for group in groups])
    return [part[:, : group.size] for part, group in zip(parts, groups, strict=True)]


def _padded(model: TrainedModel, prompts: Sequence[Sequence[int]]) -> torch.Tensor:
    """Token ids, shape (prompts, tokens). Padding stands behind the last token, which does not look there."""
    import torch

    ids = torch.zeros(len(prompts), max(map(len, prompts)), dtype=torch.long)
    for row, tokens in enumerate(prompts):
        ids[row, : len(tokens)] = torch.tensor(tokens)
    return ids.to(model.device)


def _last(hidden: torch.Tensor, prompts: Sequence[Sequence[int]]) -> torch.Tensor:
    """The hidden state of each prompt's last token, shape (prompts, hidden)."""
    import torch

    places = torch.tensor([len(tokens) - 1 for tokens in prompts], device=hidden.device)
    return hidden[torch.arange(len(prompts), device=hidden.device), places]


def list_loss(scores: torch.Tensor, positives: Sequence[Sequence[int]]) -> torch.Tensor:
    """Mean over lists and positives of -log p(positive) among it and the negatives of its list, in nats.

    One positive gives the usual cross-entropy over the labels. Several are not set against each other.
    """
    import torch

    losses = []
    for row, liked in zip(scores, positives, strict=True):
        mine = list(liked)
        negatives = row[[i for i in range(len(row)) if i not in mine]]
        against = torch.logsumexp(negatives, dim=0)
        losses.append((torch.logaddexp(row[mine], against) - row[mine]).mean())
    return torch.stack(losses).mean()


def quality(scores: torch.Tensor, truth: int) -> tuple[float, float]:
    """nDCG@10 and whether the truth is first, of one list, shape (candidates,); ties count as expectations."""
    values = scores.detach().double().cpu().numpy()
    above, equal = int((values > values[truth]).sum()), int((values == values[truth]).sum())
    gains = [1 / np.log2(place + 2) if place < 10 else 0.0 for place in range(above, above + equal)]
    return float(np.mean(gains)), (1 / equal if above == 0 else 0.0)
