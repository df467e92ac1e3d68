"""How well sets find items. Reads vectors, produces the retriever's score and the loss of putting liked items first.

The score is the retriever's own (`retrieval.ranking.profile`): a soft maximum over the history's items, each domain's
mean
taken off. The loss is InfoNCE (van den Oord et al. 2018). Its negatives are what others liked, drawn as often as it was
liked, so the score learns log p(item | person) / p(item): popularity is taken off, and has a source of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def centred(vectors: torch.Tensor, domain: torch.Tensor, of_mean: torch.Tensor) -> torch.Tensor:
    """Unit rows after their domain's mean was taken off; the mean is that of the rows where `of_mean` is true."""
    import torch

    means = torch.zeros_like(vectors)
    for number in torch.unique(domain):
        mine = domain == number
        means[mine] = vectors[mine & of_mean].mean(dim=0).detach()
    return torch.nn.functional.normalize(vectors - means, dim=1)


def set_scores(
    history: torch.Tensor, there: torch.Tensor, candidates: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Scores of each set for each candidate, shape (sets, candidates).

    Args:
        history: centred unit vectors, shape (sets, items, dims).
        there: which of them are items and not padding, shape (sets, items).
        candidates: centred unit vectors, shape (candidates, dims).
    """
    import torch

    close = torch.einsum("shd,cd->shc", history, candidates) / temperature
    close = close.masked_fill(~there[:, :, None], -torch.inf)
    counts = there.sum(dim=1).clamp(min=1).to(close.dtype)
    return temperature * (torch.logsumexp(close, dim=1) - torch.log(counts)[:, None])


def first_loss(scores: torch.Tensor, positive: torch.Tensor, against: torch.Tensor, scale: float) -> torch.Tensor:
    """Mean over positives of -log of the share that a positive has among itself and its negatives, in nats.

    Args:
        scores: of each positive's set, shape (positives, candidates).
        positive: its column, shape (positives,).
        against: which candidates it is set against, shape as `scores`.
        scale: logits for a unit of score.
    """
    import torch

    logits = scale * scores
    mine = torch.zeros_like(against)
    mine[torch.arange(len(positive), device=positive.device), positive] = True
    return torch.nn.functional.cross_entropy(logits.masked_fill(~(against | mine), -torch.inf), positive)
