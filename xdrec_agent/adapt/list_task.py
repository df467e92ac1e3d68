"""The reranking task. Reads training cases, produces the loss of telling liked candidates from others in their lists.

Only the last position of a prompt is projected, and only onto the labels. A group of prompts is one sequence in which
each rest sees the shared prefix and itself, at the positions that it has in its own prompt; the logits are those of the
whole prompts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from retrieval.errors import UsageError
from xdrec_agent.adapt.lora_llm import LoraLLM
from xdrec_agent.adapt.prompts import TokenGroup, TrainingPrompts
from xdrec_agent.adapt.training_lists import Catalogue, ListSettings, TrainingCase, draw_group, validation_group

if TYPE_CHECKING:
    import torch

_VALIDATION_EPOCH: Final = 2**20
"""An epoch that no training reaches: validation lists are drawn with it."""
_VALIDATION_CANDIDATES: Final = 20
_VALIDATION_CHUNK: Final = 32
"""Validation lists computed together on a GPU; a CPU only loses by the padding."""
_TOP: Final = 10


class ListTask:
    """A `Task` whose batches are the prompts of a history with its lists.

    Args:
        training, validation: of different users.
        validation_lists: how many; each of another user as long as there are enough.

    Raises:
        UsageError: the validation users give no case.
    """

    metric = "ndcg10"

    def __init__(
        self,
        prompts: TrainingPrompts,
        training: Sequence[TrainingCase],
        validation: Sequence[TrainingCase],
        catalogues: Mapping[str, Catalogue],
        settings: ListSettings,
        *,
        seed: int = 0,
        validation_lists: int = 100,
    ) -> None:
        if not validation:
            raise UsageError("no validation user liked things in both domains", hint="more users, or a larger share")
        self._prompts, self._settings, self._catalogues, self._seed = prompts, settings, catalogues, seed
        self._training, self._validation, self._lists = training, validation, validation_lists

    def __len__(self) -> int:
        return len(self._training)

    def batch(self, epoch: int, index: int) -> TokenGroup:
        """The `index`-th group of an epoch; cases whose domain has no negatives are replaced by the next one.

        Raises:
            UsageError: no domain has negatives.
        """
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self._training))
        rng = np.random.default_rng([self._seed, epoch, index])
        for step in range(len(order)):
            case = self._training[order[(index + step) % len(order)]]
            group = draw_group(case, self._catalogues[case.pair[1]], self._settings, rng)
            if group is not None:
                return self._prompts.tokens(group)
        raise UsageError("the catalogues are too small for lists with negatives", hint="ingest more items")

    def loss(self, model: LoraLLM, batches: Sequence[TokenGroup]) -> tuple[torch.Tensor, int]:
        """Mean loss of some groups, and the tokens of their prompts."""
        import torch

        scores = self._scores(model, batches)
        losses = [listwise_loss(rows, group.positives) for rows, group in zip(scores, batches, strict=True)]
        return torch.stack(losses).mean(), sum(group.tokens for group in batches)

    def _scores(self, model: LoraLLM, groups: Sequence[TokenGroup]) -> list[torch.Tensor]:
        logits = label_logits(model, groups, self._prompts.label_ids)
        return [self._prompts.scores(rows, group) for rows, group in zip(logits, groups, strict=True)]

    def validate(self, model: LoraLLM) -> dict[str, float]:
        """nDCG@10, accuracy and loss of one liked item among others of its count, and what chance would give."""
        groups = self._validation_groups
        size = 1 if model.device.type == "cpu" else _VALIDATION_CHUNK
        figures = []
        for start in range(0, len(groups), size):
            chunk = groups[start : start + size]
            for group, scores in zip(chunk, self._scores(model, chunk), strict=True):
                positive, equal = group.positives[0][0], scores.new_zeros(group.size)
                found = *ndcg_and_accuracy(scores[0], positive), float(listwise_loss(scores, group.positives))
                # By chance all candidates score the same.
                figures.append((*found, *ndcg_and_accuracy(equal, positive), np.log(group.size)))
        names = ("ndcg10", "accuracy", "loss", "chance_ndcg10", "chance_accuracy", "chance_loss")
        return dict(zip(names, np.mean(figures, axis=0).tolist(), strict=True))

    @cached_property
    def _validation_groups(self) -> list[TokenGroup]:
        rng = np.random.default_rng([self._seed, _VALIDATION_EPOCH])
        by_user: dict[str, list[TrainingCase]] = {}
        for place in rng.permutation(len(self._validation)):
            by_user.setdefault(self._validation[place].user, []).append(self._validation[place])
        rounds = range(max(map(len, by_user.values())))
        cases = [cases[n] for n in rounds for cases in by_user.values() if n < len(cases)][: self._lists]
        drawn = (validation_group(c, self._catalogues[c.pair[1]], _VALIDATION_CANDIDATES, rng) for c in cases)
        groups = [self._prompts.tokens(group) for group in drawn if len(group.lists[0].candidates) > 1]
        if not groups:
            raise UsageError("the catalogues are too small for lists with negatives", hint="ingest more items")
        return groups


def label_logits(model: LoraLLM, groups: Sequence[TokenGroup], label_ids: Sequence[int]) -> list[torch.Tensor]:
    """For each of several groups, computed together, the logits of the labels, float32, shape (prompts, labels)."""
    import torch

    ids, positions, parts, ends = map(torch.from_numpy, _packed(groups))
    parts = parts.to(model.device)
    causal = torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool, device=model.device).tril()
    # Padding is a part of its own, so that each of its rows sees something.
    visible = causal & ((parts[:, None, :] == 0) | (parts[:, None, :] == parts[:, :, None]))
    with torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=model.device.type == "cuda"):
        hidden = model.decoder(
            input_ids=ids.to(model.device),
            position_ids=positions.to(model.device),
            attention_mask=visible[:, None],
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


def listwise_loss(scores: torch.Tensor, positives: Sequence[Sequence[int]]) -> torch.Tensor:
    """Mean over lists and positives of -log p(positive) among it and the negatives of its list, in nats.

    One positive gives the usual cross-entropy over the candidates. Several are not each other's negatives.
    """
    import torch

    losses = []
    for row, liked in zip(scores, positives, strict=True):
        negatives = torch.logsumexp(row[[i for i in range(len(row)) if i not in liked]], dim=0)
        mine = row[list(liked)]
        losses.append((torch.logaddexp(mine, negatives) - mine).mean())
    return torch.stack(losses).mean()


def ndcg_and_accuracy(scores: torch.Tensor, positive: int) -> tuple[float, float]:
    """nDCG@10 and whether the positive is first, of one list, shape (candidates,); ties count as expectations."""
    values = scores.detach().double().cpu().numpy()
    above, equal = int((values > values[positive]).sum()), int((values == values[positive]).sum())
    gains = [1 / np.log2(place + 2) if place < _TOP else 0.0 for place in range(above, above + equal)]
    return float(np.mean(gains)), (1 / equal if above == 0 else 0.0)
