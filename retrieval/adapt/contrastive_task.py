"""The contrastive task. Reads a preference data set, produces the loss of finding liked items from other liked items.

An example is a user and two domains, which may be the same: items liked in one, the history, must find items liked in
the other. Negatives are the other positives of the batch, random items of the catalogue, and hard negatives. All
ordered pairs of domains are learnt at once.

The score is the retriever's own (`retrieval.ranking.signals`): log-sum-exp pooling over the history's items, with each
domain's mean subtracted. Negatives are drawn as often as they were liked, so the score learns
log p(item | user) / p(item): popularity is a signal of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from retrieval.adapt.lora_encoder import LoraEncoder
from retrieval.adapt.negatives import hard_negatives
from retrieval.adapt.preferences import LikedRows, Preferences, Rows
from retrieval.errors import UsageError
from retrieval.settings import Section

if TYPE_CHECKING:
    import torch

_VALIDATION_EPOCH: Final = 2**20
"""An epoch that no training reaches: validation is drawn with it."""
_VALIDATION_NEGATIVES: Final = 500
"""Items of each domain among which validation ranks the liked ones."""


class ContrastiveSettings(Section):
    """How examples are drawn."""

    history: int = Field(default=8, ge=1)
    """Liked items at most in the history of an example."""
    positives: int = Field(default=4, ge=1)
    """Liked items at most that an example must find."""
    batch: int = Field(default=256, ge=2)
    """Examples whose positives are each other's negatives."""
    random_negatives: int = Field(default=128, ge=8)
    """Items of each domain drawn from the whole catalogue: they are negatives, and give the domain's mean."""
    hard_negatives: int = Field(default=0, ge=0)
    """Items for each example that are near its history and not liked: more negatives."""
    scale: float = Field(default=10.0, gt=0)
    """Logits for a unit of score; 1 / temperature gives log-sum-exp pooling (docs/explanation/experiments.md)."""
    temperature: float = Field(default=0.1, gt=0)
    """Of the log-sum-exp pooling, as `retriever.temperature`."""
    same_domain: bool = True
    """Whether items liked in one domain also learn to find each other."""


@dataclass(frozen=True)
class ContrastiveBatch:
    """Examples as places in `rows`, which holds each item once.

    Attributes:
        history, mask: shape (examples, items), and which are items and not padding.
        example, positive: for each positive its example and its place.
        random: which of `rows` were drawn from the catalogue.
        negatives: for each positive its negatives, shape (positives, rows).
    """

    rows: Rows
    history: Rows
    mask: NDArray[np.bool_]
    example: Rows
    positive: Rows
    random: NDArray[np.bool_]
    negatives: NDArray[np.bool_]


@dataclass(frozen=True)
class _Example:
    """A user, and the numbers of the domains of history and positives."""

    liked: LikedRows
    source: int
    target: int

    @property
    def all_liked(self) -> Rows:
        return np.concatenate(list(self.liked.values()))


