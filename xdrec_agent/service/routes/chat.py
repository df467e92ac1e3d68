"""POST /v1/chat and /v1/dialogues. Reads what a user says, produces the events of the reply; keeps the dialogue."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from time import perf_counter
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from sse_starlette import EventSourceResponse
from starlette.concurrency import run_in_threadpool

from retrieval.errors import UsageError
from retrieval.types import Query as RecommendQuery
from xdrec_agent.converse import Asked, Dialogue, Done, Event, Explained, Ranked, Said, Understood
from xdrec_agent.service.app_state import AnyCaller, AppState, State
from xdrec_agent.service.events import documented_stream, stream
from xdrec_agent.service.problems import documented, not_found
from xdrec_agent.service.schemas import ChatRequest, DialogueList, ShortText
from xdrec_agent.types import Recommendation, Recommendations

router = APIRouter(prefix="/v1", tags=["chat"])

EVENTS = (Understood, Asked, Said, Ranked, Explained, Done)
DialogueId = Annotated[ShortText, Path(examples=["Jx0yO3rN3m0eV1p3vGk2Aw"])]
User = Annotated[ShortText | None, Query(description="Whose; with a key that is bound to a user it is that user.")]


@router.post("/chat", response_class=EventSourceResponse, responses=documented(404, 409) | documented_stream(*EVENTS))
async def chat(request: Request, body: ChatRequest, caller: AnyCaller, state: State) -> EventSourceResponse:
    """Say something; the reply comes as events, and `done` names the dialogue to go on with.

    A second turn of a dialogue waits for the first one; where several wait already it is a 409.
    """
    user = caller.acts_for(body.user)
    id_ = body.dialogue
    if id_ is None:
        id_ = await run_in_threadpool(_new_dialogue, state, body, user)
    return await stream(request, reply_events(state, id_, user, body.text))


@router.get("/dialogues", responses=documented())
def dialogues(caller: AnyCaller, state: State, user: User = None) -> DialogueList:
    """A user's dialogues, the latest first."""
    return DialogueList(dialogues=state.dialogues.list(caller.acts_for(user)))


@router.get("/dialogues/{id_}", response_model=Dialogue, responses=documented(404))
def dialogue(id_: DialogueId, caller: AnyCaller, state: State, user: User = None) -> Response:
    """A dialogue with its turns and its state."""
    found = find_dialogue(state, id_, caller.acts_for(user))
    return Response(found.model_dump_json(), media_type="application/json")


@router.delete("/dialogues/{id_}", status_code=204, responses=documented(404))
def delete(id_: DialogueId, caller: AnyCaller, state: State, user: User = None) -> None:
    """Delete a dialogue, for good."""
    found = find_dialogue(state, id_, caller.acts_for(user))
    state.dialogues.delete(found.id, found.user)


def find_dialogue(state: AppState, id_: str, user: str | None) -> Dialogue:
    """The dialogue with this id, if it is this user's (None: nobody's). Raises NotFound."""
    try:
        return state.dialogues.get(id_, user)
    except UsageError as exc:
        raise not_found("dialogue", id_) from exc


def _new_dialogue(state: AppState, body: ChatRequest, user: str | None) -> str:
    conversation = state.conversation(state.arm(user))
    return conversation.start(sources=body.sources, target=body.target, user=user, language=body.language).id


async def reply_events(state: AppState, id_: str, user: str | None, text: str) -> AsyncGenerator[Event, None]:
    """The events of the reply to a turn; what is recommended in it goes into the log like any other answer.

    It begins when the dialogue's other turns have ended. Closing or cancelling it gives up what the model still works
    on; what was understood by then is kept.

    Raises:
        NotFound: there is no such dialogue of this user (None: nobody's).
        DialogueBusy: others wait for a turn of the dialogue already, or another process has changed it.
        TooManyRequests: too many wait already.
        UsageError, SetupError, BackendError: from the recommender.
    """
    arm = state.arm(user)
    answer: Recommendations | None = None
    explained: list[Recommendation] = []
    async with state.dialogue_locks.turn(id_), state.limiter.slot():
        start = perf_counter()
        dialogue = await run_in_threadpool(find_dialogue, state, id_, user)
        conversation = state.conversation(arm)
        async with aclosing(conversation.reply(dialogue, text)) as events:
            async for event in events:
                if isinstance(event, Ranked):
                    # None: the dialogue was deleted meanwhile, and so must be what was said in it.
                    query = await run_in_threadpool(_last_query, state, dialogue)
                    answer = event.answer
                    if query is not None:
                        answer = await conversation.recommender.logged(query, answer, arm)
                    ranked = perf_counter()
                    yield Ranked(answer=answer)
                    continue
                if isinstance(event, Explained):
                    explained.append(event.item)
                yield event
        if answer is not None:
            answer = answer.completed(explained, perf_counter() - ranked)
            state.metrics.count_answer(answer, arm, perf_counter() - start)
            if query is not None:
                await conversation.recommender.logged(query, answer, arm)


def _last_query(state: AppState, dialogue: Dialogue) -> RecommendQuery | None:
    try:
        return state.dialogues.get(dialogue.id, dialogue.user).query
    except UsageError:
        return None
