"""Conversations of clients that send the whole history every time. Reads messages, produces the dialogue they go on.

OpenAI's protocol has no dialogue id: what was said before is all there is to know a conversation by. Its hash leads to
the dialogue in this process, once: a client that goes back and says something else, or asks for another reply, has left
a dialogue that went on. There, and where the hash is not known any more, what the person said is read again.
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
from xdrec_agent.service.app_state import Engine
from xdrec_agent.service.chat_turns import dialogue_of
from xdrec_agent.service.problems import NotHere
from xdrec_agent.service.requests import ChatMessage

_KEPT: Final = 4096
_REPLAYED: Final = 20
"""Turns that are read again, the latest."""


class Threads:
    """The dialogues that were gone on with lately."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known: OrderedDict[str, str] = OrderedDict()

    async def find(self, messages: Sequence[ChatMessage], user: str | None) -> Dialogue:
        """The dialogue in which these messages were said; a new one if there are none. Raises StoreError."""
        mark = _mark(messages, user)
        id_ = self._known.pop(mark, None)
        if id_ is not None:
            try:
                return await run_in_threadpool(dialogue_of, self._engine, id_, user)
            except NotHere:  # deleted by its owner: what it held must not come back, whenever it is asked for
                self._known[mark] = id_
                return await self._start(user)
        dialogue = await self._start(user)
        for message in [m for m in messages if m.role == "user" and m.text.strip()][-_REPLAYED:]:
            dialogue = await self._replayed(dialogue, message.text)
        return dialogue

    def remember(self, messages: Sequence[ChatMessage], reply: str, dialogue: Dialogue) -> None:
        """Know the dialogue by these messages and the reply to them."""
        answered = [*messages, ChatMessage(role="assistant", content=reply)]
        self._known[_mark(answered, dialogue.user)] = dialogue.id
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)

    async def _start(self, user: str | None) -> Dialogue:
        conversation = self._engine.conversation(self._engine.arm(user))
        return await run_in_threadpool(conversation.start, user=user)

    async def _replayed(self, dialogue: Dialogue, text: str) -> Dialogue:
        """The dialogue after a turn whose reasons nobody needs again."""
        conversation = self._engine.conversation(self._engine.arm(dialogue.user))
        async with self._engine.gate.turn(), aclosing(conversation.reply(dialogue, text)) as events:
            async for event in events:
                if isinstance(event, Ranked):
                    break
        return await run_in_threadpool(dialogue_of, self._engine, dialogue.id, dialogue.user)


def _mark(messages: Sequence[ChatMessage], user: str | None) -> str:
    spoken = [(m.role, m.text.strip()) for m in messages if m.role in {"user", "assistant"}]
    return hashlib.sha256(json.dumps([user, spoken]).encode()).hexdigest()
