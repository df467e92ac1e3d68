"""Tables of a report. Reads names and numbers, produces cells that say how they are written and by what they sort."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from eval.report.charts import one_line
from eval.stats import decimals_for, number_text, p_text

UNKNOWN: Final = "cannot tell"
NOTHING: Final = "—"


@dataclass(frozen=True)
class Cell:
    """What a table shows, and the value it sorts by (None: last). A line break separates entries."""

    text: str
    value: float | str | None = None
    picture: Markup | None = None


EMPTY: Final = Cell(NOTHING)
Row = Sequence[tuple[str, Cell]]
"""The cells of a row, each with the heading of its column."""


@dataclass(frozen=True)
class Table:
    """A table of any form: its columns and rows."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    @classmethod
    def of(cls, title: str, rows: Iterable[Row]) -> Table:
        """A table of at least one row; all have the same headings."""
        named = list(rows)
        return cls(title, tuple(name for name, _ in named[0]), tuple(tuple(cell for _, cell in row) for row in named))

    @property
    def numeric(self) -> list[bool]:
        """Whether a column holds numbers, for each."""
        columns = zip(*self.rows, strict=True)
        return [not any(isinstance(cell.value, str) for cell in cells) for cells in columns]


def text(text: str) -> Cell:
    """A name, which the table sorts by."""
    return Cell(one_line(text), one_line(text))


def count(count: float) -> Cell:
    """A number of things."""
    return Cell(f"{count:,.0f}", float(count))


def score(value: float | None, decimals: int = 3) -> Cell:
    """A number with these decimals."""
    return EMPTY if value is None else Cell(number_text(value, decimals), value)


def amount(value: float | None) -> Cell:
    """A number of any size, with two digits."""
    return EMPTY if value is None else Cell(number_text(value, decimals_for(value)) if value else "0", value)


def share(value: float | None) -> Cell:
    """A share in [0, 1]."""
    return EMPTY if value is None else Cell(percent(value), value)


def p_value(p: float | None, otherwise: str = UNKNOWN) -> Cell:
    """A p-value; None: there is none."""
    return Cell(otherwise) if p is None else Cell(p_text(p).removeprefix("p ").removeprefix("= "), p)


def percent(share: float) -> str:
    """A share in [0, 1] as it is written: 12%, 0.4%."""
    return f"{100 * share:.1f}%" if 0 < share < 0.01 else f"{100 * share:.0f}%"


def interval(low: float | None, high: float | None, write: Callable[[float], str]) -> str:
    """The ends of an interval; nothing where there is none."""
    return "" if low is None or high is None else f"[{write(low)}, {write(high)}]"


def estimate(value: float, low: float | None, high: float | None, write: Callable[[float], str]) -> str:
    """A value and the ends of its interval, if there is one."""
    return f"{write(value)} {interval(low, high, write)}".rstrip()


def short(text: str, longest: int = 30) -> str:
    """The text on one line, cut where a label has no more room."""
    text = one_line(text)
    return text if len(text) <= longest else text[: longest - 1] + "…"
