"""GET /health/live, /health/ready and /metrics. Reads the parts' state, produces what probes and Prometheus ask for."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from prometheus_client import CONTENT_TYPE_LATEST

from retrieval.errors import SetupError
from xdrec_agent.service.access import Operated
from xdrec_agent.service.app_state import Engine, engine_of
from xdrec_agent.service.problems import documented
from xdrec_agent.service.replies import Health

router = APIRouter(tags=["operation"])


@router.get("/health/live")
async def live() -> Health:
    """Whether the process answers at all; if not, start it anew."""
    return Health(status="ok")


@router.get("/health/ready", responses={503: documented()[503]})
def ready(engine: Annotated[Engine, Depends(engine_of)]) -> Health:
    """Whether recommendations can be had; if not (503), send requests elsewhere until they can."""
    indexed = len(engine.usable_domains())
    if indexed < 2:
        raise SetupError(
            f"{indexed} domains are indexed, and it takes two", hint="xdrec ingest, then xdrec index DOMAIN"
        )
    if engine.model is None:
        return Health(status="degraded", detail="no language model runs")
    return Health(status="ok")


@router.get("/metrics", response_class=Response, responses=documented() | {200: {"content": {"text/plain": {}}}})
def metrics(_caller: Operated, engine: Annotated[Engine, Depends(engine_of)]) -> Response:
    """Metrics in Prometheus' text format; for operators where keys are needed."""
    return Response(engine.metrics.text(), media_type=CONTENT_TYPE_LATEST)
