"""Reading catalogues. Reads item texts alone, produces the loss of telling what an item is from what it is called.

No user is needed: the title, with who made it, must find the rest of its own text (categories, themes, description)
among those of other items of its domain, and the other way round. Items that are nothing but a title teach nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from retrieval.adapt.lora_encoder import TrainedEncoder
from retrieval.errors import UsageError
from retrieval.folds import fold
from retrieval.templates import PromptTemplate
from retrieval.types import Item

if TYPE_CHECKING:
    import torch

_SHARE: Final = 50
"""One item of so many is kept for validation."""
_SCALE: Final = 20.0
"""Logits for a unit of cosine, as sentence-transformers' losses have it."""
_VALIDATION: Final = 500
"""Items of a catalogue that validation looks at."""


@dataclass(frozen=True)
class Views:
    """Two texts of each of some items: what it is called, and what it is."""

    called: tuple[str, ...]
    described: tuple[str, ...]


def read_views(items: Iterable[Item], template: PromptTemplate) -> tuple[Views, Views]:
    """Views for training and for validation, split by a hash of the item's id.

    Raises:
        UsageError: too few items say more than their title.
    """
    parts: tuple[list[tuple[str, str]], list[tuple[str, str]]] = ([], [])
    for item in items:
        if item.categories or item.themes or item.description:
            bare = item.model_copy(update={"categories": (), "description": "", "attributes": {}})
            nameless = item.model_copy(update={"title": "", "creators": ()})
            pair = template.text(item=bare), template.text(item=nameless).lstrip(". ")
            parts[fold(item.id, _SHARE) == 0].append(pair)
    if min(map(len, parts)) < 2:
        raise UsageError("too few items say more than their title", hint="ingest categories or descriptions")
    training, validation = (Views(*map(tuple, zip(*some, strict=True))) for some in parts)
    return training, validation


class ViewTask:
    """A task for `training.train`; a group is a batch of items of one catalogue.

    Args:
        catalogues: of each what is learnt from and what is kept for validation, as `read_views` gives them.
    """

    metric = "found"

    def __init__(
        self, encoder: TrainedEncoder, catalogues: Sequence[tuple[Views, Views]], *, batch: int = 128, seed: int = 0
    ) -> None:
        self._seed = seed
        self._training = [_tokens(encoder, training) for training, _ in catalogues]
        self._validation = [_tokens(encoder, validation, _VALIDATION) for _, validation in catalogues]
        self._batches = [min(batch, len(called)) for called, _ in self._training]

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self._order(0))

    def loss(self, model: TrainedEncoder, epoch: int, indices: Sequence[int]) -> tuple[torch.Tensor, int]:
        """Mean loss of some batches, and how many tokens they have."""
        import torch

        order = self._order(epoch)
        losses, tokens = [], 0
        for index in indices:
            catalogue, rows = order[index]
            sides = [[side[row] for row in rows] for side in self._training[catalogue]]
            logits = _SCALE * model.embed(sides[0]) @ model.embed(sides[1]).T
            own = torch.arange(len(rows), device=logits.device)
            both = [torch.nn.functional.cross_entropy(way, own) for way in (logits, logits.T)]
            losses.append(torch.stack(both).mean())
            tokens += sum(map(len, sides[0])) + sum(map(len, sides[1]))
        return torch.stack(losses).mean(), tokens

    def _order(self, epoch: int) -> list[tuple[int, NDArray[np.int64]]]:
        """The batches of an epoch: a catalogue's number and rows of it."""
        rng = np.random.default_rng([self._seed, epoch])
        batches = []
        for catalogue, ((called, _), size) in enumerate(zip(self._training, self._batches, strict=True)):
            rows = rng.permutation(len(called))
            batches += [(catalogue, rows[start : start + size]) for start in range(0, len(rows) - size + 1, size)]
        return [batches[at] for at in rng.permutation(len(batches))]

    def validate(self, model: TrainedEncoder) -> dict[str, float]:
        """Share of titles that find their own description first, with what chance would give; means of catalogues."""
        import torch

        found, chance = [], []
        for called, described in self._validation:
            with torch.no_grad():
                cosines = model.embed(called) @ model.embed(described).T
            own = torch.arange(len(cosines), device=cosines.device)
            found.append(float((cosines.argmax(dim=1) == own).float().mean()))
            chance.append(1 / len(cosines))
        return {"found": float(np.mean(found)), "chance_found": float(np.mean(chance))}


def _tokens(encoder: TrainedEncoder, views: Views, most: int | None = None) -> tuple[list[list[int]], list[list[int]]]:
    return encoder.tokens(views.called[:most]), encoder.tokens(views.described[:most])
