"""The contrastive task. Reads a preference data set, produces the loss of finding liked items from other liked items.

An example is a user and two domains, which may be the same: items liked in one, the history, must find items liked in
the other. Negatives are the other positives of the batch, random items of the catalogue, and hard negatives. All
ordered pairs of domains are learnt at once.
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

from retrieval.adapt.contrastive_loss import center_by_domain, history_scores, info_nce
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


@dataclass(frozen=True)
class _ValidationCase:
    """Places in the rows of validation: a history, liked items, and others of their domain."""

    history: Rows
    positives: Rows
    negatives: Rows


class ContrastiveTask:
    """A `Task` whose batches are sets of examples.

    Args:
        pairs: of domains, (source, target); none: all. Each domain of a named pair is also paired with itself.

    Raises:
        UsageError: no user liked enough to learn or to measure anything.
    """

    metric = "ndcg"

    def __init__(
        self,
        preferences: Preferences,
        tokens: Sequence[Sequence[int]],
        settings: ContrastiveSettings,
        *,
        pairs: Sequence[tuple[str, str]] = (),
        seed: int = 0,
        validation_cases: int = 200,
    ) -> None:
        domains = preferences.domains
        self._preferences, self._tokens, self._settings, self._seed = preferences, tokens, settings, seed
        self._most_cases = validation_cases
        self._pairs = {
            (domains.index(source), domains.index(target)) for source, target in pairs or permutations(domains, 2)
        }
        self._examples = list(self._examples_of(preferences.training, same_domain=settings.same_domain))
        self._catalogues = [np.flatnonzero(preferences.domain == number) for number in range(len(domains))]
        if not self._examples:
            raise UsageError("nobody liked enough in these domains", hint="ingest more interactions")
        self._hard_negatives: list[Rows] = []

    def mine_hard_negatives(self, model: LoraEncoder) -> None:
        """Look for hard negatives by a model that is not trained yet; it encodes all items."""
        import torch

        domain = torch.from_numpy(self._preferences.domain)
        with torch.no_grad():
            vectors = model.embed_all(self._tokens).cpu()
        self._hard_negatives = hard_negatives(
            center_by_domain(vectors, domain, torch.ones(len(domain), dtype=torch.bool)).numpy(),
            self._catalogues,
            [example.liked[example.source] for example in self._examples],
            [example.target for example in self._examples],
            [example.all_liked for example in self._examples],
        )

    def __len__(self) -> int:
        """Batches in an epoch."""
        return max(1, len(self._examples) // self._settings.batch)

    def batch(self, epoch: int, index: int) -> ContrastiveBatch:
        """The `index`-th batch of an epoch."""
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self._examples))
        rng = np.random.default_rng([self._seed, epoch, index])
        chosen = order[index * self._settings.batch : (index + 1) * self._settings.batch]
        examples = [self._examples[at] for at in chosen]
        drawn = [self._draw(example, rng) for example in examples]
        hard = (
            [rng.permutation(self._hard_negatives[at])[: self._settings.hard_negatives] for at in chosen]
            if (self._hard_negatives)
            else []
        )
        random = np.concatenate(self._draw_random(self._settings.random_negatives, rng))
        rows = np.unique(np.concatenate([random, *hard, *(part for pair in drawn for part in pair)]))
        history = np.zeros((len(drawn), self._settings.history), dtype=np.int64)
        mask = np.zeros(history.shape, dtype=np.bool_)
        for at, (items, _) in enumerate(drawn):
            history[at, : len(items)] = np.searchsorted(rows, items)
            mask[at, : len(items)] = True
        example = np.repeat(np.arange(len(drawn)), [len(positives) for _, positives in drawn])
        positives = np.concatenate([positives for _, positives in drawn])
        positive = np.searchsorted(rows, positives)
        domain = self._preferences.domain[rows]
        liked = np.stack([np.isin(rows, one.all_liked) for one in examples])
        candidates = np.isin(rows, np.concatenate([random, *hard, positives]))
        negatives = candidates & (domain[None] == domain[positive][:, None]) & ~liked[example]
        return ContrastiveBatch(rows, history, mask, example, positive, np.isin(rows, random), negatives)

    def loss(self, model: LoraEncoder, batches: Sequence[ContrastiveBatch]) -> tuple[torch.Tensor, int]:
        """Mean loss of some batches, and their number of tokens."""
        import torch

        losses = [self._loss(model, batch) for batch in batches]
        return torch.stack(losses).mean(), sum(len(self._tokens[row]) for batch in batches for row in batch.rows)

    def _loss(self, model: LoraEncoder, batch: ContrastiveBatch) -> torch.Tensor:
        import torch

        def on_device(values: NDArray[Any]) -> torch.Tensor:
            return torch.from_numpy(values).to(model.device)

        vectors = self._centered(model, batch.rows, batch.random)
        scores = history_scores(
            vectors[on_device(batch.history)], on_device(batch.mask), vectors, self._settings.temperature
        )[on_device(batch.example)]
        return info_nce(scores, on_device(batch.positive), on_device(batch.negatives), self._settings.scale)

    def _centered(self, model: LoraEncoder, rows: Rows, in_mean: NDArray[np.bool_]) -> torch.Tensor:
        import torch

        domain = torch.from_numpy(self._preferences.domain[rows]).to(model.device)
        vectors = model.embed([self._tokens[row] for row in rows])
        return center_by_domain(vectors, domain, torch.from_numpy(in_mean).to(model.device))

    def validate(self, model: LoraEncoder) -> dict[str, float]:
        """Mean 1 / log2(1 + rank) of liked items among 500 others of their domain, and what chance would give."""
        import torch

        rows, random, cases = self._validation
        with torch.no_grad():
            vectors = self._centered(model, rows, random)
            gains = [self._gain(vectors, case) for case in cases]
        chance = [np.mean(1 / np.log2(np.arange(2, len(case.negatives) + 3))) for case in cases]
        return {"ndcg": float(np.mean(gains)), "chance_ndcg": float(np.mean(chance))}

    def _gain(self, vectors: torch.Tensor, case: _ValidationCase) -> float:
        import torch

        history, positives, negatives = (
            vectors[torch.from_numpy(rows).to(vectors.device)]
            for rows in (case.history, case.positives, case.negatives)
        )
        mask = torch.ones(1, len(history), dtype=torch.bool, device=vectors.device)
        candidates = torch.cat([positives, negatives])
        scores = history_scores(history[None], mask, candidates, self._settings.temperature)[0]
        above = (scores[None, len(positives) :] >= scores[: len(positives), None]).sum(dim=1)
        return float((1 / torch.log2(2.0 + above)).mean())

    @cached_property
    def _validation(self) -> tuple[Rows, NDArray[np.bool_], list[_ValidationCase]]:
        """All rows of validation, which of them are random items of the catalogue, and the cases."""
        rng = np.random.default_rng([self._seed, _VALIDATION_EPOCH])
        users = self._preferences.validation
        examples = list(self._examples_of(users, same_domain=False)) or list(self._examples_of(users, same_domain=True))
        if not examples:
            raise UsageError("no validation user liked things in two domains", hint="more users, or a larger share")
        chosen = [examples[at] for at in rng.permutation(len(examples))[: self._most_cases]]
        drawn = [self._draw(example, rng) for example in chosen]
        random = self._draw_random(_VALIDATION_NEGATIVES, rng)
        rows = np.unique(np.concatenate([*random, *(part for pair in drawn for part in pair)]))
        cases = []
        for (history, positives), example in zip(drawn, chosen, strict=True):
            negatives = np.setdiff1d(random[example.target], example.liked[example.target])
            cases.append(_ValidationCase(*(np.searchsorted(rows, part) for part in (history, positives, negatives))))
        return rows, np.isin(rows, np.concatenate(random)), cases

    def _draw(self, example: _Example, rng: np.random.Generator) -> tuple[Rows, Rows]:
        """History and positives of an example, which share no item."""
        source = rng.permutation(example.liked[example.source])
        if example.source == example.target:
            positives = min(self._settings.positives, max(1, len(source) // 3))
            return source[positives:][: self._settings.history], source[:positives]
        target = rng.permutation(example.liked[example.target])
        return source[: self._settings.history], target[: self._settings.positives]

    def _draw_random(self, most: int, rng: np.random.Generator) -> list[Rows]:
        """Random items of each domain."""
        return [rng.choice(rows, min(most, len(rows)), replace=False) for rows in self._catalogues]

    def _examples_of(self, users: Sequence[LikedRows], *, same_domain: bool) -> Iterator[_Example]:
        for liked in users:
            for source, rows in liked.items():
                for target in liked:
                    if (source, target) in self._pairs or (same_domain and source == target and len(rows) > 1):
                        yield _Example(liked, source, target)
