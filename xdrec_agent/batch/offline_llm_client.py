"""A model that answers between the rounds of a batch. Reads the replies so far, produces what is still to be asked.

Ray's vLLM stage takes rows of prompts and gives rows of replies, while reranking and explaining ask one thing after the
other. So the work is done in rounds: each goes as far as the replies at hand allow and leaves what it would ask next,
the stage answers that, and the next round starts anew. Replies are few and the rest costs milliseconds.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Final

from pydantic import BaseModel, Field

from retrieval.types import Frozen
from xdrec_agent.errors import LLMRefused, LLMReplyInvalid
from xdrec_agent.llm import Capabilities, Endpoint, LLMClient, Messages, Origin, Reply, Usage
from xdrec_agent.settings import LLMSettings

_CAN: Final = Capabilities(exact_label_logprobs=True, structured_output=True)


class OfflineRequest(Frozen):
    """A request to the stage: the log-probabilities of `labels` as the answer's first token, or else a text.

    Attributes:
        messages: role and content of each.
        form: JSON schema of the text, as JSON; None: any text.
    """

    messages: tuple[tuple[str, str], ...]
    labels: tuple[str, ...] = ()
    max_tokens: int = 1
    form: str | None = None

    @property
    def key(self) -> str:
        """What its reply is kept under."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


class OfflineReply(Frozen):
    """What the stage gave for a request. `complete` is False if the text was cut off at `max_tokens`."""

    text: str = ""
    logprobs: dict[str, float] = Field(default_factory=dict)
    complete: bool = True
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def usage(self) -> Usage:
        """Its cost."""
        return Usage(requests=1, prompt_tokens=self.prompt_tokens, completion_tokens=self.completion_tokens)


class OfflineLLMClient(LLMClient):
    """Answers with `replies` (by key); what they lack is in `pending` (by key) afterwards.

    Args:
        final: whether there is no further round, so that what is lacking is a failure. Else it is answered
            provisionally: all labels equally likely, and no text; nothing that is made of that may be used.
    """

    def __init__(self, model: str, replies: Mapping[str, OfflineReply], *, final: bool) -> None:
        endpoint = Endpoint(base_url="vLLM on the cluster", model=model, managed=False)
        super().__init__(endpoint, LLMSettings(model=model))
        self._replies = replies
        self._final = final
        self.pending: dict[str, OfflineRequest] = {}

    async def capabilities(self) -> Capabilities:
        """What the stage can do."""
        return _CAN

    async def label_logprobs(
        self, messages: Messages, labels: Sequence[str], *, origin: Origin | None = None
    ) -> tuple[dict[str, float], Usage]:
        """As `LLMClient.label_logprobs`. Raises LLMReplyInvalid: there is no reply, or it lacks a label."""
        reply = self._reply_to(OfflineRequest(messages=_pairs(messages), labels=tuple(labels)))
        if reply is None:
            if self._final:
                raise LLMReplyInvalid(f"{self.endpoint.model} gave no log-probabilities")
            return dict.fromkeys(labels, -math.log(len(labels))), Usage()
        if missing := [label for label in labels if label not in reply.logprobs]:
            raise LLMReplyInvalid(f"the reply lacks the log-probability of {', '.join(missing)}")
        return {label: reply.logprobs[label] for label in labels}, reply.usage

    async def chat(
        self,
        messages: Messages,
        *,
        max_tokens: int,
        temperature: float = 0.0,
        seed: int | None = None,
        json_schema: type[BaseModel] | None = None,
        origin: Origin | None = None,
    ) -> Reply:
        """As `LLMClient.chat`, always at temperature 0.

        Raises:
            LLMRefused: it was not asked yet, so that there is no use in asking otherwise.
            LLMReplyInvalid: it was asked, and failed.
        """
        form = json.dumps(json_schema.model_json_schema(), sort_keys=True) if json_schema else None
        reply = self._reply_to(OfflineRequest(messages=_pairs(messages), max_tokens=max_tokens, form=form))
        if reply is None:
            if self._final:
                raise LLMReplyInvalid(f"{self.endpoint.model} gave no answer")
            raise LLMRefused("asked in the next round")
        return Reply(text=reply.text, usage=reply.usage, complete=reply.complete)

    def _reply_to(self, request: OfflineRequest) -> OfflineReply | None:
        if request.key not in self._replies:
            self.pending[request.key] = request
        return self._replies.get(request.key)


def _pairs(messages: Messages) -> tuple[tuple[str, str], ...]:
    return tuple((message["role"], message["content"]) for message in messages)
