"""What the trainings of `xdrec adapt` share. Reads options and progress, produces settings and a progress bar."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import permutations
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from retrieval.errors import UsageError
from xdrec_agent.cli.context import diagnostics

if TYPE_CHECKING:
    from retrieval.adapt import ReportProgress, SplitSettings, TrainingProgress

_LINE_EVERY_S: Final = 30.0

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


def parse_pairs(
    pairs: Sequence[str] | None, without: Sequence[str] | None, known: Sequence[str]
) -> list[tuple[str, str]]:
    """The named pairs, or all, less those of the domains to leave out. Raises UsageError."""
    named = []
    for text in pairs or ():
        source, colon, target = text.partition(":")
        if not (source and colon and target):
            raise UsageError(f"--pair {text!r} is not SOURCE:TARGET", hint="for example --pair films:books")
        named.append((source, target))
    if unknown := sorted(set(without or ()) - set(known)):
        raise UsageError(f"--without {unknown[0]!r}: there is no such domain", hint=f"there are: {', '.join(known)}")
    kept = [pair for pair in named or permutations(known, 2) if not set(pair) & set(without or ())]
    if not kept:
        raise UsageError("no pair of domains is left to learn", hint="training needs two domains")
    return kept


def split_settings(users_file: Path | None, folds: list[int] | None) -> SplitSettings:
    """Which users are learnt from."""
    from retrieval.adapt import TEST_FOLD, SplitSettings

    return SplitSettings(users_file=users_file, left_out=tuple([TEST_FOLD] if folds is None else folds))


@contextmanager
def training_bar(name: str) -> Iterator[ReportProgress]:
    """A bar with loss, speed and time left; a line now and then where there is no terminal."""
    from rich.progress import BarColumn, Progress, TextColumn

    console = diagnostics()
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"))
    printed = monotonic()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"{name}: reading data and model", total=None, state="")

        def report(progress: TrainingProgress) -> None:
            nonlocal printed
            state = _progress_text(progress)
            bar.update(task, description=name, completed=progress.step, total=progress.planned, state=state)
            if not console.is_terminal and monotonic() - printed >= _LINE_EVERY_S:
                printed = monotonic()
                console.print(f"{name}: {state}", markup=False)

        yield report


def _progress_text(progress: TrainingProgress) -> str:
    done, left = f"step {progress.step} of {progress.planned}", f"{progress.left / 60:.0f} min left"
    return f"{done}, loss {progress.loss:.3f}, {progress.speed:,.0f} tokens/s, {left}"
