"""`xdrec adapt`. Trains, lists and puts to use what adapts the models to the domains at hand."""

from __future__ import annotations

import typer

from xdrec_agent.cli.adapt_encoder import encoder
from xdrec_agent.cli.adapt_list import list_
from xdrec_agent.cli.adapt_llm import llm
from xdrec_agent.cli.adapt_use import use

app = typer.Typer(help="Adapt the models to your domains.", no_args_is_help=True)
app.command("encoder")(encoder)
app.command("llm")(llm)
app.command("list")(list_)
app.command("use")(use)
