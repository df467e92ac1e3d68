"""What a list teaches. Reads the tokens of prompts, produces logits of their labels, the loss and how good they are.

Only the last position of a prompt is projected, and only onto the labels. What all prompts of a group begin with is
computed once: a group is one sequence in which each rest sees the prefix and itself, at the positions that it has in
its own prompt. The logits are those of the whole prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from xdrec_agent.adapt.token_groups import TokenGroup
from xdrec_agent.models import TrainedModel

if TYPE_CHECKING:
    import torch


def label_logits(model: TrainedModel, groups: Sequence[TokenGroup], label_ids: Sequence[int]) -> list[torch.Tensor]:
    """For each of several groups, computed together, the logits of the labels, float32, shape (prompts, labels)."""
    import torch

    ids, positions, parts, ends = map(torch.from_numpy, _packed(groups))
    parts = parts.to(model.device)
    causal = torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool, device=model.device).tril()
    # Padding is a part of its own, so that each of its rows sees something.
    sees = causal & ((parts[:, None, :] == 0) | (parts[:, None, :] == parts[:, :, None]))
    with torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=model.device.type == "cuda"):
        hidden = model.decoder(
            input_ids=ids.to(model.device),
            position_ids=positions.to(model.device),
            attention_mask=sees[:, None],
            use_cache=False,
        ).last_hidden_state
    rows, places = ends.to(model.device)
    logits = hidden[rows, places].float() @ model.head[list(label_ids)].float().T
    return list(torch.split(logits, [len(group.rests) for group in groups]))


def _packed(groups: Sequence[TokenGroup]) -> tuple[np.ndarray, ...]:
    """Groups as rows: token ids, positions and parts (0: the prefix, -1: padding), shape (groups, tokens); and the row
    and place of every prompt's last token, shape (2, prompts).
    """
    longest = max(len(group.prefix) + sum(map(len, group.rests)) for group in groups)
    ids, positions, parts = (np.zeros((len(groups), longest), dtype=np.int64) for _ in range(3))
    parts -= 1
    ends = []
    for row, group in enumerate(groups):
        start = len(group.prefix)
        ids[row, :start], positions[row, :start], parts[row, :start] = group.prefix, range(start), 0
        for part, rest in enumerate(group.rests, 1):
            stop = start + len(rest)
            ids[row, start:stop], parts[row, start:stop] = rest, part
            positions[row, start:stop] = range(len(group.prefix), len(group.prefix) + len(rest))
            ends.append((row, stop - 1))
            start = stop
    return ids, positions, parts, np.array(ends).T


def list_loss(scores: torch.Tensor, positives: Sequence[Sequence[int]]) -> torch.Tensor:
    """Mean over lists and positives of -log p(positive) among it and the negatives of its list, in nats.

    One positive gives the usual cross-entropy over the candidates. Several are not set against each other.
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
