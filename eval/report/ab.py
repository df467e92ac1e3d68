"""What a comparison of arms looks like. Reads an ABResult, produces report.html, report.md and report.json, or tables
in the terminal.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup
from rich.console import Console

from eval.report.page import (
    NOTHING,
    UNKNOWN,
    Cell,
    Page,
    Plot,
    Sheet,
    amount_cell,
    p_cell,
    percent,
    percent_cell,
    plain,
    print_page,
    score_cell,
    short,
    write_page,
)
from eval.report.plots import Dot, Effect, State, forest, scatter, shares
from eval.runs import ABResult, Arm, Comparison
from eval.stats import ALPHA, decimals_for, number_text, writer

_LONGEST: Final = 60
"""Characters of a setting's value that a table shows."""
_READING: Final = (
    "Each user's cases are averaged first; users are the units. The interval is a BCa bootstrap. p comes from flipping "
    "the signs of the users' differences at random; Holm adjusts it for all arms and metrics. dz is the mean over the "
    "standard deviation of the differences. The smallest effect seen is what this many users would show with 80% power "
    "at 5%."
)


def write_report(result: ABResult, folder: Path) -> None:
    """Write report.html, report.md and report.json into the folder. Raises UsageError: it cannot be written."""
    write_page(page_of(result), folder)


def print_ab(result: ABResult, console: Console) -> None:
    """Print the verdict and the tables."""
    print_page(page_of(result), console)


def page_of(result: ABResult) -> Page:
    """The report."""
    decisive, first = result.comparisons[0], result.arms[0].manifest
    facts = {"task": first.task, **{plain(k): plain(str(v)) for k, v in first.protocol.items()}}
    return Page(
        title=f"A/B: {', '.join(plain(arm.manifest.name) for arm in result.arms)}",
        verdict=plain(result.verdict),
        state=_state(decisive),
        facts={**facts, "data": plain(first.data)[:12]},
        notes=notes_on(result.arms),
        plots=_plots(result),
        beside=cost_plots(costs_of(result.arms), decisive.metric),
        sheets=(_comparisons(result), arms_sheet(result.arms, dict.fromkeys(c.metric for c in result.comparisons))),
        reading=_READING,
        details=manifests(result.arms),
        command=command(result),
        source="with the run folders of the arms in this order",
        json=result.model_dump_json(indent=2),
    )


def command(result: ABResult) -> str:
    """The command that makes this report from the arms' run folders."""
    metrics = dict.fromkeys(c.metric for c in result.comparisons)
    words = [f"--metric {shlex.quote(plain(metric))}" for metric in metrics]
    return " ".join(["xdrec-eval ab RUN-FOLDER…", *words, "--out REPORT-FOLDER"])


def notes_on(arms: Sequence[Arm]) -> tuple[str, ...]:
    """What must be known of the arms' costs."""
    kept = [plain(arm.manifest.name) for arm in arms if arm.summary.cache_hits]
    if not kept:
        return ()
    return (f"Seconds are no measure of {', '.join(kept)}: replies came from the response cache.",)


def _plots(result: ABResult) -> tuple[Plot, ...]:
    tested = [c for c in result.comparisons if c.slice == "all"]
    sliced = [c for c in result.comparisons if c.slice != "all"]
    adjusted = " after Holm" if result.comparisons[0].adjusted is not None else ""
    first = plain(result.arms[0].manifest.name)
    said = (
        f"The mean over users of each arm minus {first}, with its 95% interval. Coloured: a difference at "
        f"5%{adjusted}; grey: cannot tell. A dashed interval is too short to be trusted: too few users differ."
    )
    plots = [Plot("Paired differences", said, _forest(result, tested))]
    if sliced:
        said = "Described, not tested: they take no part in the adjustment, so read them as hints."
        plots.append(Plot(f"Slices of {plain(result.comparisons[0].metric)}", said, _forest(result, sliced)))
    return tuple(plots)


def _comparisons(result: ABResult) -> Sheet:
    """Every comparison and its numbers."""
    columns = (
        "arm", "metric", "slice", "difference", "95% interval", "p", "p after Holm", "dz", "better / equal / worse",
        "users", "differing", "smallest effect seen",
    )  # fmt: skip
    first = plain(result.arms[0].manifest.name)
    title = f"Differences from {first}, with users as units"
    return Sheet(title, columns, tuple(_compared(c) for c in result.comparisons))


def manifests(arms: Sequence[Arm]) -> tuple[tuple[str, str], ...]:
    """Every arm's manifest, to unfold."""
    return tuple((plain(a.manifest.name), json.dumps(a.manifest.model_dump(mode="json"), indent=2)) for a in arms)