class ContrastiveTask:
    """A `Task` whose batches are sets of examples.

    Args:
        model: not trained yet; its tokenizer cuts the texts, and its vectors tell hard negatives.
        pairs: of domains, (source, target); none: all. Each domain of a named pair is also paired with itself.

    Raises:
        UsageError: no user liked enough to learn or to measure anything.
    """

    metric = "ndcg"

    def __init__(
        self,
        model: LoraEncoder,
        preferences: Preferences,
        settings: ContrastiveSettings,
        *,
        pairs: Sequence[tuple[str, str]] = (),
        seed: int = 0,
        validation_cases: int = 200,
    ) -> None:
        domains = preferences.domains
        self._preferences, self._settings, self._seed = preferences, settings, seed
        self._tokens = model.tokens(preferences.texts)
        self._most_cases = validation_cases
        self._pairs = {
            (domains.index(source), domains.index(target)) for source, target in pairs or permutations(domains, 2)
        }
        self._examples = list(self._examples_of(preferences.training, same_domain=settings.same_domain))
        self._catalogues = [np.flatnonzero(preferences.domain == number) for number in range(len(domains))]
        if not self._examples:
            raise UsageError("nobody liked enough in these domains", hint="ingest more interactions")
        self._hard_negatives = self._mined(model) if settings.hard_negatives else []

    def _mined(self, model: LoraEncoder) -> list[Rows]:
        """Hard negatives of each example, by all items' vectors as they are before training."""
        import torch

        vectors, domain = model.embed_all(self._tokens), torch.from_numpy(self._preferences.domain)
        return hard_negatives(
            center_by_domain(vectors, domain, torch.ones(len(domain), dtype=torch.bool)).numpy(),
            self._catalogues,
            [example.liked[example.source] for example in self._examples],
            [example.target for example in self._examples],
            [example.all_liked for example in self._examples],
        )

    def __len__(self) -> int:
        return max(1, len(self._examples) // self._settings.batch)

    def batch(self, epoch: int, index: int) -> ContrastiveBatch:
        """The `index`-th batch of an epoch."""
        settings = self._settings
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self._examples))
        rng = np.random.default_rng([self._seed, epoch, index])
        chosen = order[index * settings.batch : (index + 1) * settings.batch]
        examples = [self._examples[at] for at in chosen]
        drawn = [self._draw(example, rng) for example in examples]
        mined = [self._hard_negatives[at] for at in chosen] if self._hard_negatives else []
        hard = [rng.permutation(rows)[: settings.hard_negatives] for rows in mined]
        random = self._draw_random(settings.random_negatives, rng)
        # The positives of other examples are negatives, too.
        candidates = np.concatenate([random, *hard, *(positives for _, positives in drawn)])
        return self._assemble(examples, drawn, random, candidates)

    @cached_property
    def _validation(self) -> ContrastiveBatch:
        """Examples of validation users; only random items are negatives."""
        rng = np.random.default_rng([self._seed, _VALIDATION_EPOCH])
        users = self._preferences.validation
        examples = list(self._examples_of(users, same_domain=False)) or list(self._examples_of(users, same_domain=True))
        if not examples:
            raise UsageError("no validation user liked things in two domains", hint="more users, or a larger share")
        chosen = [examples[at] for at in rng.permutation(len(examples))[: self._most_cases]]
        drawn = [self._draw(example, rng) for example in chosen]
        random = self._draw_random(_VALIDATION_NEGATIVES, rng)
        return self._assemble(chosen, drawn, random, random)

    def _assemble(
        self, examples: Sequence[_Example], drawn: Sequence[tuple[Rows, Rows]], random: Rows, candidates: Rows
    ) -> ContrastiveBatch:
        """A batch of examples with their drawn histories and positives; negatives are those candidates that fit."""
        rows = np.unique(np.concatenate([candidates, random, *(part for pair in drawn for part in pair)]))
        history = np.zeros((len(drawn), self._settings.history), dtype=np.int64)
        mask = np.zeros(history.shape, dtype=np.bool_)
        for at, (items, _) in enumerate(drawn):
            history[at, : len(items)] = np.searchsorted(rows, items)
            mask[at, : len(items)] = True
        example = np.repeat(np.arange(len(drawn)), [len(positives) for _, positives in drawn])
        positive = np.searchsorted(rows, np.concatenate([positives for _, positives in drawn]))
        domain = self._preferences.domain[rows]
        liked = np.stack([np.isin(rows, one.all_liked) for one in examples])
        negatives = np.isin(rows, candidates) & (domain[None] == domain[positive][:, None]) & ~liked[example]
        return ContrastiveBatch(rows, history, mask, example, positive, np.isin(rows, random), negatives)

    def loss(self, model: LoraEncoder, batches: Sequence[ContrastiveBatch]) -> tuple[torch.Tensor, int]:
        """Mean loss of some batches, and their number of tokens."""
        import torch

        losses = [
            info_nce(
                self._scores(model, batch),
                torch.from_numpy(batch.positive).to(model.device),
                torch.from_numpy(batch.negatives).to(model.device),
                self._settings.scale,
            )
            for batch in batches
        ]
        return torch.stack(losses).mean(), sum(len(self._tokens[row]) for batch in batches for row in batch.rows)

    def validate(self, model: LoraEncoder) -> dict[str, float]:
        """Mean 1 / log2(1 + rank) of liked items among 500 others of their domain, and what chance would give."""
        batch = self._validation
        scores = self._scores(model, batch).cpu().numpy()
        own = np.take_along_axis(scores, batch.positive[:, None], axis=1)
        above = ((scores >= own) & batch.negatives).sum(axis=1)
        chance = [np.mean(1 / np.log2(np.arange(2, others + 3))) for others in batch.negatives.sum(axis=1)]
        weights = 1 / np.bincount(batch.example)[batch.example]  # each example counts once
        ndcg, chance_ndcg = (np.average(gains, weights=weights) for gains in (1 / np.log2(2 + above), chance))
        return {"ndcg": float(ndcg), "chance_ndcg": float(chance_ndcg)}

    def _scores(self, model: LoraEncoder, batch: ContrastiveBatch) -> torch.Tensor:
        """The score of each row for the history of each positive, shape (positives, rows)."""
        import torch

        def on_device(values: NDArray[Any]) -> torch.Tensor:
            return torch.from_numpy(values).to(model.device)

        vectors = model.embed([self._tokens[row] for row in batch.rows])
        vectors = center_by_domain(vectors, on_device(self._preferences.domain[batch.rows]), on_device(batch.random))
        history = vectors[on_device(batch.history)]
        scores = history_scores(history, on_device(batch.mask), vectors, self._settings.temperature)
        return scores[on_device(batch.example)]

    def _draw(self, example: _Example, rng: np.random.Generator) -> tuple[Rows, Rows]:
        """History and positives of an example, which share no item."""
        source = rng.permutation(example.liked[example.source])
        if example.source == example.target:
            positives = min(self._settings.positives, max(1, len(source) // 3))
            return source[positives:][: self._settings.history], source[:positives]
        target = rng.permutation(example.liked[example.target])
        return source[: self._settings.history], target[: self._settings.positives]

    def _draw_random(self, most: int, rng: np.random.Generator) -> Rows:
        """Random items of each domain."""
        return np.concatenate([rng.choice(rows, min(most, len(rows)), replace=False) for rows in self._catalogues])

    def _examples_of(self, users: Sequence[LikedRows], *, same_domain: bool) -> Iterator[_Example]:
        for liked in users:
            for source, rows in liked.items():
                for target in liked:
                    if (source, target) in self._pairs or (same_domain and source == target and len(rows) > 1):
                        yield _Example(liked, source, target)


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
