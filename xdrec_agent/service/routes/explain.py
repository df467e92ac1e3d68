"""POST /v1/explain and the answers themselves. Reads an answer's id, produces reasons for and against its items."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response

from retrieval.errors import UsageError
from xdrec_agent.posthoc import (
    Contrastive,
    Counterfactual,
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
from xdrec_agent.service.access import Called, Caller
from xdrec_agent.service.app_state import Engine, engine_of
from xdrec_agent.service.problems import documented, no_such
from xdrec_agent.service.requests import ExplainRequest, ItemRef, Language, Name
from xdrec_agent.types import Recommendations

router = APIRouter(prefix="/v1", tags=["explain"])

AnswerId = Annotated[Name, Path(examples=["k3m9x2v7q8w4e6rt"])]


def kept_answer(engine: Engine, caller: Caller, id_: str) -> LoggedAnswer:
    """The answer with this id, if the caller may see it. Raises NotHere."""
    try:
        kept = engine.answers.get(id_)
    except UsageError as exc:
        raise no_such("answer", id_) from exc
    caller.must_see("answer", id_, kept.user)
    return kept


@router.get("/answers/{id_}", response_model=Recommendations, responses=documented(404))
def answer(id_: AnswerId, caller: Called, engine: Annotated[Engine, Depends(engine_of)]) -> Response:
    """An answer as it was given."""
    return Response(kept_answer(engine, caller, id_).answer.model_dump_json(), media_type="application/json")


@router.post("/explain", response_model=Why | Contrastive | WhyNot | Counterfactual, responses=documented(404, 409))
def explain(ask: ExplainRequest, caller: Called, engine: Annotated[Engine, Depends(engine_of)]) -> Response:
    """Why an item was recommended, why over another, why one was not, or what the list would be without a liked item.

    All of it is computed from the kept answer; no model is asked.
    """
    kept = kept_answer(engine, caller, ask.answer)
    reason = _reason(engine.recommender(kept.arm), kept, ask, ask.language or engine.settings.explain.language)
    return Response(reason.model_dump_json(), media_type="application/json")


@router.get(
    "/answers/{id_}/picture/{rank}.svg",
    response_class=Response,
    responses=documented(404) | {200: {"content": {"image/svg+xml": {"schema": {"type": "string"}}}}},
)
def evidence_picture(
    id_: AnswerId,
    rank: Annotated[int, Path(ge=1, le=100)],
    caller: Called,
    engine: Annotated[Engine, Depends(engine_of)],
    language: Annotated[Language | None, Query()] = None,
) -> Response:
    """The way from what was liked to a recommended item, as a picture."""
    kept = kept_answer(engine, caller, id_)
    evidence = evidence_for(kept, item_at(kept, rank), engine.recommender(kept.arm).explain_context.paths)
    locale = load_posthoc_locale(language or engine.settings.explain.language)
    # An SVG opened on its own is a document; the style inside it is ours, and nothing else may load or run.
    policy = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox"}
    return Response(svg(draw(evidence, locale)), media_type="image/svg+xml", headers=policy)


def _reason(
    recommender: Recommender, kept: LoggedAnswer, ask: ExplainRequest, language: str
) -> Why | Contrastive | WhyNot | Counterfactual:
    locale, paths, rank = load_posthoc_locale(language), recommender.explain_context.paths, ask.rank or 1
    named = ask.item.id if isinstance(ask.item, ItemRef) else ask.item or ""
    if ask.kind == "over":
        return contrastive(kept, rank, ask.other or 1, locale, paths)
    if ask.kind == "why-not":
        return why_not(recommender.retriever, kept, named, locale, recommender.exclusions)
    if ask.kind == "without":
        return counterfactual(recommender.retriever, kept, named, locale, recommender.exclusions)
    return why(kept, rank, locale, paths)
