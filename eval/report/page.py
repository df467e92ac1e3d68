"""The forms of a report. Reads a `Page` (a verdict, plots and tables), produces HTML, Markdown, JSON and tables in the
terminal; all of them say the same.

Names of arms, metrics, models and slices come from run folders that anybody may have made: every form makes them
printable and escapes them.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import rich.table
from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.text import Text

from eval.report.cells import Table
from eval.report.charts import chart_style, one_line, picture, printable
from eval.report.plots import State
from retrieval.errors import UsageError
from retrieval.files import write_atomic

_WIDTH: Final = 170
"""Columns of the table where there is no terminal, so that it reads in a log file."""


@dataclass(frozen=True)
class Plot:
    """A drawing with its heading and how to read it."""

    title: str
    text: str
    drawing: Markup


@dataclass(frozen=True)
class Page:
    """A report before it has a form. Its texts may hold anything: the form makes them printable and escapes them.

    Attributes:
        title: of the window.
        facts: what was compared, by name.
        notes: what a reader must know beside the verdict; shown in every form.
        plots: over the whole width; `beside`: side by side. The page alone shows them.
        reading: how to read the numbers.
        details: longer texts to unfold, by heading.
        command: makes this report again, from `source`.
        json: the result itself.
    """

    title: str
    verdict: str
    state: State
    facts: Mapping[str, str]
    tables: tuple[Table, ...]
    reading: str
    command: str
    source: str
    json: str
    notes: tuple[str, ...] = ()
    plots: tuple[Plot, ...] = ()
    beside: tuple[Plot, ...] = ()
    details: tuple[tuple[str, str], ...] = ()


def write_page(page: Page, folder: Path) -> Path:
    """Write report.html, .md, .json and the first plot, report.svg, into the folder, each whole or not at all.

    Returns: the path of the HTML page.

    Raises:
        UsageError: the folder cannot be written.
    """
    forms = {"report.html": html_of(page), "report.md": markdown_of(page), "report.json": page.json + "\n"}
    if page.plots:
        forms["report.svg"] = picture(page.plots[0].drawing)
    try:
        for name, text in forms.items():
            write_atomic(folder / name, text)
    except OSError as exc:
        raise UsageError(f"{folder} cannot be written: {exc.strerror}", hint="give --out another folder") from exc
    return folder / "report.html"


def print_page(page: Page, console: Console) -> None:
    """Print the verdict, the notes and the tables."""
    if not console.is_terminal:
        console.width = max(console.width, _WIDTH)
    console.print(Text(one_line(page.verdict), style="bold"))
    for note in page.notes:
        console.print(Text(one_line(note)))
    for table in page.tables:
        shown = rich.table.Table(
            title=Text(one_line(table.title)), title_justify="left", title_style="", box=SIMPLE_HEAD
        )
        for name, numeric in zip(table.columns, table.numeric, strict=True):
            heading = Text(one_line(name))
            shown.add_column(heading, justify="right" if numeric else "left", no_wrap=numeric, overflow="fold")
        for row in table.rows:
            shown.add_row(*(Text(printable(cell.text)) for cell in row))
        console.print(shown)


def markdown_of(page: Page) -> str:
    """The report as GitHub's Markdown."""
    parts = [f"**{_escaped(page.verdict)}**", *map(_escaped, page.notes)]
    if page.plots:
        parts.append(f"![{_escaped(page.plots[0].title)}](report.svg)")
    for table in page.tables:
        lines = [
            [_escaped(name) for name in table.columns],
            ["---:" if numeric else "---" for numeric in table.numeric],
            *(["<br>".join(map(_escaped, cell.text.split("\n"))) for cell in row] for row in table.rows),
        ]
        parts += [_escaped(table.title) + ":", "\n".join(f"| {' | '.join(line)} |" for line in lines)]
    code = one_line(page.command).replace("`", "'")
    parts.append(f"Printed by `{code}`, {page.source}.")
    return "\n\n".join(parts) + "\n"


def html_of(page: Page) -> str:
    """The report as one page that asks nothing of the network and allows no script but its own."""
    return _template().render(page=page, charts=chart_style()) + "\n"


@cache
def _template() -> Template:
    def finalize(value: object) -> object:
        return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=finalize
    )
    environment.filters["digest"] = _digest
    return environment.from_string(Path(__file__).with_name("report.html.jinja").read_text(encoding="utf-8"))


def _digest(text: str) -> str:
    """What a content security policy knows an inline script or style by."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _escaped(text: str) -> str:
    """Markdown that shows the text as it is, on one line, also in a cell of a table."""
    return re.sub(
        r"[\\`*>|~$]|<(?=[\w/!?])|&(?=[\w#])|(?<![A-Za-z0-9])(_)|(_)(?![A-Za-z0-9])|(\])(?=[(\[:])",
        r"\\\g<0>",
        one_line(text),
    )
