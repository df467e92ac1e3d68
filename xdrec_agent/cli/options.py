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

Name: TypeAlias = Annotated[str, typer.Argument(metavar="NAME", help="What the adapter will be called.")]
Pairs: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--pair", metavar="SOURCE:TARGET", help="A pair to learn; again for more. Default: all."),
]
Without: TypeAlias = Annotated[
    list[str] | None, typer.Option(metavar="DOMAIN", help="Learn nothing of this domain; again for more.")
]
UsersFile: TypeAlias = Annotated[Path | None, typer.Option(help="Learn from these users only, one a line.")]
Folds: TypeAlias = Annotated[
    list[int] | None,
    typer.Option(metavar="FOLD", help="Folds of users to leave out; again for more. Default: the test fold."),
]
Minutes: TypeAlias = Annotated[float | None, typer.Option(min=1, help="End after so many, with the best weights then.")]
Rank: TypeAlias = Annotated[int, typer.Option(min=1, help="Of the low-rank matrices.")]
Layers: TypeAlias = Annotated[int | None, typer.Option(min=1, help="Adapt the last ones only, which is faster.")]
LearningRate: TypeAlias = Annotated[float, typer.Option(help="Of the optimizer, at its highest.")]
Seed: TypeAlias = Annotated[int, typer.Option(help="Decides order, negatives and first weights.")]
Restart: TypeAlias = Annotated[bool, typer.Option("--restart", help="Forget an unfinished training of this name.")]
