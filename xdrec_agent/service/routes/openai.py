"""POST /v1/chat/completions and GET /v1/models. Reads what OpenAI's clients send, produces what they expect.

Any chat client can talk to the recommender as if it were a model. What it says is plain text.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final, Literal

from fastapi import APIRouter, Request, Response
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessage
from openai.types.chat.chat_completion import Choice
from openai.types.chat.chat_completion_chunk import Choice as ChunkChoice
from openai.types.chat.chat_completion_chunk import ChoiceDelta
from pydantic import BaseModel
from sse_starlette import ServerSentEvent

from retrieval.errors import XDRecError
from retrieval.templates import visible
from retrieval.titles import label
from retrieval.types import Frozen, Item
from xdrec_agent.converse import Asked, Dialogue, Event, Explained, Ranked, Said
from xdrec_agent.llm import Usage
from xdrec_agent.service.app_state import AnyCaller, AppState, State
from xdrec_agent.service.events import respond, unless_gone
from xdrec_agent.service.problems import documented, log_error, not_found, problem_of
from xdrec_agent.service.routes.chat import reply_events
from xdrec_agent.service.routes.openai_sessions import OpenAISessions
from xdrec_agent.service.schemas import ChatMessage, CompletionRequest

router = APIRouter(prefix="/v1", tags=["openai"])

MODEL: Final = "xdrec"
_MOST_TEXT: Final = 2000


class Model(Frozen):
    """The recommender, as a model."""

    id: str = MODEL
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "xdrec"


class ModelList(Frozen):
    """The one model that there is."""

    object: Literal["list"] = "list"
    data: tuple[Model, ...] = (Model(),)


@router.get("/models", responses=documented())
async def models(_caller: AnyCaller) -> ModelList:
    """The recommender as a model, so that clients find it."""
    return ModelList()


@router.post("/chat/completions", response_model=ChatCompletion, responses=documented(404, 409))
async def completions(request: Request, body: CompletionRequest, caller: AnyCaller, state: State) -> Response:
    """Talk to the recommender as to a model; with `stream` the reply comes as server-sent chunks."""
    if body.model != MODEL:
        raise not_found("model", body.model)
    user = caller.acts_for(body.user)
    text = _last_text(body.messages)
    sessions = _sessions(request, state)
    dialogue = await unless_gone(request, sessions.find(body.messages[:-1], user))
    completion = _Completion(sessions, body.messages, dialogue, text)
    pieces = completion.pieces(state)
    first = await unless_gone(request, anext(pieces, ""))
    if body.stream:
        usage = body.stream_options is not None and body.stream_options.include_usage
        return respond(request, _chunks(completion, first, pieces, usage=usage))
    rest = await unless_gone(request, _joined(pieces))
    message = ChatCompletionMessage(role="assistant", content=first + rest)
    reply = ChatCompletion(
        id=completion.id,
        object="chat.completion",
        created=completion.created,
        model=MODEL,
        choices=[Choice(index=0, message=message, finish_reason="stop")],
        usage=completion.usage(),
    )
    return Response(reply.model_dump_json(exclude_none=True), media_type="application/json")


class _Completion:
    """A reply while it is being made."""

    def __init__(
        self, sessions: OpenAISessions, messages: Sequence[ChatMessage], dialogue: Dialogue, text: str
    ) -> None:
        self.id = f"chatcmpl-{secrets.token_hex(12)}"
        self.created = int(time.time())
        self._sessions, self._messages, self._dialogue, self._text = sessions, messages, dialogue, text
        self._usage = Usage()

    async def pieces(self, state: AppState) -> AsyncGenerator[str, None]:
        """The reply's text, piece by piece; at the end it becomes part of the conversation's key."""
        reply = ""
        async with aclosing(reply_events(state, self._dialogue.id, self._dialogue.user, self._text)) as events:
            async for event in events:
                if isinstance(event, Ranked):
                    self._usage = sum(event.answer.usage.values(), self._usage)
                elif isinstance(event, Explained) and event.item.explanation:
                    self._usage += event.item.explanation.usage
                if piece := text_of(event):
                    reply += piece
                    yield piece
        self._sessions.remember(self._messages, reply, self._dialogue)

    def usage(self) -> CompletionUsage:
        """Tokens to and from the language model that is asked behind the scenes, so far."""
        prompt, written = self._usage.prompt_tokens, self._usage.completion_tokens
        return CompletionUsage(prompt_tokens=prompt, completion_tokens=written, total_tokens=prompt + written)


async def _joined(pieces: AsyncGenerator[str, None]) -> str:
    return "".join([piece async for piece in pieces])


async def _chunks(
    completion: _Completion, first: str, pieces: AsyncGenerator[str, None], *, usage: bool
) -> AsyncGenerator[ServerSentEvent, None]:
    def chunk(*choices: ChunkChoice, usage: CompletionUsage | None = None) -> ServerSentEvent:
        return _data(
            ChatCompletionChunk(
                id=completion.id,
                object="chat.completion.chunk",
                created=completion.created,
                model=MODEL,
                choices=list(choices),
                usage=usage,
            )
        )

    async with aclosing(pieces):
        yield chunk(ChunkChoice(index=0, delta=ChoiceDelta(role="assistant", content=first)))
        try:
            async for piece in pieces:
                yield chunk(ChunkChoice(index=0, delta=ChoiceDelta(content=piece)))
        except XDRecError as exc:
            log_error(exc)
            yield _data(_StreamError(error=_ErrorBody(message=str(exc), type=problem_of(exc).type)))
            return
        yield chunk(ChunkChoice(index=0, delta=ChoiceDelta(), finish_reason="stop"))
        if usage:
            yield chunk(usage=completion.usage())
        yield ServerSentEvent("[DONE]", sep="\n")


class _ErrorBody(Frozen):
    message: str
    type: str


class _StreamError(Frozen):
    """How OpenAI's clients are told that a stream has failed."""

    error: _ErrorBody


