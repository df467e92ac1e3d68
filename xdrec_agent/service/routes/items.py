"""GET /v1/domains and /v1/items. Reads the beginning of a title, produces what it could be."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from xdrec_agent.service.access import Called
from xdrec_agent.service.app_state import Engine, engine_of
from xdrec_agent.service.problems import documented
from xdrec_agent.service.replies import Domains, Found
from xdrec_agent.service.requests import Name, Title

router = APIRouter(prefix="/v1", tags=["items"])


@router.get("/domains", response_model=Domains, responses=documented())
def domains(_caller: Called, engine: Annotated[Engine, Depends(engine_of)]) -> Response:
    """The domains that have items, with their sizes."""
    return _json(Domains(domains=engine.store.domains()))


@router.get("/items", response_model=Found, responses=documented())
def items(
    domain: Annotated[Name, Query(examples=["films"])],
    q: Annotated[Title, Query(description="The beginning of a title or of words in it.", examples=["blade"])],
    _caller: Called,
    engine: Annotated[Engine, Depends(engine_of)],
    limit: Annotated[int, Query(ge=1, le=50)] = 10,
) -> Response:
    """Search as you type over the titles of a domain."""
    return _json(Found(items=tuple(engine.titles.find(domain, q, limit))))


def _json(reply: Domains | Found) -> Response:
    return Response(reply.model_dump_json(), media_type="application/json")
