"""One turn of a conversation, from text to kept answer. Reads a dialogue's id and what is said, produces events."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from time import perf_counter

from starlette.concurrency import run_in_threadpool

from retrieval.errors import UsageError
from retrieval.types import Query
from xdrec_agent.converse import Dialogue, Event, Explained, Ranked
from xdrec_agent.service.answers import keep
from xdrec_agent.service.app_state import Engine
from xdrec_agent.service.problems import no_such
from xdrec_agent.types import Recommendation, Recommendations


def dialogue_of(engine: Engine, id_: str, user: str | None) -> Dialogue:
    """The dialogue with this id, if it is this user's (None: nobody's). Raises NotHere."""
    try:
        return engine.dialogues.get(id_, user)
    except UsageError as exc:
        raise no_such("dialogue", id_) from exc


async def said(engine: Engine, id_: str, user: str | None, text: str) -> AsyncGenerator[Event, None]:
    """The events of the reply; what is recommended in it goes into the log like any other answer.

    It begins when the dialogue's other turns have ended. Closing or cancelling it gives up what the model still works
    on; what was understood by then is kept.

    Raises:
        NotHere: there is no such dialogue of this user (None: nobody's).
        DialogueBusy: others wait for a turn of the dialogue already, or another process has changed it.
        TooMuch: too many wait already.
        UsageError, SetupError, BackendError: from the recommender.
    """
    arm = engine.arm(user)
    shown: Recommendations | None = None
    items: list[Recommendation] = []
    async with engine.turns.of(id_), engine.gate.turn():
        began = perf_counter()
        dialogue = await run_in_threadpool(dialogue_of, engine, id_, user)
        async with aclosing(engine.conversation(arm).reply(dialogue, text)) as events:
            async for event in events:
                if isinstance(event, Ranked):
                    query = await run_in_threadpool(_asked, engine, dialogue)
                    shown = await keep(engine, query, event.answer, arm) if query else event.answer
                    engine.metrics.ranked(shown, arm)
                    ranked = perf_counter()
                    yield Ranked(answer=shown)
                    continue
                if isinstance(event, Explained):
                    engine.metrics.explained(event.item)
                    items.append(event.item)
                yield event
        if shown is not None:
            whole = shown.completed(items, perf_counter() - ranked)
            engine.metrics.finished(whole, perf_counter() - began)
            if whole.id:
                await run_in_threadpool(engine.answers.update, whole.id, whole)


def _asked(engine: Engine, dialogue: Dialogue) -> Query | None:
    """The query of the last ranking; None if the dialogue was deleted meanwhile."""
    try:
        return engine.dialogues.get(dialogue.id, dialogue.user).query
    except UsageError:
        return None