def _data(body: BaseModel) -> ServerSentEvent:
    return ServerSentEvent(body.model_dump_json(exclude_none=True), sep="\n")


def text_of(event: Event) -> str:
    """What an event of a conversation adds to the plain text of a reply; empty for events that say nothing."""
    if isinstance(event, Said):
        return f"{event.text}\n"
    if isinstance(event, Asked):
        return "".join(f"{line}\n" for line in (event.text, *(f"- {option}" for option in event.options)))
    if isinstance(event, Ranked):
        lines = [f"{one.rank}. {_title(one.item)}\n" for one in event.answer.items]
        degraded = f"({visible(event.answer.reason or '')})\n" if event.answer.degraded else ""
        return "".join(lines) + degraded + ("\n" if lines else "")
    if isinstance(event, Explained) and event.item.explanation:
        return f"{event.item.rank}. {visible(event.item.explanation.text)}\n"
    return ""


def _title(item: Item) -> str:
    by = f" — {visible(', '.join(item.creators))}" if item.creators else ""
    return visible(label(item)) + by


class _NoTurn(XDRecError):
    """The messages hold no turn to reply to."""

    http_status = 422


def _last_text(messages: Sequence[ChatMessage]) -> str:
    """The text of the last message, which is the user's."""
    last = messages[-1]
    if last.role != "user" or not last.text.strip():
        raise _NoTurn("the last message is not what a user says", hint="end with a message of role user")
    if len(last.text) > _MOST_TEXT:
        raise _NoTurn(f"the last message is longer than {_MOST_TEXT} characters", hint="say it in fewer words")
    return last.text


def _sessions(request: Request, state: AppState) -> OpenAISessions:
    """The sessions of this application."""
    if not hasattr(request.app.state, "openai_sessions"):
        request.app.state.openai_sessions = OpenAISessions(state)
    sessions: OpenAISessions = request.app.state.openai_sessions
    return sessions
