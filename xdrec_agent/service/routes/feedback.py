"""POST /v1/feedback. Reads what somebody did with an item, keeps it in the log and as the person's taste.

A rating, "known" and a conversion become interactions: they change the next recommendation, and what is known is not
recommended again. A click is curiosity, not taste: it only goes into the log.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import Annotated, Final

from fastapi import APIRouter, Depends

from retrieval.types import EVENT_WEIGHTS, Interaction
from xdrec_agent.service.access import Called
from xdrec_agent.service.app_state import Engine, engine_of
from xdrec_agent.service.problems import documented, no_such
from xdrec_agent.service.replies import Noted
from xdrec_agent.service.requests import FeedbackRequest
from xdrec_agent.service.routes.explain import kept_answer

router = APIRouter(prefix="/v1", tags=["feedback"])

_KINDS: Final[Mapping[str, tuple[str, float]]] = {
    "known": ("known", EVENT_WEIGHTS["view"]),
    "conversion": ("purchase", EVENT_WEIGHTS["purchase"]),
}
"""Kind and weight of the interaction that an event becomes; a rating keeps its own."""


@router.post("/feedback", responses=documented(404))
def feedback(told: FeedbackRequest, caller: Called, engine: Annotated[Engine, Depends(engine_of)]) -> Noted:
    """Tell what somebody did with an item, one of an answer or any other."""
    user, arm = caller.acts_for(told.user), ""
    if told.answer is not None:
        kept = kept_answer(engine, caller, told.answer)
        user, arm = user or kept.user, kept.arm
        engine.answers.add_event(kept.id, told.item.domain, told.item.id, told.kind, value=told.value)
    elif not engine.store.items(told.item.domain, [told.item.id]):
        raise no_such(f"item of {told.item.domain}", told.item.id)
    engine.metrics.feedback.labels(told.kind, arm).inc()
    if user is None or told.kind == "click":
        return Noted(interaction=False)
    written = engine.store.upsert_interactions([_interaction(told, user)], f"feedback {secrets.token_hex(8)}")
    return Noted(interaction=not written.unknown)


def _interaction(told: FeedbackRequest, user: str) -> Interaction:
    kind, value = _KINDS.get(told.kind, ("rating", told.value or 0.0))
    return Interaction(
        user=user, domain=told.item.domain, item=told.item.id, kind=kind, value=value, timestamp=int(time.time())
    )
