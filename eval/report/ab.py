"""What a comparison of arms looks like. Reads an ABResult, produces its page, and the parts that other pages share."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from eval.report import cells
from eval.report.cells import EMPTY, NOTHING, Cell, Row, Table, short
from eval.report.page import Page, Plot
from eval.report.plots import CostPoint, ForestRow, State, forest, scatter, shares, verdict_state
from eval.runs import ABResult, Arm, Comparison
from eval.stats import Difference, number_text, number_writer

COSTS: Final = ("tokens", "seconds")
"""Costs of an arm that quality is drawn against."""
_LONGEST: Final = 60
"""Characters of a setting's value that a table shows."""
_READING: Final = (
    "Each user's cases are averaged first; users are the units. The interval is a BCa bootstrap. p comes from flipping "
    "the signs of the users' differences at random; Holm adjusts it for all arms and metrics. dz is the mean over the "
    "standard deviation of the differences. The smallest effect seen is what this many users would show with 80% power "
    "at 5%."
)


def ab_page(result: ABResult) -> Page:
    """The report of an A/B comparison."""
    decisive, first = result.comparisons[0], result.arms[0].manifest
    metrics = list(dict.fromkeys(c.metric for c in result.comparisons))
    options = [f"--metric {shlex.quote(metric)}" for metric in metrics]
    title = f"Differences from {first.name}, with users as units"
    return Page(
        title=f"A/B: {', '.join(arm.manifest.name for arm in result.arms)}",
        verdict=result.verdict,
        state=difference_state(decisive.difference, decisive.adjusted),
        facts={"task": first.task, **{k: str(v) for k, v in first.protocol.items()}, "data": first.data[:12]},
        notes=cache_notes(result.arms),
        plots=_plots(result),
        beside=cost_plots(costs_of(result.arms), decisive.metric),
        tables=(Table.of(title, map(_comparison_row, result.comparisons)), arms_table(result.arms, metrics)),
        reading=_READING,
        details=manifests(result.arms),
        command=" ".join(["xdrec-eval ab RUN-FOLDER…", *options, "--out REPORT-FOLDER"]),
        source="with the run folders of the arms in this order",
        json=result.model_dump_json(indent=2),
    )


def cache_notes(arms: Sequence[Arm]) -> tuple[str, ...]:
    """What must be known of the arms' costs."""
    cached = [arm.manifest.name for arm in arms if arm.summary.cache_hits]
    if not cached:
        return ()
    return (f"Seconds are no measure of {', '.join(cached)}: replies came from the response cache.",)


def manifests(arms: Sequence[Arm]) -> tuple[tuple[str, str], ...]:
    """Every arm's manifest, to unfold."""
    return tuple((arm.manifest.name, json.dumps(arm.manifest.model_dump(mode="json"), indent=2)) for arm in arms)


def difference_cells(difference: Difference, adjusted: float | None) -> tuple[Row, Row]:
    """The cells of a difference: its size and p-values, and what its users could have shown."""
    write = number_writer(difference)
    size = (
        ("difference", Cell(write(difference.mean), difference.mean)),
        ("95% interval", Cell(interval_text(difference), difference.low)),
        ("p", cells.p_value(difference.p_value)),
        ("p after Holm", cells.p_value(adjusted, NOTHING)),
    )
    power = (
        ("differing", cells.count(difference.differing)),
        ("smallest effect seen", cells.amount(difference.detectable)),
    )
    return size, power


def interval_text(difference: Difference) -> str:
    """The ends of the interval, or that there is none."""
    return cells.interval(difference.low, difference.high, number_writer(difference)) or cells.UNKNOWN


def difference_state(difference: Difference | None, adjusted: float | None) -> State:
    """What a comparison came to, by its adjusted p-value where there is one."""
    if difference is None:
        return "inconclusive"
    return verdict_state(difference.mean, difference.p_value if adjusted is None else adjusted)


@dataclass(frozen=True)
class PlottedDifference:
    """An arm's difference from the first arm, as a forest plot shows it; `label`: of what it is a difference."""

    arm: str
    label: str
    difference: Difference
    state: State
    verdict: str


def difference_plot(title: str, text: str, arms: Sequence[str], shown: Sequence[PlottedDifference]) -> Plot:
    """A forest plot of differences, grouped by arm where several are compared with the first."""
    several = len(arms) > 2
    rows = []
    for one in shown:
        d = one.difference
        value = f"{number_writer(d)(d.mean)} {interval_text(d)}"
        group = short(one.arm, 40) if several else ""
        rows.append(ForestRow(short(one.label), value, d.mean, d.low, d.high, one.state, d.few_differ, group))
    verdicts = "; ".join(f"{one.arm}, {one.label}: {one.verdict}" for one in shown)
    sides = (f"{short(arms[0], 20)} better", f"{'the other arm' if several else short(arms[1], 20)} better")
    return Plot(title, text, forest(rows, f"Forest plot of differences between arms. {verdicts}", sides))


