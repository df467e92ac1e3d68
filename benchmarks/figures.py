"""What a benchmark prints and writes. Reads figures, produces a table and a JSON file."""

from __future__ import annotations

import operator
import platform
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

import psutil
from pydantic import Field
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from eval.runs import commit
from eval.stats import Estimate
from retrieval.files import write_atomic
from retrieval.types import Frozen

_WIDTH: Final = 150
"""Fewest columns that the table takes, so that it reads in a log file."""
_PACKAGES: Final = ("xdrec", "chromadb", "numpy", "pyarrow", "sentence-transformers", "torch")
_REACHES: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
"""How a value is compared with a target, by what stands before the target's number."""


class Figure(Frozen):
    """One measured number. `n` is how many things it is a figure of; `met` is None where there is no target."""

    name: str
    value: float
    unit: str = ""
    target: str | None = None
    met: bool | None = None
    n: int
    note: str = ""


def figure(
    name: str,
    value: float,
    unit: str = "",
    n: int = 1,
    note: str = "",
    target: str | None = None,
    met: bool | None = None,
) -> Figure:
    """A figure whose target is a bound: "< 250", ">= 0.9", or "1" for exactly that.

    Args:
        met: for a target that says more than a bound.
    """
    if target is not None and met is None:
        sign, _, bound = target.rpartition(" ")
        met = bool(_REACHES[sign](value, float(bound)))
    return Figure(name=name, value=value, unit=unit, target=target, met=met, n=n, note=note)


def estimate_figure(
    name: str, found: Estimate, unit: str = "", *, least: float | None = None, cases: str = "cases"
) -> Figure:
    """An estimate with its interval; a `least` value is reached if the interval lies above 1, too."""
    note = f"95% {found}, {found.cases:,} {cases}; n: users"
    if least is None:
        return figure(name, found.value, unit, found.users, note)
    met = found.value >= least and found.low > 1
    return figure(name, found.value, unit, found.users, note, f">= {least}, lower end > 1", met)


class Machine(Frozen):
    """Where it was measured."""

    processor: str
    cores: int
    memory_gib: float
    system: str


class Report(Frozen):
    """A run of one benchmark."""

    benchmark: str
    finished: datetime
    machine: Machine
    versions: dict[str, str]
    commit: str | None = Field(description="None outside a checkout; ends with + if the checkout was changed")
    figures: tuple[Figure, ...]


def make_report(benchmark: str, figures: Sequence[Figure]) -> Report:
    """The figures with what is needed to judge them."""
    return Report(
        benchmark=benchmark,
        finished=datetime.now(UTC),
        machine=_machine(),
        versions={"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}},
        commit=commit(),
        figures=tuple(figures),
    )


def write_report(report: Report, path: Path) -> None:
    """Write the report as JSON."""
    write_atomic(path, report.model_dump_json(indent=2) + "\n")


def print_report(report: Report, console: Console) -> None:
    """Print the report as a table."""
    machine = report.machine
    table = Table(
        title=f"{report.benchmark}, commit {report.commit or 'unknown'}",
        caption=f"{machine.processor}, {machine.cores} cores, {machine.memory_gib:.0f} GiB, {machine.system}",
        title_justify="left",
        caption_justify="left",
        box=SIMPLE_HEAD,
    )
    for heading in ("name", "value", "unit", "target", "met", "n", "note"):
        table.add_column(heading, justify="right" if heading in {"value", "n"} else "left", no_wrap=heading != "note")
    for one in report.figures:
        met = {True: "[green]yes", False: "[red]no", None: ""}[one.met]
        cells = (one.name, f"{one.value:.4g}", one.unit, one.target or "", met, f"{one.n:,}")
        table.add_row(*cells, one.note.replace("[", r"\["))
    console.width = max(console.width, _WIDTH)
    console.print(table)


def _machine() -> Machine:
    return Machine(
        processor=_processor(),
        cores=psutil.cpu_count() or 0,
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
        system=platform.platform(),
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
