"""One question, from request to kept answer. Reads a request and whom it is for, produces the answer piece by piece."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, nullcontext
from time import perf_counter

from starlette.concurrency import run_in_threadpool

from retrieval.errors import UsageError
from retrieval.store import Store
from retrieval.types import Item, Query
from xdrec_agent.recommend import build_query
from xdrec_agent.service.app_state import Engine
from xdrec_agent.service.problems import no_such
from xdrec_agent.service.requests import ItemRef, RecommendRequest
from xdrec_agent.types import Recommendation, Recommendations


async def answered(
    engine: Engine, ask: RecommendRequest, user: str | None, *, piecewise: bool = True
) -> AsyncGenerator[Recommendations | Recommendation, None]:
    """The ranking; each recommendation again with its reason; the whole, kept in the log with the user's arm.

    Closing or cancelling it gives up what the model still works on.

    Args:
        piecewise: whether the ranking is shown before the reasons are there, and therefore kept at once.

    Raises:
        TooMuch: too many wait already.
        UsageError, TitleError, NotHere: the question makes no sense.
        SetupError, BackendError: something is missing or down; never an LLMError.
    """
    arm = engine.arm(user)
    # Pieces go at the pace of whoever reads them: nobody may hold up the others' computing with that.
    async with engine.gate.turn(), nullcontext() if piecewise else engine.computing(arm):
        began = perf_counter()
        query = await run_in_threadpool(query_of, engine.store, ask, user)
        recommender = engine.recommender(arm)
        answer = await recommender.rank(query)
        engine.metrics.ranked(answer, arm)
        if piecewise or not ask.explain:
            answer = await keep(engine, query, answer, arm)
        if ask.explain:
            yield answer
            start, items = perf_counter(), []
            async with aclosing(
                recommender.explain(query, answer, language=ask.language, style=ask.style)
            ) as explained:
                async for item in explained:
                    engine.metrics.explained(item)
                    items.append(item)
                    yield item
            answer = answer.completed(items, perf_counter() - start)
            if not piecewise:
                answer = await keep(engine, query, answer, arm)
            elif answer.id:
                await run_in_threadpool(engine.answers.update, answer.id, answer)
        engine.metrics.finished(answer, perf_counter() - began)
    yield answer


async def whole(engine: Engine, ask: RecommendRequest, user: str | None) -> Recommendations:
    """The complete answer. Raises: as `answered`."""
    async with aclosing(answered(engine, ask, user, piecewise=False)) as pieces:
        last = [piece async for piece in pieces][-1]
    if not isinstance(last, Recommendations):
        raise TypeError
    return last


async def keep(engine: Engine, query: Query, answer: Recommendations, arm: str) -> Recommendations:
    """The answer with the id that it is kept under; as it is if answers are not kept."""
    if not engine.settings.answers.keep:
        return answer
    id_ = await run_in_threadpool(engine.answers.add, query, answer, arm=arm)
    return answer.model_copy(update={"id": id_})


def query_of(store: Store, ask: RecommendRequest, user: str | None) -> Query:
    """The query that is asked for. Raises UsageError, TitleError, NotHere."""
    domains = {*ask.sources, ask.target}
    return build_query(
        store,
        sources=ask.sources,
        target=ask.target,
        user=user,
        likes=_items(store, ask.likes, domains),
        dislikes=_items(store, ask.dislikes, domains),
        about=ask.about,
        filter_=ask.filter.filter(),
        k=ask.k,
        allow_new_user=True,
    )


def _items(store: Store, given: Sequence[str | ItemRef], domains: set[str]) -> list[str | Item]:
    """Titles as they are, ids as items; all items of a domain are read at once."""
    refs = [one for one in given if isinstance(one, ItemRef)]
    other = next((ref.domain for ref in refs if ref.domain not in domains), None)
    if other is not None:
        raise UsageError(f"{other!r} is neither source nor target", hint="add it to sources")
    found = {
        (domain, item_id): item
        for domain in {ref.domain for ref in refs}
        for item_id, item in store.items(domain, [ref.id for ref in refs if ref.domain == domain]).items()
    }
    for ref in refs:
        if (ref.domain, ref.id) not in found:
            raise no_such(f"item of {ref.domain}", ref.id)
    return [one if isinstance(one, str) else found[one.domain, one.id] for one in given]
