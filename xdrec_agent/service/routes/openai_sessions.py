"""OpenAI sessions. Reads the messages of a client, which hold the whole history, produces the dialogue that goes on.

OpenAI's protocol has no dialogue id: only the earlier messages identify a conversation. Their hash leads to the
dialogue in this process, once: a client that goes back and says something else, or asks for another reply, has left a
dialogue that went on. In that case, and where the hash is not known any more, the user's messages are read again.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import aclosing
from typing import Final

from starlette.concurrency import run_in_threadpool

from xdrec_agent.converse import Dialogue, Ranked
from xdrec_agent.service.app_state import AppState
from xdrec_agent.service.problems import NotFound
from xdrec_agent.service.routes.chat import find_dialogue
from xdrec_agent.service.schemas import ChatMessage

_KEPT: Final = 4096
_REPLAYED: Final = 20
"""Turns that are read again, the latest."""


class OpenAISessions:
    """The dialogues of the latest requests, by a hash of their messages."""

    def __init__(self, state: AppState) -> None:
        self._state = state
        self._known: OrderedDict[str, str] = OrderedDict()

    async def find(self, messages: Sequence[ChatMessage], user: str | None) -> Dialogue:
        """The dialogue in which these messages were said; a new one if there are none. Raises StoreError."""
        key = _hash(messages, user)
        id_ = self._known.pop(key, None)
        if id_ is not None:
            try:
                return await run_in_threadpool(find_dialogue, self._state, id_, user)
            except NotFound:  # deleted by its owner: what it held must not come back, whenever it is asked for
                self._known[key] = id_
                return await self._start(user)
        dialogue = await self._start(user)
        for message in [m for m in messages if m.role == "user" and m.text.strip()][-_REPLAYED:]:
            dialogue = await self._replayed(dialogue, message.text)
        return dialogue

    def remember(self, messages: Sequence[ChatMessage], reply: str, dialogue: Dialogue) -> None:
        """Know the dialogue by these messages and the reply to them."""
        answered = [*messages, ChatMessage(role="assistant", content=reply)]
        self._known[_hash(answered, dialogue.user)] = dialogue.id
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)

    async def _start(self, user: str | None) -> Dialogue:
        conversation = self._state.conversation(self._state.arm(user))
        return await run_in_threadpool(conversation.start, user=user)

    async def _replayed(self, dialogue: Dialogue, text: str) -> Dialogue:
        """The dialogue after a turn whose reasons nobody needs again."""
        conversation = self._state.conversation(self._state.arm(dialogue.user))
        async with self._state.limiter.slot(), aclosing(conversation.reply(dialogue, text)) as events:
            async for event in events:
                if isinstance(event, Ranked):
                    break
        return await run_in_threadpool(find_dialogue, self._state, dialogue.id, dialogue.user)


def _hash(messages: Sequence[ChatMessage], user: str | None) -> str:
    turns = [(m.role, m.text.strip()) for m in messages if m.role in {"user", "assistant"}]
    return hashlib.sha256(json.dumps([user, turns]).encode()).hexdigest()
