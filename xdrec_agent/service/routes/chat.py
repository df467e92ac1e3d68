"""POST /v1/chat and /v1/dialogues. Reads what a person says, produces the events of the reply; keeps the dialogue."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from sse_starlette import EventSourceResponse
from starlette.concurrency import run_in_threadpool

from xdrec_agent.converse import Asked, Dialogue, Done, Explained, Ranked, Said, Understood
from xdrec_agent.service.access import Called
from xdrec_agent.service.app_state import Engine, engine_of
from xdrec_agent.service.chat_turns import dialogue_of, said
from xdrec_agent.service.events import documented_stream, stream
from xdrec_agent.service.problems import documented
from xdrec_agent.service.replies import DialogueList
from xdrec_agent.service.requests import ChatRequest, Name

router = APIRouter(prefix="/v1", tags=["chat"])

EVENTS = (Understood, Asked, Said, Ranked, Explained, Done)
DialogueId = Annotated[Name, Path(examples=["Jx0yO3rN3m0eV1p3vGk2Aw"])]
User = Annotated[Name | None, Query(description="Whose; with a key that is bound to a user it is that user.")]


@router.post("/chat", response_class=EventSourceResponse, responses=documented(404, 409) | documented_stream(*EVENTS))
async def chat(
    request: Request, turn: ChatRequest, caller: Called, engine: Annotated[Engine, Depends(engine_of)]
) -> EventSourceResponse:
    """Say something; the reply comes as events, and `done` names the dialogue to go on with.

    A second turn of a dialogue waits for the first one; where several wait already it is a 409.
    """
    user = caller.acts_for(turn.user)
    id_ = turn.dialogue
    if id_ is None:
        id_ = await run_in_threadpool(_started, engine, turn, user)
    return await stream(request, said(engine, id_, user, turn.text))


@router.get("/dialogues", responses=documented())
def dialogues(caller: Called, engine: Annotated[Engine, Depends(engine_of)], user: User = None) -> DialogueList:
    """A person's dialogues, the latest first."""
    return DialogueList(dialogues=engine.dialogues.list(caller.acts_for(user)))


@router.get("/dialogues/{id_}", response_model=Dialogue, responses=documented(404))
def dialogue(
    id_: DialogueId, caller: Called, engine: Annotated[Engine, Depends(engine_of)], user: User = None
) -> Response:
    """A dialogue with its turns and its state."""
    found = dialogue_of(engine, id_, caller.acts_for(user))
    return Response(found.model_dump_json(), media_type="application/json")


@router.delete("/dialogues/{id_}", status_code=204, responses=documented(404))
def delete(id_: DialogueId, caller: Called, engine: Annotated[Engine, Depends(engine_of)], user: User = None) -> None:
    """Delete a dialogue, for good."""
    found = dialogue_of(engine, id_, caller.acts_for(user))
    engine.dialogues.delete(found.id, found.user)


def _started(engine: Engine, turn: ChatRequest, user: str | None) -> str:
    conversation = engine.conversation(engine.arm(user))
    return conversation.start(sources=turn.sources, target=turn.target, user=user, language=turn.language).id
