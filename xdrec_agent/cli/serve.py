"""`xdrec serve` and `xdrec mcp`. Read where to listen, run the service until it is told to end."""

from __future__ import annotations

from types import ModuleType
from typing import Annotated

import typer

from retrieval.errors import optional_packages
from xdrec_agent.cli.context import overridden, settings
from xdrec_agent.cli.options import Host, Port


def serve(
    host: Host = None,
    port: Port = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that answer; one for each processor.")] = None,
) -> None:
    """Serve recommendations, reasons and conversation over HTTP, until interrupted.

    \b
    Without keys only this machine is served; `xdrec keys create` makes one.
    Examples:
      xdrec serve
      xdrec serve --host 0.0.0.0 --port 8000 --workers 4
    """
    service = import_service()
    service.run(overridden(settings(), service={"host": host, "port": port, "workers": workers}))


def mcp(
    http: Annotated[bool, typer.Option("--http", help="Over HTTP, at /mcp; default: stdin and stdout.")] = False,
    host: Host = None,
    port: Port = None,
) -> None:
    """Offer recommend, explain and search_items to other agents (Model Context Protocol).

    \b
    Examples:
      xdrec mcp
      xdrec mcp --http --port 8418
    """
    service = import_service()
    run = service.run_mcp_http if http else service.run_mcp_stdio
    run(overridden(settings(), service={"host": host, "port": port}))


def import_service() -> ModuleType:
    """The package of the service. Raises SetupError: the extra `service` is not installed."""
    with optional_packages("the service", "service"):
        from xdrec_agent import service
    return service
