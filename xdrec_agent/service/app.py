"""The application. Reads settings, produces the ASGI application: routes, page, middleware, open parts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from retrieval.errors import XDRecError
from retrieval.types import Frozen
from xdrec_agent.service import problems
from xdrec_agent.service.app_state import keys_required, open_state
from xdrec_agent.service.middleware import BodyLimit, ConcurrencyLimiter, LoadShedding, Metrics, RequestMiddleware
from xdrec_agent.service.parts import OpenParts, open_parts
from xdrec_agent.service.routes import answers, catalogue, chat, openai, recommend
from xdrec_agent.service.schemas import DoneEvent, ExplanationEvent, RankingEvent
from xdrec_agent.service.tracing import TracingMiddleware, open_tracer
from xdrec_agent.settings import Settings

_ABOUT: Final = (
    "Recommends items of one domain by what somebody liked in others, with reasons that can be checked. "
    "Errors are `application/problem+json`; `hint` names the next thing to do."
)
_LIMITED: Final = frozenset({"/v1/recommend", "/v1/recommend/stream", "/v1/chat", "/v1/chat/completions"})
_STREAMED: Final = (problems.Problem, RankingEvent, ExplanationEvent, DoneEvent, *chat.EVENTS)
_STATIC: Final = Path(__file__).with_name("static")
_POLICY: Final = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"


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
    limiter = ConcurrencyLimiter(service.concurrency, service.queue, metrics)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        try:
            async with AsyncExitStack() as stack:
                if service.tracing:
                    app.state.tracer = stack.enter_context(open_tracer())
                app.state.xdrec = await stack.enter_async_context(
                    open_state(settings, opened, limiter, keys_required=needed)
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
    for routes in (recommend, answers, chat, catalogue, openai):
        app.include_router(routes.router)
    _serve_page(app, service.cover_hosts, keys_required=needed)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    if service.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(service.cors_origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["authorization", "content-type"],
        )
    app.add_middleware(LoadShedding, limiter=limiter, paths=_LIMITED, shared=service.workers > 1)
    app.add_middleware(BodyLimit, limit=1024 * service.body_kib)
    app.add_middleware(RequestMiddleware, metrics=metrics, local=not needed, log_text=service.log_text)
    if service.tracing:
        app.add_middleware(TracingMiddleware)
    return app


class PageFacts(Frozen):
    """What the page has to know of the service before it asks anything."""

    keys_required: bool
    cover_hosts: tuple[str, ...]


class _PageFiles(StaticFiles):
    """The page's files, with a policy that lets in themselves, pictures as data, and covers of named hosts."""

    def __init__(self, cover_hosts: tuple[str, ...]) -> None:
        super().__init__(directory=_STATIC, html=True)
        images = " ".join(["'self'", "data:", *(f"https://{host}" for host in cover_hosts)])
        self._policy = f"default-src 'self'; img-src {images}; {_POLICY}"

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file; a browser asks each time whether it has changed."""
        response = await super().get_response(path, scope)
        response.headers["content-security-policy"] = self._policy
        response.headers["cache-control"] = "no-cache"
        return response


def _serve_page(app: FastAPI, cover_hosts: tuple[str, ...], *, keys_required: bool) -> None:
    """Serve the page below all routes, and what it must know of the service at `/page.json`."""
    facts = PageFacts(keys_required=keys_required, cover_hosts=cover_hosts)

    @app.get("/page.json", include_in_schema=False)
    async def page_facts() -> PageFacts:
        return facts

    app.mount("/", _PageFiles(cover_hosts), name="page")


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The description, with the schemas of problems and of what is streamed, which no route returns as such."""
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        schemas = schema.setdefault("components", {}).setdefault("schemas", {})
        template = "#/components/schemas/{model}"
        _, streamed = models_json_schema([(model, "serialization") for model in _STREAMED], ref_template=template)
        for name, one in streamed["$defs"].items():
            schemas.setdefault(name, one)
        app.openapi_schema = schema
    return app.openapi_schema