def arms_sheet(arms: Sequence[Arm], metrics: Iterable[str]) -> Sheet:
    """Every arm: what it is, how it scored in these metrics, and what it cost a user."""
    settings, metrics = [_settings(arm) for arm in arms], list(metrics)
    names = sorted({name for found in settings for name in found})
    differing = [name for name in names if len({found.get(name) for found in settings}) > 1]
    costs = ("tokens", "cached tokens", "requests", "seconds", "degraded", "cache hits")
    covers = any(arm.summary.coverage is not None for arm in arms)
    rows = []
    for arm, found in zip(arms, settings, strict=True):
        summary, manifest = arm.summary, arm.manifest
        own = "\n".join(f"{name} = {found.get(name, NOTHING)}" for name in differing)
        rows.append((
            Cell(plain(manifest.name), plain(manifest.name)),
            Cell(plain(manifest.model or NOTHING), plain(manifest.model or "")),
            Cell(own or NOTHING, own),
            *(score_cell(summary.metrics.get(metric)) for metric in metrics),
            *(amount_cell(v) for v in (summary.tokens, summary.cached_tokens, summary.requests, summary.seconds)),
            percent_cell(summary.degraded),
            amount_cell(summary.cache_hits),
            *((_coverage(summary.coverage),) if covers else ()),
        ))  # fmt: skip
    for rule, scored in arms[0].summary.beside.items():
        unknown = Cell(NOTHING)
        means = (score_cell(scored.get(metric)) for metric in metrics)
        rows.append((
            Cell(plain(rule), plain(rule)), Cell(NOTHING, ""), Cell(NOTHING, ""), *means, *(unknown for _ in costs),
            *((unknown,) if covers else ()),
        ))  # fmt: skip
    title = "Arms: means over users, costs a user"
    columns = ("arm", "model", "what differs", *map(plain, metrics), *costs, *(("coverage",) if covers else ()))
    return Sheet(title, columns, tuple(rows))


def _coverage(share: float | None) -> Cell:
    return Cell(NOTHING) if share is None else percent_cell(share)


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
        p_cell(d.p_value),
        p_cell(comparison.adjusted, NOTHING),
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
        group = short(plain(c.arm), 40) if several else ""
        effects.append(Effect(short(part), text, d.mean, d.low, d.high, _state(c), d.few_differ, group))
    said = "; ".join(f"{plain(c.arm)}, {plain(c.metric)}, {plain(c.slice)}: {plain(c.verdict)}" for c in comparisons)
    return forest(
        effects,
        f"Forest plot of paired differences. {said}",
        (f"{short(first, 20)} better", f"{short(other, 20)} better"),
    )


COSTS: Final = ("tokens", "seconds")
"""Costs of an arm that quality is drawn against."""


def costs_of(arms: Sequence[Arm]) -> list[tuple[str, Mapping[str, float], Mapping[str, float]]]:
    """The arms as `cost_plots` takes them."""
    return [(a.manifest.name, a.summary.metrics, {c: getattr(a.summary, c) for c in COSTS}) for a in arms]


def cost_plots(
    arms: Sequence[tuple[str, Mapping[str, float], Mapping[str, float]]], metric: str, per: str = "a user"
) -> tuple[Plot, ...]:
    """Quality against seconds, and against tokens where any were used.

    Args:
        arms: name, means of metrics, and `COSTS`; the first is what the others are compared with.
        per: what the costs are of.
    """
    scored = [(plain(name), metrics[metric], costs) for name, metrics, costs in arms if metric in metrics]
    said = f"Up and left is better. The ring is the first arm, {plain(arms[0][0])}."
    plots = []
    for cost in COSTS:
        if not any(costs[cost] for _, _, costs in scored):
            continue
        dots = [
            Dot(short(name), costs[cost], quality, first=at == 0) for at, (name, quality, costs) in enumerate(scored)
        ]
        told = "; ".join(f"{d.label}: {score_cell(d.quality).text} at {amount_cell(d.cost).text} {cost}" for d in dots)
        drawn = scatter(dots, f"Quality against {cost} {per}. {told}", f"{cost} {per}", f"mean {plain(metric)}")
        plots.append(Plot(f"Quality against {cost}", said, drawn))
    return tuple(plots)


def _shares(*parts: float) -> str:
    return " / ".join(percent(share).rstrip("%") for share in parts) + "%"


def _state(comparison: Comparison) -> State:
    if comparison.slice != "all":
        return "described"
    p = comparison.difference.p_value if comparison.adjusted is None else comparison.adjusted
    if p is None or p > ALPHA:
        return "open"
    return "better" if comparison.difference.mean > 0 else "worse"


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
            found.append((f"{prefix}{plain(name)}", short(plain(text), _LONGEST)))
    return found
