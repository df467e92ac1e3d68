"""GET /v1/domains, /v1/items, /health and /metrics. Reads the store and the parts' state, produces what there is."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from prometheus_client import CONTENT_TYPE_LATEST

from retrieval.errors import SetupError
from xdrec_agent.service.app_state import AnyCaller, Operator, State
from xdrec_agent.service.problems import documented
from xdrec_agent.service.schemas import DomainList, Health, ItemList, ShortText, Title

router = APIRouter()


@router.get("/v1/domains", response_model=DomainList, responses=documented(), tags=["items"])
def domains(_caller: AnyCaller, state: State) -> Response:
    """The domains that have items, with their sizes."""
    reply = DomainList(domains=state.store.domains())
    return Response(reply.model_dump_json(), media_type="application/json")


@router.get("/v1/items", response_model=ItemList, responses=documented(), tags=["items"])
def items(
    domain: Annotated[ShortText, Query(examples=["films"])],
    q: Annotated[Title, Query(description="The beginning of a title or of words in it.", examples=["blade"])],
    _caller: AnyCaller,
    state: State,
    limit: Annotated[int, Query(ge=1, le=50)] = 10,
) -> Response:
    """Search as you type over the titles of a domain."""
    reply = ItemList(items=tuple(state.titles.find(domain, q, limit)))
    return Response(reply.model_dump_json(), media_type="application/json")


@router.get("/health/live", tags=["operation"])
async def live() -> Health:
    """Whether the process answers at all; if not, start it anew."""
    return Health(status="ok")


@router.get("/health/ready", responses={503: documented()[503]}, tags=["operation"])
def ready(state: State) -> Health:
    """Whether recommendations can be had; if not (503), send requests elsewhere until they can."""
    indexed = len(state.usable_domains())
    if indexed < 2:
        raise SetupError(
            f"{indexed} domains are indexed, and it takes two", hint="xdrec ingest, then xdrec index DOMAIN"
        )
    if state.model is None:
        return Health(status="degraded", detail="no language model runs")
    return Health(status="ok")


@router.get(
    "/metrics",
    response_class=Response,
    responses=documented() | {200: {"content": {"text/plain": {}}}},
    tags=["operation"],
)
def metrics(_caller: Operator, state: State) -> Response:
    """Metrics in Prometheus' text format; for operators where keys are needed."""
    return Response(state.metrics.text(), media_type=CONTENT_TYPE_LATEST)
