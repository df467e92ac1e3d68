"""Progress bars on stderr that leave nothing behind and are not there where nobody sees them."""

from __future__ import annotations

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


def counting_bar() -> Progress:
    """Counts rows or items, with how many a second."""
    return _bar(MofNCompleteColumn(), _Rate())


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
