"""How a training is shown. Reads its progress, draws a bar with loss, speed and time left, or prints lines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Final

from xdrec_agent.cli.context import diagnostics

if TYPE_CHECKING:
    from retrieval.adapt import Progress, Report

_EVERY_S: Final = 30.0


@contextmanager
def training_bar(name: str) -> Iterator[Report]:
    """What `train` reports to."""
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    console = diagnostics()
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"))
    said = monotonic()
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"{name}: reading data and model", total=None, state="")

        def report(now: Progress) -> None:
            nonlocal said
            bar.update(task, description=name, completed=now.step, total=now.planned, state=_state(now))
            if not console.is_terminal and monotonic() - said >= _EVERY_S:
                said = monotonic()
                console.print(f"{name}: {_state(now)}", markup=False)

        yield report


def _state(now: Progress) -> str:
    left = "" if now.left is None else f", {now.left / 60:.0f} min left"
    of = "" if now.planned is None else f" of {now.planned}"
    return f"step {now.step}{of}, loss {now.loss:.3f}, {now.rate:,.0f} tokens/s{left}"
