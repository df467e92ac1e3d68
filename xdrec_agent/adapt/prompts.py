"""Training prompts. Reads groups of lists, produces the reranker's own prompts as tokens, byte for byte.

All prompts of a group begin alike: the shared prefix is kept apart, so that it is computed once.
"""

from __future__ import annotations

import os.path
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from retrieval.errors import UsageError
from retrieval.templates import PromptTemplate
from retrieval.types import Item, Query
from xdrec_agent.adapt.training_lists import ListGroup
from xdrec_agent.llm import NO, YES
from xdrec_agent.models import AdapterKind, AdapterManifest, BaseModelId, Tokenizer, read_adapter_manifest
from xdrec_agent.rerank import LABELS, RerankContext, list_prompt, single_prompt
from xdrec_agent.settings import RerankSettings

if TYPE_CHECKING:
    import torch

ANSWER_LABELS: Final[Mapping[AdapterKind, str]] = {"list": "".join(LABELS), "judge": f"{YES}/{NO}"}
"""The tokens that an answer can begin with, by the kind of adapter; none for other kinds."""

Chat = list[dict[str, str]]


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

    prefix: tuple[int, ...]
    rests: tuple[tuple[int, ...], ...]
    positives: tuple[tuple[int, ...], ...]
    size: int

    @property
    def tokens(self) -> int:
        """Tokens of all prompts, as if each were computed alone."""
        return len(self.prefix) * len(self.rests) + sum(map(len, self.rests))


class TrainingPrompts(Protocol):
    """The prompts of one of the reranker's judges, for one tokenizer and template."""

    @property
    def template(self) -> PromptTemplate:
        """What they are rendered from."""
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


class ListwisePrompts:
    """The prompts of `listwise-logprob`: the model chooses a candidate by its label.

    Args:
        history: liked items shown, the most recent ones.

    Raises:
        UsageError: a label is not exactly one token, or there is no chat template.
    """

    def __init__(self, tokenizer: Tokenizer, template: PromptTemplate, history: int) -> None:
        self.template = template
        self._tokenizer = _with_chat_template(tokenizer)
        self._context = RerankContext(RerankSettings(max_history=history), {"rerank": template}, None)
        self.label_ids = self._label_ids()

    def chats(self, group: ListGroup) -> list[Chat]:
        """The messages of each list, as `LLMClient.label_logprobs` sends them."""
        prompts = (list_prompt(self._context, group.query, drawn.candidates) for drawn in group.lists)
        return [list(map(dict, prompt)) for prompt in prompts]

    def tokens(self, group: ListGroup) -> TokenGroup:
        """The prompts of a group: one for each list."""
        prompts = [self._encode(chat) for chat in self.chats(group)]
        shortest = min(map(len, prompts)) - 1  # at least one token is left to each
        shared = next((i for i in range(shortest) if len({prompt[i] for prompt in prompts}) > 1), shortest)
        return _token_group(group, prompts[0][:shared], [prompt[shared:] for prompt in prompts])

    def scores(self, logits: torch.Tensor, group: TokenGroup) -> torch.Tensor:
        """A candidate's score is its label's logit."""
        return logits[:, : group.size]

    def _encode(self, chat: Chat) -> tuple[int, ...]:
        begun = chat[-1]["role"] == "assistant"
        text = self._tokenizer.apply_chat_template(
            chat, tokenize=False, continue_final_message=begun, add_generation_prompt=not begun
        )
        return _ids(self._tokenizer, text)

    def _label_ids(self) -> tuple[int, ...]:
        question = {"role": "user", "content": "Hello"}
        prompt = self._encode([question])
        label_ids = []
        for label in LABELS:
            answered = self._encode([question, {"role": "assistant", "content": label}])
            if answered[:-1] != prompt:
                raise UsageError(f"the label {label!r} is not exactly one token here", hint="take another model")
            label_ids.append(answered[-1])
        return tuple(label_ids)


class PointwisePrompts:
    """The prompts of `pointwise-logprob`: the model answers yes or no about one candidate.

    They are cut where the reranker cuts them for vLLM's `/generative_scoring`, at the beginning of the line in which
    the candidates differ, and both parts are tokenized separately, as there. Args and Raises as `ListwisePrompts`.
    """

    def __init__(self, tokenizer: Tokenizer, template: PromptTemplate, history: int) -> None:
        self.template = template
        self._tokenizer = _with_chat_template(tokenizer)
        self._context = RerankContext(RerankSettings(max_history=history), {"judge": template}, None)
        self.label_ids = (self._label_id(YES), self._label_id(NO))

    def text(self, query: Query, item: Item) -> str:
        """The whole prompt about a candidate, up to where the answer begins."""
        chat = [dict(message) for message in single_prompt(self._context, query, item)]
        return self._tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)

    def tokens(self, group: ListGroup) -> TokenGroup:
        """The prompts of a group: one for each candidate of each list."""
        texts = [self.text(group.query, item) for drawn in group.lists for item in drawn.candidates]
        shared = os.path.commonprefix(texts).rpartition("\n")[0] + "\n"  # noqa: RUF071 # by characters is what is meant
        rests = [_ids(self._tokenizer, text.removeprefix(shared)) for text in texts]
        return _token_group(group, _ids(self._tokenizer, shared), rests)

    def scores(self, logits: torch.Tensor, group: TokenGroup) -> torch.Tensor:
        """A candidate's score is the log-odds of yes over no."""
        return (logits[:, 0] - logits[:, 1]).reshape(len(group.positives), group.size)

    def _label_id(self, label: str) -> int:
        ids = _ids(self._tokenizer, label)
        if len(ids) != 1:
            raise UsageError(f"{label!r} is not exactly one token here", hint="take another model")
        return ids[0]


def _with_chat_template(tokenizer: Tokenizer) -> Tokenizer:
    if not tokenizer.chat_template:
        raise UsageError("the model has no chat template", hint="take an instruction-tuned model")
    return tokenizer


def _ids(tokenizer: Tokenizer, text: str) -> tuple[int, ...]:
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


def _token_group(group: ListGroup, prefix: tuple[int, ...], rests: Sequence[tuple[int, ...]]) -> TokenGroup:
    positives = tuple(drawn.positives for drawn in group.lists)
    return TokenGroup(prefix, tuple(rests), positives, len(group.lists[0].candidates))
