"""Options that several commands of `xdrec-eval` share, besides those that all commands do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

import typer

SPLITS: Final = "cold-target, leave-last-out or temporal"
"""How a user's interactions are parted."""

CandidateKind: TypeAlias = Literal["count-matched", "retrieved"]
"""How the candidates of a list are drawn."""
ComparedPart: TypeAlias = Literal["explanations", "answers"]
"""What an LLM judge compares: reasons for the same item, or whole lists."""

DataFolder: TypeAlias = Annotated[Path, typer.Option(help="The folder amazon-three-domains, or the one it lies in.")]
Assignments: TypeAlias = Annotated[
    list[str] | None, typer.Option("--set", metavar="SECTION.NAME=VALUE", help="A setting.")
]
Judges: TypeAlias = Annotated[
    list[str] | None, typer.Option("--judge", metavar="NAME", help="This judge alone; again for more. Default: all.")
]
ReportFolder: TypeAlias = Annotated[
    Path | None, typer.Option("--out", help="Write report.html, report.md and report.json here.")
]
RunFolderArgument: TypeAlias = Annotated[
    Path, typer.Argument(metavar="FOLDER", help="The run's folder; a stopped run goes on.")
]
RunName: TypeAlias = Annotated[
    str | None, typer.Option("--name", help="What tables call it; default: the folder's name.")
]
TaskName: TypeAlias = Annotated[
    str, typer.Option("--task", help="rerank: 20 given candidates; catalogue: the whole target.")
]
Split: TypeAlias = Annotated[str, typer.Option("--split", help=f"What is history and what truth: {SPLITS}.")]
Candidates: TypeAlias = Annotated[str, typer.Option("--candidates", help="rerank: count-matched or retrieved.")]
Users: TypeAlias = Annotated[
    int, typer.Option("--users", min=1, help="Users, by hash; catalogue: all their directions.")
]
SampleSeed: TypeAlias = Annotated[int, typer.Option("--seed", help="Of users and candidates.")]
Repeats: TypeAlias = Annotated[int, typer.Option("--repeats", min=1, help="rerank: seeds of shuffles to average over.")]
StatisticsSeed: TypeAlias = Annotated[
    int, typer.Option("--seed", help="Of the bootstrap and of the permutations or sign flips.")
]
RelevantEffect: TypeAlias = Annotated[
    float | None, typer.Option("--effect", min=1e-9, help="The difference that would matter.")
]
