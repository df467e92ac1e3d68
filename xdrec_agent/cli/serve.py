"""`xdrec serve`. Reads where to listen, runs the service until it is told to end."""

from __future__ import annotations

from typing import Annotated

import typer

from retrieval.errors import SetupError
from xdrec_agent.cli.context import settings


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; others than this machine need keys.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="0: any that is free.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that answer; one for each processor.")] = None,
) -> None:
    """Serve recommendations, reasons and conversation over HTTP, until interrupted.

    \b
    Without keys only this machine is served; `xdrec keys create` makes one.
    Examples:
      xdrec serve
      xdrec serve --host 0.0.0.0 --port 8000 --workers 4
    """
    try:
        from xdrec_agent.service import run
    except ModuleNotFoundError as exc:
        raise SetupError(f"the service needs a package: {exc.name}", hint="pip install 'xdrec[service]'") from exc
    configured = settings()
    wanted = {"host": host, "port": port, "workers": workers}
    given = {name: value for name, value in wanted.items() if value is not None}
    run(configured.model_copy(update={"service": configured.service.model_copy(update=given)}))
