"""The recommender as tools of other agents (MCP). Reads tool calls, produces lean results."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Final

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Receive, Scope, Send

from retrieval.errors import XDRecError
from retrieval.types import Frozen, Item
from xdrec_agent.service.app_state import AppState, Caller, caller_with
from xdrec_agent.service.problems import response_of
from xdrec_agent.service.routes.answers import find_answer
from xdrec_agent.service.routes.recommend import complete_answer
from xdrec_agent.service.schemas import FilterRequest, ItemRef, RecommendRequest, ShortText, Title, UserText
from xdrec_agent.types import Recommendation

_ABOUT: Final = (
    "Recommends items of one domain by what somebody liked in others (liked films in, books out), with reasons. "
    "Find exact titles with search_items, then call recommend; explain says why an item was recommended."
)
_READS: Final = {"read_only_hint": True, "destructive_hint": False, "open_world_hint": False}

Domain = Annotated[ShortText, Field(description="Name of a domain, as search_items and errors list them.")]


class ShownItem(Frozen):
    """An item of a catalogue."""

    domain: str
    id: str
    title: str
    creators: tuple[str, ...] = ()
    year: int | None = None
    categories: tuple[str, ...] = ()


class ShownRecommendation(Frozen):
    """A recommended item. `confidence` is in [0, 1], None: not calibrated."""

    rank: int
    item: ShownItem
    reason: str | None = None
    confidence: float | None = None


class ShownAnswer(Frozen):
    """An answer, whose id is `answer`. `degraded`: the language model failed, and the order is the retriever's."""

    answer: str | None
    items: tuple[ShownRecommendation, ...]
    degraded: bool
    note: str | None = None


class ShownItems(Frozen):
    """Items whose titles could be meant, best first."""

    items: tuple[ShownItem, ...]


class ShownReason(Frozen):
    """Why an item was recommended; `cites` are the liked items that it is based on."""

    item: ShownItem
    reason: str
    cites: tuple[str, ...] = ()
    from_model: bool


def make_server(state: AppState) -> MCPServer[Any]:
    """The MCP server with its tools. Keys, turns, arms and the log are the service's."""
    server: MCPServer[Any] = MCPServer("xdrec", title="XDRec", instructions=_ABOUT, log_level="WARNING")
    annotations = _annotations()

    @server.tool(annotations=annotations)
    async def recommend(
        ctx: Context[Any, Any],
        sources: Annotated[
            list[ShortText], Field(min_length=1, max_length=20, description="Domains of what was liked.")
        ],
        target: Annotated[ShortText, Field(description="Domain to recommend from.")],
        likes: Annotated[list[Title | ItemRef], Field(max_length=200, description="Titles or items.")] = [],  # noqa: B006
        dislikes: Annotated[list[Title | ItemRef], Field(max_length=200)] = [],  # noqa: B006
        about: Annotated[UserText | None, Field(description="What is wanted, in words.")] = None,
        user: Annotated[ShortText | None, Field(description="A user whose history is known.")] = None,
        filters: FilterRequest = FilterRequest(),  # noqa: B008
        k: Annotated[int, Field(ge=1, le=50)] = 5,
    ) -> ShownAnswer:
        """Recommend items of the target domain by what was liked in the sources, each with a reason."""
        body = RecommendRequest(
            sources=tuple(sources),
            target=target,
            likes=tuple(likes),
            dislikes=tuple(dislikes),
            about=about,
            filter=filters,
            k=k,
        )
        with _tool_errors():
            caller = await _caller(state, ctx)
            answer = await complete_answer(state, body, caller.acts_for(user))
        return ShownAnswer(
            answer=answer.id,
            items=tuple(map(_recommendation, answer.items)),
            degraded=answer.degraded,
            note=answer.reason,
        )

    @server.tool(annotations=annotations)
    async def explain(
        ctx: Context[Any, Any],
        answer: Annotated[ShortText, Field(description="The id that recommend gave.")],
        rank: Annotated[int, Field(ge=1, le=100, description="Which of its items, from 1.")],
    ) -> ShownReason:
        """Why an item of an earlier answer was recommended, and which liked items that is based on."""
        with _tool_errors():
            caller = await _caller(state, ctx)
            logged = await run_in_threadpool(find_answer, state, caller, answer)
        items = {one.rank: one for one in logged.answer.items}
        if rank not in items:
            raise ToolError(f"the answer has ranks 1 to {len(items)}")
        one, titles = items[rank], {(e.item.domain, e.item.id): e.item.title for e in logged.query.history.entries}
        if one.explanation is None:
            raise ToolError("no reason was written for this item")
        cites = tuple(titles.get((match.domain, match.item), match.item) for match in one.explanation.cites)
        return ShownReason(
            item=_item(one.item),
            reason=one.explanation.text,
            cites=cites,
            from_model=one.explanation.source != "evidence",
        )

    @server.tool(annotations=annotations)
    async def search_items(
        ctx: Context[Any, Any],
        domain: Domain,
        title: Annotated[Title, Field(description="The beginning of a title or of words in it.")],
        limit: Annotated[int, Field(ge=1, le=50)] = 10,
    ) -> ShownItems:
        """Find items of a domain by title, to name them exactly."""
        with _tool_errors():
            await _caller(state, ctx)
            found = await run_in_threadpool(state.titles.find, domain, title, limit)
        return ShownItems(items=tuple(map(_item, found)))

    return server


class RequireKey:
    """Refuses requests without a good key before they reach the protocol."""

    def __init__(self, app: ASGIApp, state: AppState) -> None:
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection (ASGI)."""
        if scope["type"] == "http":
            header = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
            try:
                await run_in_threadpool(_caller_with, self._state, header)
            except XDRecError as exc:
                await response_of(exc)(scope, receive, send)
                return
        await self._app(scope, receive, send)


async def _caller(state: AppState, ctx: Context[Any, Any]) -> Caller:
    """Who calls: over stdio whoever started the process, over HTTP the owner of the key."""
    if ctx.headers is None:
        return Caller(None)
    return await run_in_threadpool(_caller_with, state, ctx.headers.get("authorization", ""), count=False)


def _caller_with(state: AppState, header: str, *, count: bool = True) -> Caller:
    scheme, _, secret = header.partition(" ")
    return caller_with(state, secret.strip() if scheme.lower() == "bearer" else None, count=count)


@contextmanager
def _tool_errors() -> Iterator[None]:
    """Errors of ours are answers for the calling agent, with the hint."""
    try:
        yield
    except XDRecError as exc:
        raise ToolError(f"{exc} ({exc.hint})" if exc.hint else str(exc)) from exc


def _annotations() -> Any:  # noqa: ANN401 (the SDK's type lives in a package of its own)
    from mcp_types import ToolAnnotations

    return ToolAnnotations(**_READS)


def _item(item: Item) -> ShownItem:
    return ShownItem.model_validate(item.model_dump(include=set(ShownItem.model_fields)))


def _recommendation(one: Recommendation) -> ShownRecommendation:
    reason = one.explanation.text if one.explanation else None
    return ShownRecommendation(rank=one.rank, item=_item(one.item), reason=reason, confidence=one.confidence)
