"""POST /v1/recommend and /v1/recommend/stream. Reads a question, produces recommendations with reasons."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from sse_starlette import EventSourceResponse

from xdrec_agent.service.access import Called
from xdrec_agent.service.answers import answered, whole
from xdrec_agent.service.app_state import Engine, engine_of
from xdrec_agent.service.events import Typed, documented_stream, stream, unless_gone
from xdrec_agent.service.problems import documented
from xdrec_agent.service.replies import DoneEvent, ExplanationEvent, RankingEvent
from xdrec_agent.service.requests import RecommendRequest
from xdrec_agent.types import Recommendation, Recommendations

router = APIRouter(prefix="/v1/recommend", tags=["recommend"])


@router.post("", response_model=Recommendations, responses=documented(404, 409))
async def recommend(
    request: Request, ask: RecommendRequest, caller: Called, engine: Annotated[Engine, Depends(engine_of)]
) -> Response:
    """Recommend; the answer comes as a whole, with its reasons unless they are not wanted."""
    answer = await unless_gone(request, whole(engine, ask, caller.acts_for(ask.user)))
    return Response(answer.model_dump_json(), media_type="application/json", headers={"server-timing": _timing(answer)})


@router.post(
    "/stream",
    response_class=EventSourceResponse,
    responses=documented(404, 409) | documented_stream(RankingEvent, ExplanationEvent, DoneEvent),
)
async def recommend_stream(
    request: Request, ask: RecommendRequest, caller: Called, engine: Annotated[Engine, Depends(engine_of)]
) -> EventSourceResponse:
    """Recommend; the ranking comes at once, each reason when it is written, then `done`."""
    return await stream(request, _events(engine, ask, caller.acts_for(ask.user)))


async def _events(engine: Engine, ask: RecommendRequest, user: str | None) -> AsyncGenerator[Typed, None]:
    ranked = False
    async with aclosing(answered(engine, ask, user)) as pieces:
        async for piece in pieces:
            if isinstance(piece, Recommendation):
                if piece.explanation:
                    yield ExplanationEvent(rank=piece.rank, explanation=piece.explanation)
                continue
            if not ranked:
                ranked = True
                yield RankingEvent(answer=piece)
                if ask.explain:
                    continue
            yield DoneEvent(answer=piece.id, degraded=piece.degraded, seconds=piece.seconds, usage=piece.usage)


def _timing(answer: Recommendations) -> str:
    """The stages' times as Server-Timing (milliseconds), so that a caller can tell them from the service's own."""
    return ", ".join(f"{stage};dur={1000 * seconds:.1f}" for stage, seconds in answer.seconds.items())
