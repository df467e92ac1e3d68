"""`xdrec llm`. Starts, stops and shows the language model's server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from retrieval.errors import SetupError
from xdrec_agent.cli.context import diagnostics, print_json, settings
from xdrec_agent.cli.options import Json

if TYPE_CHECKING:
    from rich.console import Console

    from xdrec_agent.server.lifecycle import ServerState
    from xdrec_agent.settings import Settings

app = typer.Typer(help="The language model's server (vLLM).", no_args_is_help=True)


@app.command()
def up() -> None:
    """Start vLLM for the configured model and wait until it answers; a configured base_url is asked instead.

    \b
    Examples:
      xdrec llm up
      XDREC_LLM__MODEL=qwen2.5-coder-1.5b-instruct xdrec llm up
    """
    import asyncio

    configured = settings()
    if configured.llm.base_url is not None:
        typer.echo(f"llm.base_url is set: {configured.llm.base_url} is used as it is, nothing is started")
        _print(asyncio.run(describe(configured)))
        return
    state = start_server(configured, diagnostics())
    typer.echo(f"{state.served_name} answers at {state.base_url}")


def start_server(configured: Settings, console: Console) -> ServerState:
    """Start the configured model's server, or find it running; its progress goes to the console."""
    from xdrec_agent.adapt import check_served_adapters
    from xdrec_agent.models import find_model
    from xdrec_agent.server import lifecycle

    llm = configured.llm
    folder = find_model(llm.model, configured.models_dir)
    if llm.adapters:
        check_served_adapters(llm.adapters, llm.model, folder)
    with console.status("LLM server: starting") as status:
        return lifecycle.up(
            folder,
            llm.model,
            llm,
            configured.server_dir,
            progress=lambda stage, seconds: status.update(f"LLM server: {stage}, {seconds:.0f} s"),
        )


@app.command()
def down() -> None:
    """Stop the server that `up` started.

    \b
    Examples:
      xdrec llm down
    """
    from xdrec_agent.server import lifecycle

    typer.echo("stopped" if lifecycle.down(settings().server_dir) else "nothing ran")


@app.command()
def logs(lines: Annotated[int, typer.Option("-n", min=1, help="How many lines.")] = 40) -> None:
    """The end of vLLM's log.

    \b
    Examples:
      xdrec llm logs -n 100
    """
    from xdrec_agent.server import lifecycle

    folder = settings().server_dir
    shown = lifecycle.logs(folder, lines)
    if not shown:
        raise SetupError("the server was never started", hint="xdrec llm up")
    for line in shown:
        typer.echo(line)
    diagnostics().print(f"the whole log: {folder / lifecycle.LOG}", markup=False, soft_wrap=True)


@app.command()
def status(json_: Json = False) -> None:
    """Whether a model answers, and what its endpoint was seen to do.

    \b
    Examples:
      xdrec llm status
      xdrec llm status --json
    """
    import asyncio

    shown = asyncio.run(describe(settings()))
    if json_:
        print_json(shown)
        return
    _print(shown)


@app.command()
def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Delete every kept reply.")] = False,
    json_: Json = False,
) -> None:
    """The replies that are kept on disk: how many, where, how large.

    With llm.cache = only (XDREC_LLM__CACHE=only) nothing else answers, and a run can be replayed without a server.

    \b
    Examples:
      xdrec llm cache
      xdrec llm cache --clear
    """
    from xdrec_agent.app import open_responses

    configured = settings()
    if not configured.responses_dir.is_dir():
        shown: dict[str, Any] = {"folder": str(configured.responses_dir), "replies": 0, "bytes": 0}
    else:
        with open_responses(configured) as replies:
            deleted = replies.clear() if clear else None
            shown = {"folder": str(replies.folder), "replies": len(replies), "bytes": replies.bytes}
            shown |= {} if deleted is None else {"deleted": deleted}
    if json_:
        print_json(shown)
        return
    for name, value in shown.items():
        typer.echo(f"{name:14} {value}")


def _print(shown: dict[str, Any]) -> None:
    for name, value in shown.items():
        if name != "capabilities":
            typer.echo(f"{name:14} {_said(value)}")
    for name, value in shown["capabilities"].items():
        typer.echo(f"  {name:26} {_said(value)}")


def _said(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "—" if value is None else str(value)


async def describe(configured: Settings) -> dict[str, Any]:
    """Where the model is, what it can do, and how the reranker will use it.

    Raises:
        ServerNotRunning: nothing is there to ask.
        LLMError: it does not answer.
    """
    from xdrec_agent.app import describe_ranking
    from xdrec_agent.llm import LLMClient, resolve_endpoint
    from xdrec_agent.server import lifecycle

    endpoint = resolve_endpoint(configured)
    async with LLMClient(endpoint, configured.llm) as client:
        can = await client.capabilities()
    state = lifecycle.status(configured.server_dir).state if endpoint.managed else None
    return {
        "model": endpoint.model,
        "base_url": endpoint.base_url,
        "started_by_us": endpoint.managed,
        "pid": state.leader.pid if state else None,
        "ranking": describe_ranking(can),
        "capabilities": can.model_dump(),
    }
