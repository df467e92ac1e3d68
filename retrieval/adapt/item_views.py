"""The item-view task. Reads item texts alone, produces the loss of matching an item's title and its description.

No user is needed: the title, with the creators, must find the rest of its own text (categories, themes, description)
among those of other items of its domain, and the other way round. Items with nothing but a title are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from retrieval.adapt.lora_encoder import LoraEncoder
from retrieval.errors import UsageError
from retrieval.folds import fold
from retrieval.templates import PromptTemplate
from retrieval.types import Item

if TYPE_CHECKING:
    import torch

_VALIDATION_SHARE: Final = 50
"""One item of so many is held out for validation."""
_VALIDATION_ITEMS: Final = 500
"""Items of a catalogue at most in a validation."""
_SCALE: Final = 20.0
"""Logits for a unit of cosine, as in sentence-transformers' MultipleNegativesRankingLoss."""

T = TypeVar("T")


@dataclass(frozen=True)
class ItemViews(Generic[T]):
    """Two views of each item of a catalogue: its title, and its description, as texts or as tokens."""

    titles: list[T]
    descriptions: list[T]


def read_item_views(items: Iterable[Item], template: PromptTemplate) -> tuple[ItemViews[str], ItemViews[str]]:
    """Views for training and for validation, split by a hash of the item's id.

    Raises:
        UsageError: too few items have more than a title.
    """
    parts: tuple[list[tuple[str, str]], list[tuple[str, str]]] = ([], [])
    for item in items:
        if item.categories or item.themes or item.description:
            title = item.model_copy(update={"categories": (), "description": "", "attributes": {}})
            description = item.model_copy(update={"title": "", "creators": ()})
            pair = template.text(item=title), template.text(item=description).lstrip(". ")
            parts[fold(item.id, _VALIDATION_SHARE) == 0].append(pair)
    if min(map(len, parts)) < 2:
        raise UsageError("too few items say more than their title", hint="ingest categories or descriptions")
    training, validation = (ItemViews(*map(list, zip(*pairs, strict=True))) for pairs in parts)
    return training, validation


TokenViews = ItemViews[list[int]]


class ItemViewTask:
    """A `Task` whose batches are items of one catalogue.

    Args:
        catalogues: of each the views for training and for validation, as `read_item_views` gives them.
    """

    metric = "found"

    def __init__(
        self,
        model: LoraEncoder,
        catalogues: Sequence[tuple[ItemViews[str], ItemViews[str]]],
        *,
        batch: int = 128,
        seed: int = 0,
    ) -> None:
        self._seed, self._batch = seed, batch
        self._training = [_tokenized(model, training) for training, _ in catalogues]
        self._validation = [_tokenized(model, validation, _VALIDATION_ITEMS) for _, validation in catalogues]

    def __len__(self) -> int:
        return len(self._order(0))

    def batch(self, epoch: int, index: int) -> TokenViews:
        """The `index`-th batch of an epoch."""
        catalogue, rows = self._order(epoch)[index]
        views = self._training[catalogue]
        return ItemViews([views.titles[row] for row in rows], [views.descriptions[row] for row in rows])

    def _order(self, epoch: int) -> list[tuple[int, NDArray[np.int64]]]:
        """The batches of an epoch: a catalogue's number and rows of it."""
        rng = np.random.default_rng([self._seed, epoch])
        batches = []
        for catalogue, views in enumerate(self._training):
            rows = rng.permutation(len(views.titles))
            size = min(self._batch, len(rows))
            batches += [(catalogue, rows[start : start + size]) for start in range(0, len(rows) - size + 1, size)]
        return [batches[at] for at in rng.permutation(len(batches))]

    def loss(self, model: LoraEncoder, batches: Sequence[TokenViews]) -> tuple[torch.Tensor, int]:
        """Mean cross-entropy of both directions in nats, and the number of tokens."""
        import torch

        losses, tokens = [], 0
        for batch in batches:
            logits = _SCALE * model.embed(batch.titles) @ model.embed(batch.descriptions).T
            own = torch.arange(len(logits), device=logits.device)
            losses += [torch.nn.functional.cross_entropy(direction, own) for direction in (logits, logits.T)]
            tokens += sum(map(len, (*batch.titles, *batch.descriptions)))
        return torch.stack(losses).mean(), tokens

    def validate(self, model: LoraEncoder) -> dict[str, float]:
        """Share of titles whose nearest description is their own, and what chance would give; means of catalogues."""
        import torch

        found, chance = [], []
        for views in self._validation:
            cosines = model.embed(views.titles) @ model.embed(views.descriptions).T
            own = torch.arange(len(cosines), device=cosines.device)
            found.append(float((cosines.argmax(dim=1) == own).float().mean()))
            chance.append(1 / len(cosines))
        return {"found": float(np.mean(found)), "chance_found": float(np.mean(chance))}


def _tokenized(model: LoraEncoder, views: ItemViews[str], most: int | None = None) -> TokenViews:
    return ItemViews(model.tokens(views.titles[:most]), model.tokens(views.descriptions[:most]))
