"""The application. Reads settings, produces the ASGI application with everything put together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema
from starlette.middleware.cors import CORSMiddleware

from retrieval.errors import XDRecError
from xdrec_agent.service import page, problems
from xdrec_agent.service.access import keys_required
from xdrec_agent.service.app_state import OpenParts, open_engine, open_parts
from xdrec_agent.service.concurrency_limiter import BodyLimit, Gate, Shed
from xdrec_agent.service.logs import Frame
from xdrec_agent.service.metrics import Metrics
from xdrec_agent.service.replies import DoneEvent, ExplanationEvent, RankingEvent
from xdrec_agent.service.routes import chat as routes_chat
from xdrec_agent.service.routes import explain as routes_explain
from xdrec_agent.service.routes import feedback as routes_feedback
from xdrec_agent.service.routes import health as routes_health
from xdrec_agent.service.routes import items as routes_items
from xdrec_agent.service.routes import openai as routes_openai
from xdrec_agent.service.routes import recommend as routes_recommend
from xdrec_agent.service.tracing import Traced, exported
from xdrec_agent.settings import Settings

_ABOUT: Final = (
    "Recommends items of one domain by what somebody liked in others, with reasons that can be checked. "
    "Errors are `application/problem+json`; `hint` names the next thing to do."
)
_GATED: Final = frozenset({"/v1/recommend", "/v1/recommend/stream", "/v1/chat", "/v1/chat/completions"})
_ROUTERS: Final = (
    routes_recommend,
    routes_explain,
    routes_chat,
    routes_items,
    routes_feedback,
    routes_openai,
    routes_health,
)
_STREAMED: Final = (problems.Problem, RankingEvent, ExplanationEvent, DoneEvent, *routes_chat.EVENTS)


def create_app(settings: Settings, opened: OpenParts = open_parts, metrics: Metrics | None = None) -> FastAPI:
    """The application; it opens its parts when it starts and closes them when it ends.

    Args:
        opened: opens store, index and client.
        metrics: None: this process counts for itself.

    Raises:
        UsageError: keys are off although other machines can connect, or an arm or a rate makes no sense.
    """
    needed = keys_required(settings.service)
    service, metrics = settings.service, metrics or Metrics()
    gate = Gate(service.concurrency, service.queue, metrics)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        try:
            async with AsyncExitStack() as stack:
                if service.tracing:
                    app.state.tracer = stack.enter_context(exported())
                app.state.engine = await stack.enter_async_context(
                    open_engine(settings, opened, gate, keys_required=needed)
                )
                yield
        except XDRecError as exc:
            app.state.failure = exc  # the server tells only that the start failed
            raise

    # No pages of documentation: they would run scripts of another host.
    app = FastAPI(
        title="XDRec", version=version("xdrec"), description=_ABOUT, lifespan=lifespan, docs_url=None, redoc_url=None
    )
    problems.install(app)
    for module in _ROUTERS:
        app.include_router(module.router)
    page.install(app, service.cover_hosts, keys_required=needed)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    if service.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(service.cors_origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["authorization", "content-type"],
        )
    app.add_middleware(Shed, gate=gate, paths=_GATED, shared=service.workers > 1)
    app.add_middleware(BodyLimit, most=1024 * service.body_kib)
    app.add_middleware(Frame, metrics=metrics, local=not needed, log_text=service.log_text)
    if service.tracing:
        app.add_middleware(Traced)
    return app


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The description, with the schemas of problems and of what is streamed, which no route returns as such."""
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        known = schema.setdefault("components", {}).setdefault("schemas", {})
        template = "#/components/schemas/{model}"
        _, more = models_json_schema([(model, "serialization") for model in _STREAMED], ref_template=template)
        for name, one in more["$defs"].items():
            known.setdefault(name, one)
        app.openapi_schema = schema
    return app.openapi_schema
