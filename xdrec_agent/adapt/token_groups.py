"""What a training step is made of. Produces `TokenGroup`, prompts as tokens, and `Prompts`, whatever writes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from retrieval.templates import PromptTemplate
from xdrec_agent.adapt.training_lists import ListGroup

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class TokenGroup:
    """The prompts of lists that one history is asked about: `prefix` + `rests[i]` are the tokens of the i-th prompt.

    Attributes:
        positives: for each list the places of the liked candidates.
        size: candidates in each list.
    """

    prefix: tuple[int, ...]
    rests: tuple[tuple[int, ...], ...]
    positives: tuple[tuple[int, ...], ...]
    size: int

    @property
    def tokens(self) -> int:
        """Tokens of all prompts, as if each were computed alone."""
        return len(self.prefix) * len(self.rests) + sum(map(len, self.rests))


class Prompts(Protocol):
    """The prompts of one of the reranker's judges."""

    @property
    def template(self) -> PromptTemplate:
        """What they are written from."""
        ...

    @property
    def label_ids(self) -> Sequence[int]:
        """The tokens whose logits after a prompt are the answer."""
        ...

    def tokens(self, group: ListGroup) -> TokenGroup:
        """The prompts of a group."""
        ...

    def scores(self, logits: torch.Tensor, group: TokenGroup) -> torch.Tensor:
        """The judge's scores, shape (lists, candidates), from the labels' logits, shape (prompts, labels)."""
        ...
