"""POST /v1/recommend and /v1/recommend/stream. Reads a request, produces recommendations with reasons."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from time import perf_counter

from fastapi import APIRouter, Request, Response
from sse_starlette import EventSourceResponse
from starlette.concurrency import run_in_threadpool

from retrieval.errors import UsageError
from retrieval.store import Store
from retrieval.types import Filter, Item, Query
from xdrec_agent.recommend import build_query
from xdrec_agent.service.app_state import AnyCaller, AppState, State
from xdrec_agent.service.events import StreamEvent, documented_stream, stream, unless_gone
from xdrec_agent.service.problems import documented, not_found
from xdrec_agent.service.schemas import DoneEvent, ExplanationEvent, ItemRef, RankingEvent, RecommendRequest
from xdrec_agent.types import Recommendation, Recommendations

router = APIRouter(prefix="/v1/recommend", tags=["recommend"])


@router.post("", response_model=Recommendations, responses=documented(404, 409))
async def recommend(request: Request, body: RecommendRequest, caller: AnyCaller, state: State) -> Response:
    """Recommend; the answer comes as a whole, with its reasons unless they are not wanted."""
    answer = await unless_gone(request, complete_answer(state, body, caller.acts_for(body.user)))
    # The stages' times in milliseconds, so that a caller can tell them from the service's own.
    timing = ", ".join(f"{stage};dur={1000 * seconds:.1f}" for stage, seconds in answer.seconds.items())
    return Response(answer.model_dump_json(), media_type="application/json", headers={"server-timing": timing})


@router.post(
    "/stream",
    response_class=EventSourceResponse,
    responses=documented(404, 409) | documented_stream(RankingEvent, ExplanationEvent, DoneEvent),
)
async def recommend_stream(
    request: Request, body: RecommendRequest, caller: AnyCaller, state: State
) -> EventSourceResponse:
    """Recommend; the ranking comes at once, each reason when it is written, then `done`."""
    return await stream(request, _events(state, body, caller.acts_for(body.user)))


async def complete_answer(state: AppState, body: RecommendRequest, user: str | None) -> Recommendations:
    """The answer with its reasons, logged with the user's arm.

    Raises:
        TooManyRequests: too many wait already.
        UsageError, TitleError, NotFound: the request makes no sense.
        SetupError, BackendError: something is missing or down; never an LLMError.
    """
    arm = state.arm(user)
    async with state.limiter.slot(), state.computing(arm):
        start = perf_counter()
        query = await run_in_threadpool(_query, state.store, body, user)
        answer = await state.recommender(arm).recommend(
            query, explain=body.explain, language=body.language, style=body.style, arm=arm
        )
        state.metrics.count_answer(answer, arm, perf_counter() - start)
    return answer


async def _events(state: AppState, body: RecommendRequest, user: str | None) -> AsyncGenerator[StreamEvent, None]:
    """The events of an answer. Closing it gives up what the model still works on. Raises: as `complete_answer`."""
    arm, answer = state.arm(user), None
    # It goes at the pace of whoever reads it, so it holds up nobody else's computing.
    async with state.limiter.slot():
        start = perf_counter()
        query = await run_in_threadpool(_query, state.store, body, user)
        parts = state.recommender(arm).stream(
            query, explain=body.explain, language=body.language, style=body.style, arm=arm
        )
        try:
            async with aclosing(parts):
                async for part in parts:
                    if isinstance(part, Recommendation):
                        if part.explanation:
                            yield ExplanationEvent(rank=part.rank, explanation=part.explanation)
                        continue
                    if answer is None:
                        yield RankingEvent(answer=part)
                    answer = part
        finally:
            if answer is not None:
                state.metrics.count_answer(answer, arm, perf_counter() - start)
    if answer is not None:
        yield DoneEvent(answer=answer.id, degraded=answer.degraded, seconds=answer.seconds, usage=answer.usage)


def _query(store: Store, body: RecommendRequest, user: str | None) -> Query:
    domains = {*body.sources, body.target}
    return build_query(
        store,
        sources=body.sources,
        target=body.target,
        user=user,
        likes=_items(store, body.likes, domains),
        dislikes=_items(store, body.dislikes, domains),
        about=body.about,
        filter_=Filter.model_validate(body.filter.model_dump()),
        k=body.k,
        allow_new_user=True,
    )


def _items(store: Store, given: Sequence[str | ItemRef], domains: set[str]) -> list[str | Item]:
    """Titles as they are, ids as items; all items of a domain are read at once."""
    refs = [one for one in given if isinstance(one, ItemRef)]
    other = next((ref.domain for ref in refs if ref.domain not in domains), None)
    if other is not None:
        raise UsageError(f"{other!r} is neither source nor target", hint="add it to sources")
    items = {
        (domain, item_id): item
        for domain in {ref.domain for ref in refs}
        for item_id, item in store.items(domain, [ref.id for ref in refs if ref.domain == domain]).items()
    }
    for ref in refs:
        if (ref.domain, ref.id) not in items:
            raise not_found(f"item of {ref.domain}", ref.id)
    return [one if isinstance(one, str) else items[one.domain, one.id] for one in given]
