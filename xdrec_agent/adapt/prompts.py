"""Training prompts. Reads groups of lists, produces the reranker's own prompts as tokens, byte for byte.

All prompts of a group begin alike: the shared prefix is kept apart, so that it is computed once.
"""

from __future__ import annotations

import os.path
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from retrieval.errors import UsageError
from retrieval.templates import PromptTemplate
from retrieval.types import Item, Query
from xdrec_agent.adapt.training_lists import ListGroup
from xdrec_agent.llm import NO, YES
from xdrec_agent.models import (
    AdapterKind,
    AdapterManifest,
    BaseModelId,
    chat_token_ids,
    label_token_ids,
    read_adapter_manifest,
    token_ids,
)
from xdrec_agent.rerank import LABELS, RerankContext, list_prompt, single_prompt
from xdrec_agent.settings import RerankSettings

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

ANSWER_LABELS: Final[Mapping[AdapterKind, str]] = {"list": "".join(LABELS), "judge": f"{YES}/{NO}"}
"""The tokens that an answer can begin with, by the kind of adapter; none for other kinds."""

Chat = list[dict[str, str]]
Tokens = tuple[int, ...]


def check_adapter(manifest: AdapterManifest, base: BaseModelId) -> None:
    """Raise UsageError unless an adapter was trained on this base model, with the labels in use."""
    manifest.check_base(base)
    if manifest.labels != (labels := ANSWER_LABELS.get(manifest.kind, "")):
        raise UsageError(
            f"the adapter {manifest.name} learnt the labels {manifest.labels}, not {labels}",
            hint="train it again: xdrec adapt llm",
        )


def check_served_adapters(adapters: Mapping[str, Path], base_name: str, base_folder: Path) -> None:
    """Raise unless all named adapters can be served beside the base model.

    Raises:
        UsageError: one is not there, or is for another base model or other labels.
        DataError: its manifest cannot be read.
    """
    base = BaseModelId.of(base_name, base_folder)
    for folder in adapters.values():
        check_adapter(read_adapter_manifest(folder), base)


@dataclass(frozen=True)
class TokenGroup:
    """The prompts of lists with one history: the tokens of the i-th prompt are `prefix` + `rests[i]`.

    Attributes:
        positives: for each list the places of the liked candidates.
        size: candidates in each list.
    """

    prefix: Tokens
    rests: tuple[Tokens, ...]
    positives: tuple[tuple[int, ...], ...]
    size: int

    @property
    def tokens(self) -> int:
        """Tokens of all prompts, as if each were computed alone."""
        return len(self.prefix) * len(self.rests) + sum(map(len, self.rests))


class TrainingPrompts(ABC):
    """The prompts of one of the reranker's judges, for one tokenizer and template.

    Args:
        history: liked items shown, the most recent ones.

    Attributes:
        label_ids: the tokens whose logits after a prompt are the answer.

    Raises:
        UsageError: a label is not exactly one token, or there is no chat template.
    """

    task: ClassVar[str]
    label_ids: Sequence[int]

    def __init__(self, tokenizer: PreTrainedTokenizerBase, template: PromptTemplate, history: int) -> None:
        if not tokenizer.chat_template:
            raise UsageError("the model has no chat template", hint="take an instruction-tuned model")
        self.template = template
        self._tokenizer = tokenizer
        self._context = RerankContext(RerankSettings(max_history=history), {self.task: template}, None)

    def tokens(self, group: ListGroup) -> TokenGroup:
        """The prompts of a group."""
        prefix, rests = self._cut(group)
        positives = tuple(drawn.positives for drawn in group.lists)
        return TokenGroup(prefix, tuple(rests), positives, len(group.lists[0].candidates))

    @abstractmethod
    def _cut(self, group: ListGroup) -> tuple[Tokens, list[Tokens]]:
        """The shared prefix and the rest of each prompt."""

    @abstractmethod
    def scores(self, logits: torch.Tensor, group: TokenGroup) -> torch.Tensor:
        """The judge's scores, shape (lists, candidates), from the labels' logits, shape (prompts, labels)."""


class ListwisePrompts(TrainingPrompts):
    """The prompts of `listwise-logprob`, one for each list: the model chooses a candidate by its label."""

    task = "rerank"

    def __init__(self, tokenizer: PreTrainedTokenizerBase, template: PromptTemplate, history: int) -> None:
        super().__init__(tokenizer, template, history)
        self.label_ids = tuple(label_token_ids(tokenizer, LABELS).values())

    def chats(self, group: ListGroup) -> list[Chat]:
        """The messages of each list, as `LLMClient.label_logprobs` sends them."""
        prompts = (list_prompt(self._context, group.query, drawn.candidates) for drawn in group.lists)
        return [list(map(dict, prompt)) for prompt in prompts]

    def _cut(self, group: ListGroup) -> tuple[Tokens, list[Tokens]]:
        prompts = [chat_token_ids(self._tokenizer, chat) for chat in self.chats(group)]
        shortest = min(map(len, prompts)) - 1  # at least one token is left to each
        shared = next((i for i in range(shortest) if len({prompt[i] for prompt in prompts}) > 1), shortest)
        return prompts[0][:shared], [prompt[shared:] for prompt in prompts]

    def scores(self, logits: torch.Tensor, group: TokenGroup) -> torch.Tensor:
        """A candidate's score is its label's logit."""
        return logits[:, : group.size]


class PointwisePrompts(TrainingPrompts):
    """The prompts of `pointwise-logprob`, one for each candidate of each list: the model answers yes or no.

    They are cut where the reranker cuts them for vLLM's `/generative_scoring`, at the beginning of the line in which
    the candidates differ, and both parts are tokenized separately, as there.
    """

    task = "judge"

    def __init__(self, tokenizer: PreTrainedTokenizerBase, template: PromptTemplate, history: int) -> None:
        super().__init__(tokenizer, template, history)
        labels = [token_ids(tokenizer, label) for label in (YES, NO)]
        if any(len(ids) != 1 for ids in labels):
            raise UsageError(f"{YES!r} and {NO!r} are not one token each here", hint="take another model")
        self.label_ids = [ids[0] for ids in labels]

    def _text(self, query: Query, item: Item) -> str:
        chat = [dict(message) for message in single_prompt(self._context, query, item)]
        text: str = self._tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        return text

    def _cut(self, group: ListGroup) -> tuple[Tokens, list[Tokens]]:
        texts = [self._text(group.query, item) for drawn in group.lists for item in drawn.candidates]
        shared = os.path.commonprefix(texts).rpartition("\n")[0] + "\n"  # noqa: RUF071 # by characters is what is meant
        rests = [token_ids(self._tokenizer, text.removeprefix(shared)) for text in texts]
        return token_ids(self._tokenizer, shared), rests

    def scores(self, logits: torch.Tensor, group: TokenGroup) -> torch.Tensor:
        """A candidate's score is the log-odds of yes over no."""
        return (logits[:, 0] - logits[:, 1]).reshape(len(group.positives), group.size)
