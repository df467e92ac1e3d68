"""Logged answers: /v1/answers, /v1/explain, /v1/feedback. Reads an answer's id, produces reasons; keeps feedback.

A rating, "known" and a conversion become interactions: they change the next recommendation, and what is known is not
recommended again. A click is curiosity, not taste: it only goes into the log.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Response

from retrieval.errors import UsageError
from retrieval.types import EVENT_WEIGHTS, Interaction
from xdrec_agent.posthoc import (
    Contrastive,
    Counterfactual,
    PosthocExplanation,
    Why,
    WhyNot,
    contrastive,
    counterfactual,
    draw,
    evidence_for,
    item_at,
    load_posthoc_locale,
    svg,
    why,
    why_not,
)
from xdrec_agent.recommend import LoggedAnswer, Recommender
from xdrec_agent.service.app_state import AnyCaller, AppState, Caller, State
from xdrec_agent.service.problems import documented, not_found
from xdrec_agent.service.schemas import ExplainRequest, FeedbackReply, FeedbackRequest, ItemRef, Language, ShortText
from xdrec_agent.types import Recommendations

router = APIRouter(prefix="/v1")

AnswerId = Annotated[ShortText, Path(examples=["k3m9x2v7q8w4e6rt"])]
_INTERACTIONS: Final[Mapping[str, tuple[str, float]]] = {
    "known": ("known", EVENT_WEIGHTS["view"]),
    "conversion": ("purchase", EVENT_WEIGHTS["purchase"]),
}
"""Kind and weight of the interaction that an event becomes; a rating keeps its own."""


def find_answer(state: AppState, caller: Caller, id_: str) -> LoggedAnswer:
    """The answer with this id, if the caller may see it. Raises NotFound."""
    try:
        logged = state.log.get(id_)
    except UsageError as exc:
        raise not_found("answer", id_) from exc
    caller.require_owner("answer", id_, logged.user)
    return logged


@router.get("/answers/{id_}", response_model=Recommendations, responses=documented(404), tags=["explain"])
def answer(id_: AnswerId, caller: AnyCaller, state: State) -> Response:
    """An answer as it was given."""
    return Response(find_answer(state, caller, id_).answer.model_dump_json(), media_type="application/json")


@router.post(
    "/explain",
    response_model=Why | Contrastive | WhyNot | Counterfactual,
    responses=documented(404, 409),
    tags=["explain"],
)
def explain(body: ExplainRequest, caller: AnyCaller, state: State) -> Response:
    """Why an item was recommended, why over another, why one was not, or what the list would be without a liked item.

    All of it is computed from the logged answer; no model is asked.
    """
    logged = find_answer(state, caller, body.answer)
    language = body.language or state.settings.explain.language
    reason = _reason(state.recommender(logged.arm), logged, body, language)
    return Response(reason.model_dump_json(), media_type="application/json")


def _reason(recommender: Recommender, logged: LoggedAnswer, body: ExplainRequest, language: str) -> PosthocExplanation:
    locale, paths, rank = load_posthoc_locale(language), recommender.explain_context.paths, body.rank or 1
    item = body.item.id if isinstance(body.item, ItemRef) else body.item or ""
    if body.kind == "over":
        return contrastive(logged, rank, body.other or 1, locale, paths)
    if body.kind == "why-not":
        return why_not(recommender.retriever, logged, item, locale, recommender.exclusions)
    if body.kind == "without":
        return counterfactual(recommender.retriever, logged, item, locale, recommender.exclusions)
    return why(logged, rank, locale, paths)


@router.get(
    "/answers/{id_}/picture/{rank}.svg",
    response_class=Response,
    responses=documented(404) | {200: {"content": {"image/svg+xml": {"schema": {"type": "string"}}}}},
    tags=["explain"],
)
def evidence_picture(
    id_: AnswerId,
    rank: Annotated[int, Path(ge=1, le=100)],
    caller: AnyCaller,
    state: State,
    language: Annotated[Language | None, Query()] = None,
) -> Response:
    """The way from what was liked to a recommended item, as a picture."""
    logged = find_answer(state, caller, id_)
    evidence = evidence_for(logged, item_at(logged, rank), state.recommender(logged.arm).explain_context.paths)
    locale = load_posthoc_locale(language or state.settings.explain.language)
    # An SVG opened on its own is a document; the style inside it is ours, and nothing else may load or run.
    policy = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox"}
    return Response(svg(draw(evidence, locale)), media_type="image/svg+xml", headers=policy)


@router.post("/feedback", responses=documented(404), tags=["feedback"])
def feedback(body: FeedbackRequest, caller: AnyCaller, state: State) -> FeedbackReply:
    """Tell what somebody did with an item, one of an answer or any other."""
    user, arm, item = caller.acts_for(body.user), "", body.item
    if body.answer is not None:
        logged = find_answer(state, caller, body.answer)
        user, arm = user or logged.user, logged.arm
        state.log.add_event(logged.id, item.domain, item.id, body.kind, value=body.value)
    elif not state.store.items(item.domain, [item.id]):
        raise not_found(f"item of {item.domain}", item.id)
    state.metrics.feedback.labels(body.kind, arm).inc()
    if user is None or body.kind == "click":
        return FeedbackReply(interaction=False)
    kind, value = _INTERACTIONS.get(body.kind, ("rating", body.value or 0.0))
    interaction = Interaction(
        user=user, domain=item.domain, item=item.id, kind=kind, value=value, timestamp=int(time.time())
    )
    written = state.store.upsert_interactions([interaction], f"feedback {secrets.token_hex(8)}")
    return FeedbackReply(interaction=not written.unknown)
