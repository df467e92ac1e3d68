"""What a comparison of arms looks like. Reads an ABResult, produces report.html, report.md and report.json, or tables
in the terminal; all of them say the same.

Names of arms, metrics, models and slices come from run folders that anybody may have made: every form escapes them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shlex
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from eval.ab import ABResult, Arm, Comparison
from eval.paired import ALPHA, decimals_for, number_text, p_text, writer
from eval.report_svg import Dot, Effect, State, forest, scatter, shares
from eval.run_folder import Manifest
from retrieval.errors import UsageError

UNKNOWN: Final = "cannot tell"
NOTHING: Final = "—"
_WIDTH: Final = 170
"""Columns of the table where there is no terminal, so that it reads in a log file."""
_LONGEST: Final = 60
"""Characters of a setting's value that a table shows."""
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


def write_report(result: ABResult, folder: Path) -> None:
    """Write report.html, report.md and report.json into the folder, each whole or not at all.

    Raises:
        UsageError: the folder cannot be written.
    """
    forms = {
        "report.html": to_html(result),
        "report.md": to_markdown(result),
        "report.json": result.model_dump_json(indent=2) + "\n",
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in forms.items():
            partial = folder / f".{name}.partial"
            partial.write_text(text, encoding="utf-8", newline="\n")
            os.replace(partial, folder / name)
    except OSError as exc:
        raise UsageError(f"{folder} cannot be written: {exc.strerror}", hint="give --out another folder") from exc


def print_ab(result: ABResult, console: Console) -> None:
    """Print the verdict and the tables."""
    if not console.is_terminal:
        console.width = max(console.width, _WIDTH)
    console.print(Text(plain(result.verdict), style="bold"))
    for sheet in _sheets(result):
        table = Table(title=Text(sheet.title), title_justify="left", title_style="", box=SIMPLE_HEAD)
        for name, numeric in zip(sheet.columns, sheet.numeric, strict=True):
            table.add_column(Text(name), justify="right" if numeric else "left", no_wrap=numeric, overflow="fold")
        for row in sheet.rows:
            table.add_row(*(Text(cell.text) for cell in row))
        console.print(table)


def to_markdown(result: ABResult) -> str:
    """The report as GitHub's Markdown."""
    parts = [f"**{_escaped(plain(result.verdict))}**"]
    for sheet in _sheets(result):
        lines = [
            [_escaped(name) for name in sheet.columns],
            ["---:" if n else "---" for n in sheet.numeric],
            *([_escaped(cell.text) for cell in row] for row in sheet.rows),
        ]
        parts += [_escaped(sheet.title) + ":", "\n".join(f"| {' | '.join(line)} |" for line in lines)]
    code = command(result).replace("`", "'")
    parts.append(f"Printed by `{code}`, with the run folders of the arms in this order.")
    return "\n\n".join(parts) + "\n"


def to_html(result: ABResult) -> str:
    """The report as one page that asks nothing of the network and allows no script but its own."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["digest"] = _digest
    page = environment.from_string(Path(__file__).with_name("report.html.jinja").read_text(encoding="utf-8"))
    decisive = result.comparisons[0]
    tested = [c for c in result.comparisons if c.slice == "all"]
    sliced = [c for c in result.comparisons if c.slice != "all"]
    first = result.arms[0].manifest
    return page.render(
        verdict=plain(result.verdict),
        state=_state(decisive),
        metric=plain(decisive.metric),
        first=plain(first.name),
        arms=[plain(arm.manifest.name) for arm in result.arms],
        facts={"task": first.task, **{plain(k): plain(str(v)) for k, v in first.protocol.items()}},
        data=plain(first.data)[:12],
        tested=_forest(result, tested),
        adjusted=decisive.adjusted is not None,
        sliced=_forest(result, sliced) if sliced else None,
        costs=_costs(result, decisive.metric),
        sheets=[(sheet, sheet.numeric) for sheet in _sheets(result)],
        manifests=[(plain(arm.manifest.name), _listed(arm.manifest)) for arm in result.arms],
        command=command(result),
    ) + "\n"  # fmt: skip


def command(result: ABResult) -> str:
    """The command that makes this report from the arms' run folders."""
    metrics = dict.fromkeys(c.metric for c in result.comparisons)
    words = [f"--metric {shlex.quote(plain(metric))}" for metric in metrics]
    return " ".join(["xdrec-eval ab RUN-FOLDER…", *words, "--out REPORT-FOLDER"])


def _sheets(result: ABResult) -> tuple[Sheet, Sheet]:
    return _comparisons(result), _arms(result)


def _comparisons(result: ABResult) -> Sheet:
    """Every comparison and its numbers."""
    columns = (
        "arm", "metric", "slice", "difference", "95% interval", "p", "p after Holm", "dz", "better / equal / worse",
        "users", "differing", "smallest effect seen",
    )  # fmt: skip
    first = plain(result.arms[0].manifest.name)
    title = f"Differences from {first}, with users as units"
    return Sheet(title, columns, tuple(_compared(c) for c in result.comparisons))


def _arms(result: ABResult) -> Sheet:
    """Every arm: what it is, how it scored in what is compared, and what it cost a user."""
    settings = [_settings(arm) for arm in result.arms]
    names = sorted({name for found in settings for name in found})
    differing = [name for name in names if len({found.get(name) for found in settings}) > 1]
    metrics = list(dict.fromkeys(comparison.metric for comparison in result.comparisons))
    costs = ("tokens", "cached tokens", "requests", "seconds", "degraded", "cache hits")
    rows = []
    for arm, found in zip(result.arms, settings, strict=True):
        summary, manifest = arm.summary, arm.manifest
        own = "\n".join(f"{name} = {found.get(name, NOTHING)}" for name in differing)
        rows.append((
            Cell(plain(manifest.name), plain(manifest.name)),
            Cell(plain(manifest.model or NOTHING), plain(manifest.model or "")),
            Cell(own or NOTHING, own),
            *(_score(summary.metrics.get(metric)) for metric in metrics),
            *(_amount(v) for v in (summary.tokens, summary.cached_tokens, summary.requests, summary.seconds)),
            Cell(_percent(summary.degraded), summary.degraded),
            _amount(summary.cache_hits),
        ))  # fmt: skip
    title = "Arms: means over users, costs a user"
    return Sheet(title, ("arm", "model", "what differs", *map(plain, metrics), *costs), tuple(rows))


def plain(text: str) -> str:
    """The text on one line, without characters that control terminals or direction, or that XML lacks."""
    bad = {"Cc", "Cs", "Cn"}
    kept = ("\ufffd" if c in _BIDI or unicodedata.category(c) in bad else c for c in " ".join(text.split()))
    return "".join(kept)


def _compared(comparison: Comparison) -> tuple[Cell, ...]:
    d = comparison.difference
    nothing = Cell(NOTHING)
    seen = d.detectable
    return (
        Cell(plain(comparison.arm), plain(comparison.arm)),
        Cell(plain(comparison.metric), plain(comparison.metric)),
        Cell(plain(comparison.slice), plain(comparison.slice)),
        Cell(writer(d)(d.mean), d.mean),
        Cell(_ends(comparison), d.low),
        Cell(UNKNOWN if d.p_value is None else _p(d.p_value), d.p_value),
        nothing if comparison.adjusted is None else Cell(_p(comparison.adjusted), comparison.adjusted),
        nothing if d.dz is None else Cell(number_text(d.dz, 2), d.dz),
        Cell(_shares(d.better, d.equal, d.worse), d.better, shares(d.better, d.equal, d.worse)),
        Cell(f"{d.users:,}", d.users),
        Cell(f"{d.differing:,}", d.differing),
        nothing if seen is None else Cell(number_text(seen, decimals_for(seen)), seen),
    )


def _ends(comparison: Comparison) -> str:
    """The ends of the interval, or that there is none."""
    d = comparison.difference
    if d.low is None or d.high is None:
        return UNKNOWN
    write = writer(d)
    return f"[{write(d.low)}, {write(d.high)}]"


def _forest(result: ABResult, comparisons: list[Comparison]) -> Markup:
    several = len(result.arms) > 2
    first = plain(result.arms[0].manifest.name)
    other = "the other arm" if several else plain(result.arms[1].manifest.name)
    effects = []
    for c in comparisons:
        part = plain(c.metric if c.slice == "all" else c.slice)
        d = c.difference
        text = f"{writer(d)(d.mean)} {_ends(c)}"
        group = _short(plain(c.arm), 40) if several else ""
        effects.append(Effect(_short(part), text, d.mean, d.low, d.high, _state(c), d.few_differ, group))
    said = "; ".join(f"{plain(c.arm)}, {plain(c.metric)}, {plain(c.slice)}: {plain(c.verdict)}" for c in comparisons)
    return forest(
        effects,
        f"Forest plot of paired differences. {said}",
        (f"{_short(first, 20)} better", f"{_short(other, 20)} better"),
    )


def _costs(result: ABResult, metric: str) -> list[tuple[str, Markup]]:
    """Quality against seconds, and against tokens where any were used."""
    scored = [(a, a.summary.metrics[metric]) for a in result.arms if metric in a.summary.metrics]
    plots = []
    for name in ("tokens", "seconds"):
        costs = [float(getattr(arm.summary, name)) for arm, _ in scored]
        if not any(costs):
            continue
        dots = [
            Dot(_short(plain(arm.manifest.name)), cost, quality, first=arm is result.arms[0])
            for (arm, quality), cost in zip(scored, costs, strict=True)
        ]
        said = "; ".join(f"{d.label}: {_score(d.quality).text} at {_amount(d.cost).text} {name}" for d in dots)
        drawn = scatter(dots, f"Quality against {name} a user. {said}", f"{name} a user", f"mean {plain(metric)}")
        plots.append((name, drawn))
    return plots


def _state(comparison: Comparison) -> State:
    if comparison.slice != "all":
        return "described"
    p = comparison.difference.p_value if comparison.adjusted is None else comparison.adjusted
    if p is None or p > ALPHA:
        return "open"
    return "better" if comparison.difference.mean > 0 else "worse"


def _listed(manifest: Manifest) -> str:
    return json.dumps(manifest.model_dump(mode="json"), indent=2)


def _settings(arm: Arm) -> dict[str, str]:
    """What could tell the arm from another, the model aside, by dotted name."""
    manifest = arm.manifest
    templates = {task: fingerprint[:12] for task, fingerprint in manifest.templates.items()}
    known: dict[str, Any] = {
        **manifest.settings, "template": templates, "version": manifest.versions, "commit": manifest.commit,
        "server": manifest.server_version,
    }  # fmt: skip
    return dict(_flat(known))


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    found = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{plain(name)}.")
        elif value is not None:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            found.append((f"{prefix}{plain(name)}", _short(plain(text), _LONGEST)))
    return found


def _score(value: float | None) -> Cell:
    return Cell(NOTHING) if value is None else Cell(number_text(value, 3), value)


def _amount(value: float) -> Cell:
    return Cell(number_text(value, decimals_for(value)) if value else "0", value)


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%" if 0 < share < 0.01 else f"{100 * share:.0f}%"


def _shares(*parts: float) -> str:
    return " / ".join(_percent(share).rstrip("%") for share in parts) + "%"


def _p(p: float) -> str:
    return p_text(p).removeprefix("p ").removeprefix("= ")


def _short(text: str, longest: int = _LABEL) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _digest(text: str) -> str:
    """What a content security policy knows an inline script or style by."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _escaped(text: str) -> str:
    """Markdown that shows the text as it is, also in a cell of a table."""
    text = re.sub(
        r"[\\`*>|~$]|<(?=[\w/!?])|&(?=[\w#])|(?<![A-Za-z0-9])(_)|(_)(?![A-Za-z0-9])|(\])(?=[(\[:])", r"\\\g<0>", text
    )
    return text.replace("\n", "<br>")
