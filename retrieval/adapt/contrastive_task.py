"""Carrying taste. Reads who liked what, produces the loss of finding what people liked from what else they liked.

An example is a person and two domains, which may be the same: some of what they liked in one must find what they liked
in the other, among what others liked there and what nobody may have. Several ordered pairs are learnt at once.
What the n-th batch is follows from seed, epoch and n alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from retrieval.adapt.contrastive_loss import centred, first_loss, set_scores
from retrieval.adapt.hard_negatives import hard_negatives
from retrieval.adapt.lora_encoder import TrainedEncoder
from retrieval.adapt.preferences import Liked, Rows, Taste
from retrieval.errors import UsageError
from retrieval.settings import Section

if TYPE_CHECKING:
    import torch

_VALIDATION: Final = 2**20
"""An epoch that no training reaches: validation is drawn with it."""
_STRANGERS: Final = 500
"""Items of each domain among which validation looks for the liked ones."""

_PART: Final = 4_096
"""Items encoded at a time."""


class SetShape(Section):
    """How examples are drawn."""

    history: int = Field(default=8, ge=1)
    """Most liked items that speak for a person in one example."""
    positives: int = Field(default=4, ge=1)
    """Most liked items that one example looks for."""
    batch: int = Field(default=256, ge=2)
    """Examples set against each other."""
    strangers: int = Field(default=128, ge=8)
    """Items of each domain drawn from the whole catalogue: they are negatives, and give the domain's mean."""
    hard: int = Field(default=0, ge=0)
    """Items for each example that look like what the person liked (`retrieval.adapt.hard_negatives`): more
    negatives."""
    scale: float = Field(default=10.0, gt=0)
    """Logits for a unit of score: with 1 / temperature they are the soft maximum's own (docs/experiments.md)."""
    temperature: float = Field(default=0.1, gt=0)
    """Of the soft maximum, as `retriever.temperature`."""
    same_domain: bool = True
    """Whether liked items of one domain also learn to find each other."""


@dataclass(frozen=True)
class SetBatch:
    """Examples as places in `rows`, which holds each item once.

    Attributes:
        history, there: shape (examples, items), and which are items and not padding.
        example, positive: for each positive whose it is and its place.
        strangers: which of `rows` were drawn from the catalogue.
        against: for each positive the places it is set against, shape (positives, rows).
    """

    rows: Rows
    history: Rows
    there: NDArray[np.bool_]
    example: Rows
    positive: Rows
    strangers: NDArray[np.bool_]
    against: NDArray[np.bool_]


@dataclass(frozen=True)
class Example:
    """A person, and the numbers of the domains to go by and to find something in."""

    person: Liked
    source: int
    target: int


@dataclass(frozen=True)
class Measured:
    """A validation case, as places in its rows: what speaks for a person, what was liked, and others of its domain."""

    history: Rows
    truth: Rows
    others: Rows


