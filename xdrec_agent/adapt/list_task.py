"""Learning to choose. Reads training cases, produces the loss of the n-th group of an epoch and a validation figure.

What the n-th group is follows from seed, epoch and n alone, so a resumed run goes on with what it would have seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from retrieval.errors import UsageError
from xdrec_agent.adapt.label_loss import label_logits, list_loss, quality
from xdrec_agent.adapt.prefetch import Ahead
from xdrec_agent.adapt.token_groups import Prompts, TokenGroup
from xdrec_agent.adapt.training_lists import Catalogue, ListShape, TrainingCase, draw_group, validation_group
from xdrec_agent.models import TrainedModel

if TYPE_CHECKING:
    import torch

_VALIDATION: Final = 2**20
"""An epoch that no training reaches: validation lists are drawn with it."""
_TOGETHER: Final = 32
"""Validation lists computed at once on a GPU; a CPU only loses by the padding."""


class ListTask:
    """A task for `training.train`; a step is a history with its lists.

    Args:
        training, validation: of different users.
        validation_lists: how many; each of another user as long as there are enough.
        candidates: in each validation list.

    Raises:
        UsageError: the validation users give no case.
    """

    metric = "ndcg10"

    def __init__(
        self,
        prompts: Prompts,
        training: Sequence[TrainingCase],
        validation: Sequence[TrainingCase],
        catalogues: Mapping[str, Catalogue],
        shape: ListShape,
        *,
        seed: int = 0,
        validation_lists: int = 100,
        candidates: int = 20,
    ) -> None:
        if not validation:
            raise UsageError("no validation user liked things in both domains", hint="more users, or a larger share")
        self.prompts = prompts
        self.shape = shape
        self._training = training
        self._validation = validation
        self._catalogues = catalogues
        self._seed = seed
        self._lists = validation_lists
        self._candidates = candidates

    def __len__(self) -> int:
        """Groups in an epoch: each case once."""
        return len(self._training)

    def group(self, epoch: int, index: int) -> TokenGroup:
        """The `index`-th group of an epoch; cases whose domain has no negatives are replaced by the next one.

        Raises:
            UsageError: no domain has negatives.
        """
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self._training))
        rng = np.random.default_rng([self._seed, epoch, index])
        for step in range(len(order)):
            case = self._training[order[(index + step) % len(order)]]
            group = draw_group(case, self._catalogues[case.pair[1]], self.shape, rng)
            if group is not None:
                return self.prompts.tokens(group)
        raise UsageError("the catalogues are too small for lists with negatives", hint="ingest more items")

    def loss(self, model: TrainedModel, epoch: int, indices: Sequence[int]) -> tuple[torch.Tensor, int]:
        """Mean loss of some groups, and the tokens of their prompts."""
        import torch

        groups = self._ahead(model.device.type).take(epoch, indices)
        losses = [
            list_loss(scores, group.positives)
            for scores, group in zip(self._scores(model, groups), groups, strict=True)
        ]
        return torch.stack(losses).mean(), sum(group.tokens for group in groups)

    @lru_cache(maxsize=1)  # noqa: B019 (a task lives as long as its training)
    def _ahead(self, device: str) -> Ahead[TokenGroup]:
        return Ahead(self.group, len(self), 0 if device == "cpu" else None)

    def _scores(self, model: TrainedModel, groups: Sequence[TokenGroup]) -> list[torch.Tensor]:
        found = label_logits(model, groups, self.prompts.label_ids)
        return [self.prompts.scores(logits, group) for logits, group in zip(found, groups, strict=True)]

    def validate(self, model: TrainedModel) -> dict[str, float]:
        """nDCG@10, accuracy and loss of one liked item among others of its count, with what chance would give."""
        import torch

        found, losses = [], []
        at_once = 1 if model.device.type == "cpu" else _TOGETHER
        with torch.no_grad():
            for start in range(0, len(self._groups), at_once):
                some = self._groups[start : start + at_once]
                for group, scores in zip(some, self._scores(model, some), strict=True):
                    found.append(quality(scores[0], group.positives[0][0]))
                    losses.append(float(list_loss(scores, group.positives)))
        ndcg, first = np.mean(found, axis=0)
        return {"ndcg10": float(ndcg), "accuracy": float(first), "loss": float(np.mean(losses)), **self.chance}

    @cached_property
    def chance(self) -> dict[str, float]:
        """What a random order has on the validation lists."""
        sizes = [group.size for group in self._groups]
        ndcg = [sum(1 / np.log2(place + 2) for place in range(min(10, n))) / n for n in sizes]
        return {
            "chance_ndcg10": float(np.mean(ndcg)),
            "chance_accuracy": float(np.mean([1 / n for n in sizes])),
            "chance_loss": float(np.mean(np.log(sizes))),
        }

    @cached_property
    def _groups(self) -> list[TokenGroup]:
        rng = np.random.default_rng([self._seed, _VALIDATION])
        order = rng.permutation(len(self._validation))
        seen: dict[str, list[TrainingCase]] = {}
        for place in order:
            seen.setdefault(self._validation[place].user, []).append(self._validation[place])
        rounds = [cases[n] for n in range(max(map(len, seen.values()))) for cases in seen.values() if n < len(cases)]
        drawn = (validation_group(c, self._catalogues[c.pair[1]], self._candidates, rng) for c in rounds[: self._lists])
        groups = [self.prompts.tokens(group) for group in drawn if len(group.lists[0].candidates) > 1]
        if not groups:
            raise UsageError("the catalogues are too small for lists with negatives", hint="ingest more items")
        return groups
