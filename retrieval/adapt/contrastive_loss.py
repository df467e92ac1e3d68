"""Scores and loss of the contrastive task. Reads vectors, produces the retriever's score and InfoNCE over it.

The score is the retriever's own (`retrieval.ranking.signals`): log-sum-exp pooling over the history's items, with each
domain's mean subtracted. Negatives are drawn as often as they were liked, so the score learns
log p(item | user) / p(item): popularity is a signal of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def center_by_domain(vectors: torch.Tensor, domain: torch.Tensor, in_mean: torch.Tensor) -> torch.Tensor:
    """Rows of unit length after their domain's mean was subtracted; the mean is that of the rows in `in_mean`."""
    import torch

    means = torch.zeros_like(vectors)
    for number in torch.unique(domain):
        rows = domain == number
        means[rows] = vectors[rows & in_mean].mean(dim=0).detach()
    return torch.nn.functional.normalize(vectors - means, dim=1)


def history_scores(
    history: torch.Tensor, mask: torch.Tensor, candidates: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Scores of each candidate for each history, shape (histories, candidates).

    Args:
        history: centered unit vectors, shape (histories, items, dims).
        mask: which of them are items and not padding, shape (histories, items).
        candidates: centered unit vectors, shape (candidates, dims).
    """
    import torch

    cosines = torch.einsum("hid,cd->hic", history, candidates) / temperature
    cosines = cosines.masked_fill(~mask[:, :, None], -torch.inf)
    counts = mask.sum(dim=1).clamp(min=1).to(cosines.dtype)
    return temperature * (torch.logsumexp(cosines, dim=1) - torch.log(counts)[:, None])


def info_nce(scores: torch.Tensor, positive: torch.Tensor, negatives: torch.Tensor, scale: float) -> torch.Tensor:
    """Mean over positives of -log softmax of the positive among itself and its negatives (van den Oord 2018), in nats.

    Args:
        scores: of each positive's history, shape (positives, candidates).
        positive: the positive's column, shape (positives,).
        negatives: which candidates are its negatives, shape as `scores`.
        scale: logits for a unit of score.
    """
    import torch

    own = torch.zeros_like(negatives)
    own[torch.arange(len(positive), device=positive.device), positive] = True
    return torch.nn.functional.cross_entropy((scale * scores).masked_fill(~(negatives | own), -torch.inf), positive)
