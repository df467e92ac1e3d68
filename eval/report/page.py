"""The forms of a report. Reads a `Page` (a verdict, plots and tables), produces HTML, Markdown, JSON and tables in the
terminal; all of them say the same.

Names of arms, metrics, models and slices come from run folders that anybody may have made: every form escapes them.
"""

from __future__ import annotations

import base64
import hashlib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from eval.report.plots import State, picture, plot_style
from eval.stats import decimals_for, number_text, p_text
from retrieval.errors import UsageError
from retrieval.files import write_atomic

UNKNOWN: Final = "cannot tell"
NOTHING: Final = "—"
_WIDTH: Final = 170
"""Columns of the table where there is no terminal, so that it reads in a log file."""
_LABEL: Final = 30
_BIDI: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass(frozen=True)
class Cell:
    """What a table shows, and the value it sorts by (None: last). A line break separates entries."""

    text: str
    value: float | str | None = None
    picture: str = ""


@dataclass(frozen=True)
class Sheet:
    """A table of any form: its columns and rows."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    @property
    def numeric(self) -> list[bool]:
        """Whether a column holds numbers, for each."""
        columns = zip(*self.rows, strict=True)
        return [not any(isinstance(cell.value, str) for cell in cells) for cells in columns]


@dataclass(frozen=True)
class Plot:
    """A drawing with its heading and how to read it."""

    title: str
    text: str
    drawing: Markup


@dataclass(frozen=True)
class Page:
    """A report before it has a form. All text is plain (`plain`), and escaped by the form.

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
    sheets: tuple[Sheet, ...]
    reading: str
    command: str
    source: str
    json: str
    notes: tuple[str, ...] = ()
    plots: tuple[Plot, ...] = ()
    beside: tuple[Plot, ...] = ()
    details: tuple[tuple[str, str], ...] = ()


def write_page(page: Page, folder: Path) -> None:
    """Write report.html, .md, .json and the first plot, report.svg, into the folder, each whole or not at all.

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


def print_page(page: Page, console: Console) -> None:
    """Print the verdict, the notes and the tables."""
    if not console.is_terminal:
        console.width = max(console.width, _WIDTH)
    console.print(Text(page.verdict, style="bold"))
    for note in page.notes:
        console.print(Text(note))
    for sheet in page.sheets:
        table = Table(title=Text(sheet.title), title_justify="left", title_style="", box=SIMPLE_HEAD)
        for name, numeric in zip(sheet.columns, sheet.numeric, strict=True):
            table.add_column(Text(name), justify="right" if numeric else "left", no_wrap=numeric, overflow="fold")
        for row in sheet.rows:
            table.add_row(*(Text(cell.text) for cell in row))
        console.print(table)


def markdown_of(page: Page) -> str:
    """The report as GitHub's Markdown."""
    parts = [f"**{_escaped(page.verdict)}**", *map(_escaped, page.notes)]
    if page.plots:
        parts.append(f"![{_escaped(page.plots[0].title)}](report.svg)")
    for sheet in page.sheets:
        lines = [
            [_escaped(name) for name in sheet.columns],
            ["---:" if n else "---" for n in sheet.numeric],
            *([_escaped(cell.text) for cell in row] for row in sheet.rows),
        ]
        parts += [_escaped(sheet.title) + ":", "\n".join(f"| {' | '.join(line)} |" for line in lines)]
    code = page.command.replace("`", "'")
    parts.append(f"Printed by `{code}`, {page.source}.")
    return "\n\n".join(parts) + "\n"


def html_of(page: Page) -> str:
    """The report as one page that asks nothing of the network and allows no script but its own."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["digest"] = _digest
    template = environment.from_string(Path(__file__).with_name("report.html.jinja").read_text(encoding="utf-8"))
    return template.render(page=page, plots=plot_style()) + "\n"


def plain(text: str) -> str:
    """The text on one line, without characters that control terminals or direction, or that XML lacks."""
    bad = {"Cc", "Cs", "Cn"}
    kept = ("\ufffd" if c in _BIDI or unicodedata.category(c) in bad else c for c in " ".join(text.split()))
    return "".join(kept)


def short(text: str, longest: int = _LABEL) -> str:
    """The text, cut where a label has no more room."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def score_cell(value: float | None) -> Cell:
    """A mean of a metric."""
    return Cell(NOTHING) if value is None else Cell(number_text(value, 3), value)


def amount_cell(value: float) -> Cell:
    """A cost."""
    return Cell(number_text(value, decimals_for(value)) if value else "0", value)


def percent_cell(share: float) -> Cell:
    """A share in [0, 1]."""
    return Cell(percent(share), share)


def p_cell(p: float | None, otherwise: str = UNKNOWN) -> Cell:
    """A p-value; None: there is none."""
    return Cell(otherwise) if p is None else Cell(p_text(p).removeprefix("p ").removeprefix("= "), p)


def percent(share: float) -> str:
    """A share in [0, 1] as it is written: 12%, 0.4%."""
    return f"{100 * share:.1f}%" if 0 < share < 0.01 else f"{100 * share:.0f}%"


def _digest(text: str) -> str:
    """What a content security policy knows an inline script or style by."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _escaped(text: str) -> str:
    """Markdown that shows the text as it is, also in a cell of a table."""
    text = re.sub(
        r"[\\`*>|~$]|<(?=[\w/!?])|&(?=[\w#])|(?<![A-Za-z0-9])(_)|(_)(?![A-Za-z0-9])|(\])(?=[(\[:])", r"\\\g<0>", text
    )
    return text.replace("\n", "<br>")
