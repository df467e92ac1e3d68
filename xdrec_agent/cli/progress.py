"""Progress bars on stderr that leave nothing behind and are not there where nobody sees them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Final, Protocol

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from xdrec_agent.cli.context import diagnostics

if TYPE_CHECKING:
    from retrieval.adapt import ReportProgress, TrainingProgress

_LINE_EVERY_S: Final = 30.0


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f}/s" if task.speed else "")


class CountProgress(Protocol):
    """Shows how many rows or items are done, and of how many (None: as before)."""

    def __call__(self, done: int, total: int | None = None, /) -> None:
        """Show it."""
        ...


@contextmanager
def counting_bar(description: str, total: int | None = None) -> Iterator[CountProgress]:
    """Counts rows or items, with how many a second."""
    with _bar(MofNCompleteColumn(), _Rate()) as bar:
        task = bar.add_task(description, total=total)

        def show(done: int, total: int | None = None) -> None:
            bar.update(task, completed=done, total=total)

        yield show


def download_bar() -> Progress:
    """Counts bytes."""
    return _bar(DownloadColumn())


def _bar(*count: ProgressColumn) -> Progress:
    console = diagnostics()
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        *count,
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


@contextmanager
def training_bar(name: str) -> Iterator[ReportProgress]:
    """A bar with loss, speed and time left; a line now and then where there is no terminal."""
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
