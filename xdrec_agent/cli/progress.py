"""Progress bars on stderr that leave nothing behind and are not there where nobody sees them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

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
