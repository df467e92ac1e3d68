"""Options that several commands share, of `xdrec` and of `xdrec-eval`: one name, one meaning, one help text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

Texts: TypeAlias = list[str]

Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes: TypeAlias = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Rebuild: TypeAlias = Annotated[bool, typer.Option("--rebuild", help="Start anew, with the configured encoder.")]
Explain: TypeAlias = Annotated[bool, typer.Option("--explain/--no-explain", help="Write reasons.")]
Language: TypeAlias = Annotated[
    str | None, typer.Option("--lang", metavar="CODE", help="Language of the reasons; default: the configured one.")
]
Style: TypeAlias = Annotated[str | None, typer.Option(help="Of the reasons: short, detailed or playful.")]
Count: TypeAlias = Annotated[int, typer.Option("-k", min=1, max=1000, help="How many.")]

Sources: TypeAlias = Annotated[
    Texts, typer.Option("--from", metavar="DOMAIN", help="Source domain; may be given again.")
]
Target: TypeAlias = Annotated[str, typer.Option("--to", metavar="DOMAIN", help="Target domain.")]
KnownUser: TypeAlias = Annotated[
    str | None, typer.Option("--user", metavar="USER", help="A user whose interactions are in the store.")
]

DomainArgument: TypeAlias = Annotated[str, typer.Argument(metavar="DOMAIN", help="Whose items they are.")]
UserArgument: TypeAlias = Annotated[str, typer.Argument(metavar="USER", help="The user's id.")]

Host: TypeAlias = Annotated[
    str | None, typer.Option("--host", help="Address to listen on; others than this machine need keys.")
]
Port: TypeAlias = Annotated[int | None, typer.Option("--port", min=0, max=65535, help="0: any that is free.")]
Output: TypeAlias = Annotated[
    Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write it there; default: stdout.")
]
