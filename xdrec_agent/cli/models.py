"""`xdrec models`. Reads names, pulls, lists and removes model folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xdrec_agent.cli.context import print_json, settings
from xdrec_agent.cli.options import Json

if TYPE_CHECKING:
    from xdrec_agent.settings import Settings

app = typer.Typer(help="Model files: encoder and language models.", no_args_is_help=True)


@app.command()
def pull(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME…", help="Names of the table, Hugging Face ids, or folders.")
    ] = None,
) -> None:
    """Fetch models and check them; without a name the configured encoder and language model.

    \b
    Examples:
      xdrec models pull
      xdrec models pull qwen2.5-coder-1.5b-instruct
      xdrec models pull Qwen/Qwen2.5-7B-Instruct
    """
    configured = settings()
    for name in names or needed(configured):
        typer.echo(f"{name}: {pulled(name, configured)}")


def pulled(name: str, configured: Settings) -> Path:
    """Fetch one model behind a progress bar where it is not here; its folder."""
    from xdrec_agent.cli.progress import download_bar
    from xdrec_agent.models import pull_model

    with download_bar() as bar:
        task = bar.add_task(name, total=None)
        return pull_model(
            name,
            configured.models_dir,
            offline=configured.offline,
            progress=lambda stage, done, total: bar.update(
                task, description=f"{name}: {stage}", completed=done, total=total
            ),
        )


def needed(configured: Settings) -> list[str]:
    """The models that have to be here: the language model of a configured endpoint is elsewhere."""
    own = [] if configured.llm.base_url else [configured.llm.model]
    return [configured.encoder.model, *own]


@app.command("list")
def list_(json_: Json = False) -> None:
    """The models of the table and those that are here.

    \b
    Examples:
      xdrec models list
      xdrec models list --json
    """
    from xdrec_agent.models import list_models

    found = list_models(settings().models_dir)
    if json_:
        print_json(found)
        return
    for model in found:
        size = f"{(model.bytes or 0) / 1e6:,.0f} MB" if model.path else "not here"
        typer.echo(f"{model.name:32} {model.kind or '':8} {size:>10}  {model.source or ''}")


@app.command()
def remove(name: Annotated[str, typer.Argument(help="As `xdrec models list` shows it.")]) -> None:
    """Delete a model's folder.

    \b
    Examples:
      xdrec models remove qwen2.5-coder-1.5b-instruct
    """
    from xdrec_agent.models import remove_model

    remove_model(name, settings().models_dir)
    typer.echo(f"{name}: removed")
