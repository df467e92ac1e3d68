"""`xdrec mcp`. Reads how to be reached, offers the recommender to other agents as MCP tools."""

from __future__ import annotations

from typing import Annotated

import typer

from retrieval.errors import SetupError
from xdrec_agent.cli.context import settings


def mcp(
    http: Annotated[bool, typer.Option("--http", help="Over HTTP, at /mcp; default: stdin and stdout.")] = False,
    host: Annotated[str | None, typer.Option(help="With --http: address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="With --http; 0: any that is free.")] = None,
) -> None:
    """Offer recommend, explain and search_items to other agents (Model Context Protocol).

    \b
    Examples:
      xdrec mcp
      xdrec mcp --http --port 8418
    """
    try:
        from xdrec_agent.service import run_mcp_http, run_mcp_stdio
    except ModuleNotFoundError as exc:
        raise SetupError(f"the service needs a package: {exc.name}", hint="pip install 'xdrec[service]'") from exc
    configured = settings()
    given = {name: value for name, value in {"host": host, "port": port}.items() if value is not None}
    service = configured.service.model_copy(update=given)
    (run_mcp_http if http else run_mcp_stdio)(configured.model_copy(update={"service": service}))
