"""POST /v1/chat/completions and GET /v1/models. Reads what OpenAI's clients send, produces what they expect.

Any chat client can talk to the recommender as if it were a model. What it says is plain text.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel
from sse_starlette import ServerSentEvent

from retrieval.errors import XDRecError
from retrieval.types import Frozen
from xdrec_agent.converse import Dialogue, Explained, Ranked
from xdrec_agent.llm import Usage
from xdrec_agent.service.access import Called
from xdrec_agent.service.app_state import Engine, engine_of
from xdrec_agent.service.chat_turns import said
from xdrec_agent.service.events import respond, unless_gone
from xdrec_agent.service.openai_sessions import Threads
from xdrec_agent.service.problems import documented, no_such, note, problem_of
from xdrec_agent.service.requests import ChatMessage, CompletionRequest
from xdrec_agent.service.text_stream import spoken

router = APIRouter(prefix="/v1", tags=["openai"])

MODEL: Final = "xdrec"
_MOST_SAID: Final = 2000


class Model(Frozen):
    """The recommender, as a model."""

    id: str = MODEL
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "xdrec"


class Models(Frozen):
    """The one model that there is."""

    object: Literal["list"] = "list"
    data: tuple[Model, ...] = (Model(),)


class Spent(Frozen):
    """Tokens to and from the language model that is asked behind the scenes."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


class Delta(Frozen):
    """A piece of a message."""

    role: Literal["assistant"] | None = None
    content: str | None = None


class ChunkChoice(Frozen):
    """The only choice of a chunk."""

    index: int = 0
    delta: Delta
    finish_reason: Literal["stop"] | None = None


class Chunk(Frozen):
    """A piece of a streamed completion."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str = MODEL
    choices: tuple[ChunkChoice, ...]
    usage: Spent | None = None


class Message(Frozen):
    """What the recommender says."""

    role: Literal["assistant"] = "assistant"
    content: str


class Choice(Frozen):
    """The only choice of a completion."""

    index: int = 0
    message: Message
    finish_reason: Literal["stop"] = "stop"


class Completion(Frozen):
    """A whole completion."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str = MODEL
    choices: tuple[Choice, ...]
    usage: Spent = Spent()


@router.get("/models", responses=documented())
async def models(_caller: Called) -> Models:
    """The recommender as a model, so that clients find it."""
    return Models()


@router.post("/chat/completions", response_model=Completion, responses=documented(404, 409))
async def completions(
    request: Request, ask: CompletionRequest, caller: Called, engine: Annotated[Engine, Depends(engine_of)]
) -> Response:
    """Talk to the recommender as to a model; with `stream` the reply comes as server-sent chunks."""
    if ask.model != MODEL:
        raise no_such("model", ask.model)
    user = caller.acts_for(ask.user)
    before, text = _last(ask.messages)
    threads = _threads(request, engine)
    dialogue = await unless_gone(request, threads.find(before, user))
    turn = _Turn(threads, ask.messages, dialogue, text)
    pieces = turn.pieces(engine)
    first = await unless_gone(request, anext(pieces, ""))
    if ask.stream:
        usage = ask.stream_options is not None and ask.stream_options.include_usage
        return respond(request, _chunks(turn, first, pieces, usage=usage))
    rest = await unless_gone(request, _rest(pieces))
    reply = Completion(
        id=turn.id, created=turn.created, choices=(Choice(message=Message(content=first + rest)),), usage=turn.spent()
    )
    return Response(reply.model_dump_json(), media_type="application/json")


class _Turn:
    """A reply while it is being made."""

    def __init__(self, threads: Threads, messages: Sequence[ChatMessage], dialogue: Dialogue, text: str) -> None:
        self.id = f"chatcmpl-{secrets.token_hex(12)}"
        self.created = int(time.time())
        self._threads, self._messages, self._dialogue, self._text = threads, messages, dialogue, text
        self._usage = Usage()

    async def pieces(self, engine: Engine) -> AsyncGenerator[str, None]:
        """The reply's text, piece by piece; at the end the conversation is known by it."""
        whole = ""
        async with aclosing(said(engine, self._dialogue.id, self._dialogue.user, self._text)) as events:
            async for event in events:
                if isinstance(event, Ranked):
                    self._usage = sum(event.answer.usage.values(), self._usage)
                elif isinstance(event, Explained) and event.item.explanation:
                    self._usage += event.item.explanation.usage
                if piece := spoken(event):
                    whole += piece
                    yield piece
        self._threads.remember(self._messages, whole, self._dialogue)

    def spent(self) -> Spent:
        """What the reply has cost so far."""
        asked, written = self._usage.prompt_tokens, self._usage.completion_tokens
        return Spent(prompt_tokens=asked, completion_tokens=written, total_tokens=asked + written)


async def _rest(pieces: AsyncGenerator[str, None]) -> str:
    return "".join([piece async for piece in pieces])


async def _chunks(
    turn: _Turn, first: str, pieces: AsyncGenerator[str, None], *, usage: bool
) -> AsyncGenerator[ServerSentEvent, None]:
    def chunk(delta: Delta, finish: Literal["stop"] | None = None) -> ServerSentEvent:
        choice = ChunkChoice(delta=delta, finish_reason=finish)
        return _data(Chunk(id=turn.id, created=turn.created, choices=(choice,)))

    async with aclosing(pieces):
        yield chunk(Delta(role="assistant", content=first))
        try:
            async for piece in pieces:
                yield chunk(Delta(content=piece))
        except XDRecError as exc:
            note(exc)
            yield _data(_Failed(error=_Failure(message=str(exc), type=problem_of(exc).type)))
            return
        yield chunk(Delta(), "stop")
        if usage:
            yield _data(Chunk(id=turn.id, created=turn.created, choices=(), usage=turn.spent()))
        yield ServerSentEvent("[DONE]", sep="\n")


class _Failure(Frozen):
    message: str
    type: str


class _Failed(Frozen):
    """How OpenAI's clients are told that a stream has failed."""

    error: _Failure


def _data(body: BaseModel) -> ServerSentEvent:
    return ServerSentEvent(body.model_dump_json(exclude_none=True), sep="\n")


def _last(messages: Sequence[ChatMessage]) -> tuple[Sequence[ChatMessage], str]:
    """What was said before, and the text of the last message, which is the person's."""
    last = messages[-1]
    if last.role != "user" or not last.text.strip():
        raise _NothingSaid("the last message is not what a person says", hint="end with a message of role user")
    if len(last.text) > _MOST_SAID:
        raise _NothingSaid(f"the last message is longer than {_MOST_SAID} characters", hint="say it in fewer words")
    return messages[:-1], last.text


class _NothingSaid(XDRecError):
    """The messages hold no turn to reply to."""

    http_status = 422


def _threads(request: Request, engine: Engine) -> Threads:
    """The conversations of this application."""
    if not hasattr(request.app.state, "threads"):
        request.app.state.threads = Threads(engine)
    threads: Threads = request.app.state.threads
    return threads
