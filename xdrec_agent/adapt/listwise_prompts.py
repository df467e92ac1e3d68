"""Lists as tokens. Reads groups of lists, produces the reranker's prompts, cut into what they share and what not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from retrieval.errors import UsageError
from retrieval.templates import PromptTemplate
from xdrec_agent.adapt.token_groups import TokenGroup
from xdrec_agent.adapt.training_lists import ListGroup
from xdrec_agent.models import Tokenizer
from xdrec_agent.rerank import LABELS, RerankContext, list_prompt
from xdrec_agent.settings import RerankSettings

if TYPE_CHECKING:
    import torch

Chat = list[dict[str, str]]


class ListPrompts:
    """The prompts of `listwise-logprob` for one tokenizer and template: a label is to be chosen.

    Args:
        history: most recent liked items shown.

    Raises:
        UsageError: a label is not exactly one token, or there is no chat template.
    """

    def __init__(self, tokenizer: Tokenizer, template: PromptTemplate, history: int) -> None:
        if not tokenizer.chat_template:
            raise UsageError("the model has no chat template", hint="take an instruction-tuned model")
        self._tokenizer = tokenizer
        self.template = template
        self._context = RerankContext(RerankSettings(max_history=history), {"rerank": template}, None)
        self.label_ids = self._label_ids()

    def chats(self, group: ListGroup) -> list[Chat]:
        """The messages of each list, as `LLMClient.label_logprobs` sends them."""
        prompts = (list_prompt(self._context, group.query, drawn.candidates) for drawn in group.lists)
        return [list(map(dict, prompt)) for prompt in prompts]

    def tokens(self, group: ListGroup) -> TokenGroup:
        """The prompts of a group as tokens."""
        found = [self._encode(chat) for chat in self.chats(group)]
        shared = _shared(found)
        return TokenGroup(
            prefix=found[0][:shared],
            rests=tuple(tokens[shared:] for tokens in found),
            positives=tuple(drawn.positives for drawn in group.lists),
            size=len(group.lists[0].candidates),
        )

    def scores(self, logits: torch.Tensor, group: TokenGroup) -> torch.Tensor:
        """A candidate's score is its label's logit."""
        return logits[:, : group.size]

    def _encode(self, chat: Chat) -> tuple[int, ...]:
        begun = chat[-1]["role"] == "assistant"
        text = self._tokenizer.apply_chat_template(
            chat, tokenize=False, continue_final_message=begun, add_generation_prompt=not begun
        )
        return tuple(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def _label_ids(self) -> tuple[int, ...]:
        hello = {"role": "user", "content": "Hello"}
        base = self._encode([hello])
        ids = []
        for label in LABELS:
            tokens = self._encode([hello, {"role": "assistant", "content": label}])
            if tokens[:-1] != base:
                raise UsageError(f"the label {label!r} is not exactly one token here", hint="take another model")
            ids.append(tokens[-1])
        return tuple(ids)


def _shared(prompts: Sequence[tuple[int, ...]]) -> int:
    """How many tokens all prompts begin with; at least one is left to each."""
    shortest = min(map(len, prompts)) - 1
    return next((i for i in range(shortest) if len({p[i] for p in prompts}) > 1), shortest)
