"""`xdrec adapt use`. Reads an adapter, makes it the language model that the settings name."""

from __future__ import annotations

from typing import Annotated

import typer

from retrieval.errors import UsageError
from xdrec_agent.cli.context import diagnostics, settings


def use(
    name: Annotated[str, typer.Argument(help="As `xdrec adapt list` shows it.")],
    beside: Annotated[
        bool, typer.Option("--beside", help="Serve it beside the base model: no merging, but slower prompts.")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Merge an adapter into its base model and name the result in xdrec.toml.

    To go back, set llm.model (or encoder.model) to the base model again.

    \b
    Examples:
      xdrec adapt use taste
      xdrec adapt use taste --beside
    """
    import json

    from xdrec_agent.app import Value, set_values
    from xdrec_agent.models import BaseModelId, check_name, merge, read_manifest
    from xdrec_agent.models import library as models
    from xdrec_agent.settings import config_file

    configured = settings()
    folder = configured.adapters_dir / check_name(name)
    manifest = read_manifest(folder)
    base = models.find(manifest.base.name, configured.models_dir)
    manifest.check(BaseModelId.of(manifest.base.name, base))
    values: dict[str, Value]
    if beside and manifest.section == "encoder":
        raise UsageError("an encoder's adapter cannot be served beside its base model", hint=f"xdrec adapt use {name}")
    if beside:
        served = {known: str(path) for known, path in configured.llm.adapters.items()} | {name: str(folder)}
        values = {"model": manifest.base.name, "adapters": served, "adapter": name}
    else:
        with diagnostics().status(f"merging {name} into {manifest.base.name}"):
            merged = merge(folder, base, manifest.base.name, configured.models_dir)
        values = {"model": merged.name, "adapter": None} if manifest.section == "llm" else {"model": merged.name}
    set_values(config_file(), manifest.section, values)
    if json_:
        typer.echo(json.dumps({"adapter": name, "beside": beside, "model": values["model"]}, indent=2))
        return
    also = f", llm.adapter = {name}" if beside else ""
    typer.echo(f"{config_file()}: {manifest.section}.model = {values['model']}{also}")
    again = "xdrec index DOMAIN" if manifest.section == "encoder" else "xdrec llm down, then xdrec llm up,"
    typer.echo(f"{again} puts it to use", err=True)
