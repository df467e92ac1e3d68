"""Candidates as tokens, each alone. Reads groups of lists, produces the prompts of `pointwise-logprob`."""

from __future__ import annotations

import os.path
from typing import TYPE_CHECKING

from retrieval.errors import UsageError
from retrieval.templates import PromptTemplate
from retrieval.types import Item, Query
from xdrec_agent.adapt.token_groups import TokenGroup
from xdrec_agent.adapt.training_lists import ListGroup
from xdrec_agent.llm import NO, YES
from xdrec_agent.models import Tokenizer
from xdrec_agent.rerank import RerankContext, single_prompt
from xdrec_agent.settings import RerankSettings

if TYPE_CHECKING:
    import torch


class JudgePrompts:
    """The prompts that ask of one candidate whether it fits, to be answered with yes or no.

    They are cut where the reranker cuts them for vLLM's `/generative_scoring`, at the beginning of the line in which
    the candidates differ, and either part is made tokens of by itself, as there.

    Args:
        history: most recent liked items shown.

    Raises:
        UsageError: yes or no is not exactly one token, or there is no chat template.
    """

    def __init__(self, tokenizer: Tokenizer, template: PromptTemplate, history: int) -> None:
        if not tokenizer.chat_template:
            raise UsageError("the model has no chat template", hint="take an instruction-tuned model")
        self._tokenizer = tokenizer
        self.template = template
        self._context = RerankContext(RerankSettings(max_history=history), {"judge": template}, None)
        self.label_ids = (self._only_token(YES), self._only_token(NO))

    def text(self, query: Query, item: Item) -> str:
        """The whole prompt about a candidate, up to where the answer begins."""
        chat = [dict(message) for message in single_prompt(self._context, query, item)]
        return self._tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)

    def tokens(self, group: ListGroup) -> TokenGroup:
        """The prompts of a group: one for each candidate of each list."""
        texts = [self.text(group.query, item) for drawn in group.lists for item in drawn.candidates]
        shared = os.path.commonprefix(texts).rpartition("\n")[0] + "\n"  # noqa: RUF071 # by characters is what is meant
        return TokenGroup(
            prefix=self._ids(shared),
            rests=tuple(self._ids(text.removeprefix(shared)) for text in texts),
            positives=tuple(drawn.positives for drawn in group.lists),
            size=len(group.lists[0].candidates),
        )

    def scores(self, logits: torch.Tensor, group: TokenGroup) -> torch.Tensor:
        """A candidate's score is the log-odds of yes over no."""
        return (logits[:, 0] - logits[:, 1]).reshape(len(group.positives), group.size)

    def _ids(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def _only_token(self, label: str) -> int:
        ids = self._ids(label)
        if len(ids) != 1:
            raise UsageError(f"{label!r} is not exactly one token here", hint="take another model")
        return ids[0]