class SetTask:
    """A task for `training.train`; a group is a batch of examples.

    Args:
        pairs: of domains, (source, target); none: all. Of those that are named, each is also paired with itself.

    Raises:
        UsageError: nobody liked enough to learn or to measure anything.
    """

    metric = "ndcg"

    def __init__(
        self,
        taste: Taste,
        tokens: Sequence[Sequence[int]],
        shape: SetShape,
        *,
        pairs: Sequence[tuple[str, str]] = (),
        seed: int = 0,
        validation: int = 200,
    ) -> None:
        self._taste = taste
        self._tokens = tokens
        self._shape = shape
        self._seed = seed
        self._most = validation
        named = pairs or permutations(taste.domains, 2)
        self._pairs = frozenset((taste.domains.index(source), taste.domains.index(target)) for source, target in named)
        self._examples = list(_examples(taste.people, self._pairs, same=shape.same_domain))
        self._catalogues = [taste.rows_of(number) for number in range(len(taste.domains))]
        if not self._examples:
            raise UsageError("nobody liked enough in these domains", hint="ingest more interactions")
        self._hard: list[Rows] = []

    def mine(self, model: TrainedEncoder) -> None:
        """Look for hard negatives, by a model that has not been trained yet; all items are encoded for it."""
        import torch

        everything = np.arange(len(self._tokens))
        with torch.no_grad():
            parts = [model.embed([self._tokens[row] for row in some]).cpu() for some in _parts(everything)]
            domain = torch.from_numpy(self._taste.domain)
            vectors = centred(torch.cat(parts), domain, torch.ones(len(domain), dtype=torch.bool)).numpy()
        self._hard = hard_negatives(
            vectors,
            self._catalogues,
            [e.person[e.source] for e in self._examples],
            [e.target for e in self._examples],
            [np.concatenate(list(e.person.values())) for e in self._examples],
        )

    def __len__(self) -> int:
        """Batches in an epoch."""
        return max(1, len(self._examples) // self._shape.batch)

    def loss(self, model: TrainedEncoder, epoch: int, indices: Sequence[int]) -> tuple[torch.Tensor, int]:
        """Mean loss of some batches, and how many tokens they have."""
        import torch

        found = [self._loss(model, self.batch(epoch, index)) for index in indices]
        return torch.stack([loss for loss, _ in found]).mean(), sum(size for _, size in found)

    def _loss(self, model: TrainedEncoder, batch: SetBatch) -> tuple[torch.Tensor, int]:
        import torch

        def there(values: NDArray[Any]) -> torch.Tensor:
            return torch.from_numpy(values).to(model.device)

        tokens = [self._tokens[row] for row in batch.rows]
        vectors = centred(model.embed(tokens), there(self._taste.domain[batch.rows]), there(batch.strangers))
        sets = vectors[there(batch.history)]
        scores = set_scores(sets, there(batch.there), vectors, self._shape.temperature)[there(batch.example)]
        return first_loss(scores, there(batch.positive), there(batch.against), self._shape.scale), sum(map(len, tokens))

    def batch(self, epoch: int, index: int) -> SetBatch:
        """The `index`-th batch of an epoch."""
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self._examples))
        rng = np.random.default_rng([self._seed, epoch, index])
        chosen = order[index * self._shape.batch : (index + 1) * self._shape.batch]
        examples = [self._examples[at] for at in chosen]
        drawn = [self._draw(one, rng) for one in examples]
        hard = [rng.permutation(self._hard[at])[: self._shape.hard] for at in chosen] if self._hard else []
        return self._joined(drawn, [one.person for one in examples], hard, rng)

    def validate(self, model: TrainedEncoder) -> dict[str, float]:
        """Mean 1 / log2(1 + place) of liked items among 500 others of their domain, with what chance would give."""
        import torch

        rows, strangers, cases = self._measured
        with torch.no_grad():
            vectors = model.embed([self._tokens[row] for row in rows])
            domain = torch.from_numpy(self._taste.domain[rows]).to(model.device)
            vectors = centred(vectors, domain, torch.from_numpy(strangers).to(model.device))
            found = [self._gain(vectors, case) for case in cases]
        chance = float(np.mean([np.mean(1 / np.log2(np.arange(2, len(case.others) + 3))) for case in cases]))
        return {"ndcg": float(np.mean(found)), "chance_ndcg": chance}

    def _gain(self, vectors: torch.Tensor, case: Measured) -> float:
        import torch

        def there(rows: Rows) -> torch.Tensor:
            return vectors[torch.from_numpy(rows).to(vectors.device)]

        items = torch.ones(1, len(case.history), dtype=torch.bool, device=vectors.device)
        candidates = there(np.concatenate([case.truth, case.others]))
        scores = set_scores(there(case.history)[None], items, candidates, self._shape.temperature)[0]
        truth, others = scores[: len(case.truth)], scores[len(case.truth) :]
        above = (others[None] >= truth[:, None]).sum(dim=1)
        return float((1 / torch.log2(2.0 + above)).mean())

    @cached_property
    def _measured(self) -> tuple[Rows, NDArray[np.bool_], list[Measured]]:
        rng = np.random.default_rng([self._seed, _VALIDATION])
        people = self._taste.validation
        examples = list(_examples(people, self._pairs, same=False)) or list(_examples(people, self._pairs, same=True))
        if not examples:
            raise UsageError("no validation user liked things in two domains", hint="more users, or a larger share")
        chosen = [examples[at] for at in rng.permutation(len(examples))[: self._most]]
        drawn = [self._draw(example, rng) for example in chosen]
        strangers = self._strangers(_STRANGERS, rng)
        rows = np.unique(np.concatenate([*strangers, *(part for pair in drawn for part in pair)]))
        cases = [
            Measured(
                np.searchsorted(rows, history),
                np.searchsorted(rows, truth),
                np.searchsorted(rows, np.setdiff1d(strangers[example.target], example.person[example.target])),
            )
            for (history, truth), example in zip(drawn, chosen, strict=True)
        ]
        return rows, np.isin(rows, np.concatenate(strangers)), cases

    def _draw(self, example: Example, rng: np.random.Generator) -> tuple[Rows, Rows]:
        """What speaks for a person and what is looked for; never the same item."""
        mine = rng.permutation(example.person[example.source])
        if example.source == example.target:
            wanted = min(self._shape.positives, max(1, len(mine) // 3))
            return mine[wanted:][: self._shape.history], mine[:wanted]
        return mine[: self._shape.history], rng.permutation(example.person[example.target])[: self._shape.positives]

    def _strangers(self, most: int, rng: np.random.Generator) -> list[Rows]:
        return [rng.choice(rows, min(most, len(rows)), replace=False) for rows in self._catalogues]

    def _joined(
        self,
        drawn: Sequence[tuple[Rows, Rows]],
        people: Sequence[Liked],
        hard: Sequence[Rows],
        rng: np.random.Generator,
    ) -> SetBatch:
        strangers = self._strangers(self._shape.strangers, rng)
        rows = np.unique(np.concatenate([*strangers, *hard, *(part for pair in drawn for part in pair)]))
        history = np.zeros((len(drawn), self._shape.history), dtype=np.int64)
        there = np.zeros(history.shape, dtype=np.bool_)
        for at, (items, _) in enumerate(drawn):
            history[at, : len(items)] = np.searchsorted(rows, items)
            there[at, : len(items)] = True
        example = np.repeat(np.arange(len(drawn)), [len(liked) for _, liked in drawn])
        positive = np.searchsorted(rows, np.concatenate([liked for _, liked in drawn]))
        looked_for = np.zeros(len(rows), dtype=np.bool_)
        looked_for[positive] = True
        drawn_ones = np.isin(rows, np.concatenate(strangers))
        domain = self._taste.domain[rows]
        own = np.stack([np.isin(rows, np.concatenate(list(person.values()))) for person in people])
        mined = np.isin(rows, np.concatenate([*hard, rows[:0]]))
        against = (looked_for | drawn_ones | mined) & (domain[None] == domain[positive][:, None]) & ~own[example]
        return SetBatch(rows, history, there, example, positive, drawn_ones, against)


def _parts(rows: Rows) -> list[Rows]:
    return np.array_split(rows, max(1, len(rows) // _PART))


def _examples(people: Sequence[Liked], pairs: Collection[tuple[int, int]], *, same: bool) -> Iterator[Example]:
    for person in people:
        for source, mine in person.items():
            for target in person:
                if (source, target) in pairs or (same and source == target and len(mine) > 1):
                    yield Example(person, source, target)