def _comparison_row(comparison: Comparison) -> Row:
    d = comparison.difference
    size, power = difference_cells(d, comparison.adjusted)
    parts = (d.better, d.equal, d.worse)
    text = " / ".join(cells.percent(share).rstrip("%") for share in parts) + "%"
    return [
        ("arm", cells.text(comparison.arm)),
        ("metric", cells.text(comparison.metric)),
        ("slice", cells.text(comparison.slice)),
        *size,
        ("dz", EMPTY if d.dz is None else Cell(number_text(d.dz, 2), d.dz)),
        ("better / equal / worse", Cell(text, d.better, shares(*parts))),
        ("users", cells.count(d.users)),
        *power,
    ]


def _plots(result: ABResult) -> tuple[Plot, ...]:
    arms = [arm.manifest.name for arm in result.arms]
    tested, sliced = [], []
    for c in result.comparisons:
        if c.slice == "all":
            state = difference_state(c.difference, c.adjusted)
            tested.append(PlottedDifference(c.arm, c.metric, c.difference, state, c.verdict))
        else:
            sliced.append(PlottedDifference(c.arm, c.slice, c.difference, "described", c.verdict))
    adjusted = " after Holm" if result.comparisons[0].adjusted is not None else ""
    text = (
        f"The mean over users of each arm minus {arms[0]}, with its 95% interval. Coloured: a difference at "
        f"5%{adjusted}; grey: cannot tell. A dashed interval is too short to be trusted: too few users differ."
    )
    plots = [difference_plot("Paired differences", text, arms, tested)]
    if sliced:
        text = "Described, not tested: they take no part in the adjustment, so read them as hints."
        plots.append(difference_plot(f"Slices of {result.comparisons[0].metric}", text, arms, sliced))
    return tuple(plots)


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
    text = f"Up and left is better. The ring is the first arm, {arms[0][0]}."
    scored = [(name, metrics[metric], costs) for name, metrics, costs in arms if metric in metrics]
    plots = []
    for cost in COSTS:
        if not any(costs[cost] for _, _, costs in scored):
            continue
        points = [
            CostPoint(short(name), costs[cost], quality, first=at == 0)
            for at, (name, quality, costs) in enumerate(scored)
        ]
        values = (f"{p.label}: {cells.score(p.quality).text} at {cells.amount(p.cost).text} {cost}" for p in points)
        description = f"Quality against {cost} {per}. {'; '.join(values)}"
        plots.append(
            Plot(f"Quality against {cost}", text, scatter(points, description, f"{cost} {per}", f"mean {metric}"))
        )
    return tuple(plots)


def arms_table(arms: Sequence[Arm], metrics: Iterable[str]) -> Table:
    """Every arm: what it is, how it scored in these metrics, and what it cost a user; then rules that know no user."""
    metrics, settings = list(metrics), [_settings(arm) for arm in arms]
    names = sorted({name for own in settings for name in own})
    differing = [name for name in names if len({own.get(name) for own in settings}) > 1]
    rows = []
    for arm, own in zip(arms, settings, strict=True):
        summary, model = arm.summary, arm.manifest.model or ""
        differs = "\n".join(f"{name} = {own.get(name, NOTHING)}" for name in differing)
        rows.append([
            ("arm", cells.text(arm.manifest.name)),
            ("model", Cell(model or NOTHING, model)),
            ("what differs", Cell(differs or NOTHING, differs)),
            *((metric, cells.score(summary.metrics.get(metric))) for metric in metrics),
            ("tokens", cells.amount(summary.tokens)),
            ("cached tokens", cells.amount(summary.cached_tokens)),
            ("requests", cells.amount(summary.requests)),
            ("seconds", cells.amount(summary.seconds)),
            ("degraded", cells.share(summary.degraded)),
            ("cache hits", cells.amount(summary.cache_hits)),
            ("coverage", cells.share(summary.coverage)),
        ])  # fmt: skip
    for rule, scored in arms[0].summary.references.items():
        known = {"arm": cells.text(rule), "model": Cell(NOTHING, ""), "what differs": Cell(NOTHING, "")}
        scores = [(metric, cells.score(scored.get(metric))) for metric in metrics]
        costs = [(name, EMPTY) for name, _ in rows[0][3 + len(metrics) :]]
        rows.append([*known.items(), *scores, *costs])
    if all(arm.summary.coverage is None for arm in arms):
        rows = [row[:-1] for row in rows]
    return Table.of("Arms: means over users, costs a user", rows)


def _settings(arm: Arm) -> dict[str, str]:
    """What could tell the arm from another, the model aside, by dotted name."""
    manifest = arm.manifest
    known: dict[str, Any] = {
        **manifest.settings,
        "template": {task: fingerprint[:12] for task, fingerprint in manifest.templates.items()},
        "version": manifest.versions,
        "commit": manifest.commit,
        "server": manifest.server_version,
    }
    return dict(_flat(known))


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif value is not None:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            yield short(f"{prefix}{name}", 200), short(text, _LONGEST)
