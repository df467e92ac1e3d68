"""What a bias card looks like. Reads a BiasCard, produces the page of a report."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from eval.report import cells
from eval.report.cells import Table
from eval.report.charts import Chart, Scale
from eval.report.page import Page, Plot
from eval.studies import TAU_BINS, BiasCard, Interval

UNKNOWN: Final = "not measured"
_LEFT: Final = 9.0
"""Percent of the width that the numbers of an axis take, so that no bar lies below them."""
_READING: Final = (
    "Every user's candidates were shown in several random orders, so what moves with the slot is bias. Square brackets "
    "and whiskers: 95% interval over users (BCa bootstrap, users resampled). Slots are numbered in the order of the "
    "prompt; they are put together in thirds where there are too few users. The test of the top pick's slot counts one "
    "shuffle a user, since the shuffles of one user are not independent."
)


def bias_page(card: BiasCard) -> Page:
    """The report of a model's biases as a listwise judge."""
    failed = f" ({card.failed:,} failed)" if card.failed else ""
    columns = ("figure", "value", "what it means")
    rows = [[(name, cells.text(said)) for name, said in zip(columns, row, strict=True)] for row in bias_rows(card)]
    return Page(
        title=f"Bias card: {card.model}",
        verdict=sentence(card),
        state="inconclusive",
        facts={
            "model": card.model,
            "users": f"{card.users:,}{failed}",
            "shuffles": str(card.shuffles),
            "candidates": str(card.candidates),
            "template": card.template_fingerprint[:12],
        },
        beside=(_curve(card), _favours(card), _picks(card), _tau(card), _calibration(card)),
        tables=(Table.of(f"What the scores of {card.model} lean on, beside the items", rows),),
        reading=_READING,
        command="xdrec-eval bias --data DATA --out REPORT-FOLDER",
        source="with this model and template",
        json=card.model_dump_json(indent=2),
    )


def sentence(card: BiasCard) -> str:
    """What the scores lean on, in one sentence or two."""
    if card.variance is None:
        return "It gives every candidate the same score."
    slot, item, rest = (card.variance.share(part) for part in ("slot", "item", "rest"))
    tells = "is told apart from" if card.uniform_p < 0.05 else "cannot be told apart from"
    return (
        f"Of what makes its scores differ {slot:.0%} is the slot, {item:.0%} the item, {rest:.0%} neither; "
        f"two shuffles agree by tau {card.tau.value:.2f}, and the top pick's slot {tells} uniform "
        f"({_p(card.uniform_p)})."
    )


def bias_rows(card: BiasCard) -> list[tuple[str, str, str]]:
    """What the table says: a figure, its value, and what it means."""

    def variance(part: str) -> str:
        return UNKNOWN if card.variance is None else f"{card.variance.share(part):.1%}"

    favours = [favour.value for favour in card.favour]
    largest = max(card.top_share)
    picked = f"{largest:.1%} in slot {card.top_share.index(largest) + 1}, uniform {1 / card.candidates:.1%}"
    # Where slots stand alone the first and the last tell enough.
    slots = card.ndcg_by_slot if len(card.ndcg_by_slot) <= 3 else (card.ndcg_by_slot[0], card.ndcg_by_slot[-1])
    early_to_late = ", ".join(f"{slot.ndcg.value:.3f}" for slot in slots)
    known = _interval(card.familiarity) + (f" by {card.familiarity_by}" if card.familiarity else "")
    known_means = "Spearman with how expected a title is after its creator; above 0: known titles score higher"
    return [
        ("nDCG@10 of one shuffle", _interval(card.ndcg), "how well it ranks"),
        ("Chance", f"{card.chance:.3f}", "nDCG@10 of random order"),
        ("nDCG@10, truth early to late", early_to_late, "the same in all slots without bias"),
        ("Top pick uniform over slots", _p(card.uniform_p), "chi-square, one pick a user; small: biased"),
        ("Largest share of top picks", picked, "the slot that is picked most"),
        ("Favour, widest gap", f"{max(favours) - min(favours):.2f} nats", "between best and worst slot"),
        ("Variance: slot", variance("slot"), "0% without bias"),
        ("Variance: item", variance("item"), "100% for a model that looks at items only"),
        ("Variance: left over", variance("rest"), "noise of the order"),
        ("Kendall's tau of shuffles", _interval(card.tau), "1: the order never matters"),
        ("Popularity lift", _interval(card.popularity_lift), "near 1 where counts are matched"),
        ("Title length", _interval(card.length), "Spearman; above 0: long titles score higher"),
        ("Title familiarity", known, known_means),
        ("Calibration error", f"{card.own_error:.3f}", "of its own probabilities"),
        ("Calibration error, fitted", f"{card.fitted_error:.3f}", "after isotonic regression"),
    ]


def _curve(card: BiasCard) -> Plot:
    highs = [high for s in card.ndcg_by_slot for high in (s.ndcg.value, s.ndcg.high, card.chance)]
    chart = Chart(_slots(card), _from_zero(highs), ("slot of the truth", "nDCG@10"))
    chart.across(card.chance, label="chance")
    with chart.group("series0"):
        chart.line([((slot.first + slot.last) / 2, slot.ndcg.value) for slot in card.ndcg_by_slot])
        for slot in card.ndcg_by_slot:
            middle = (slot.first + slot.last) / 2
            chart.whisker(middle, slot.ndcg.low, slot.ndcg.high)
            chart.point(middle, slot.ndcg.value, f"slots {slot.first} to {slot.last}: {_interval(slot.ndcg)}")
    return _plot("nDCG@10 by the slot of the truth", "The same in all slots without bias.", chart)


def _favours(card: BiasCard) -> Plot:
    reach = _from_zero(abs(x) for f in card.favour for x in (f.value, f.low or 0, f.high or 0)).high
    chart = Chart(_slots(card), Scale(-reach, reach), ("slot", "favour (nats)"))
    chart.across(0, "zero")
    with chart.group("series0"):
        for slot, favour in enumerate(card.favour, 1):
            chart.bar(slot - 0.4, slot + 0.4, favour.value, f"slot {slot}: {_interval(favour)}")
            chart.whisker(slot, favour.low, favour.high)
    return _plot("Favour by slot", "Log-probability that a slot adds to what stands there.", chart)


def _picks(card: BiasCard) -> Plot:
    uniform = 1 / card.candidates
    chart = Chart(_slots(card), _from_zero((*card.top_share, uniform)), ("slot", "share of top picks"))
    with chart.group("series0"):
        for slot, share in enumerate(card.top_share, 1):
            chart.bar(slot - 0.4, slot + 0.4, share, f"slot {slot}: {share:.1%}")
    chart.across(uniform, label="uniform")
    return _plot("Slot of the top pick", "The same share for every slot without bias.", chart)


def _tau(card: BiasCard) -> Plot:
    shares = [count / card.users for count in card.tau_counts]
    width = 2 / TAU_BINS
    chart = Chart(Scale(-1, 1, _LEFT), _from_zero(shares), ("tau", "share of users"))
    with chart.group("series0"):
        for number, (share, users) in enumerate(zip(shares, card.tau_counts, strict=True)):
            start = -1 + number * width
            note = f"{start:.1f} to {start + width:.1f}: {users:,} users"
            chart.bar(start + 0.005, start + width - 0.005, share, note)
    chart.upright(card.tau.value, f"mean {card.tau.value:.2f}")
    return _plot("Kendall's tau between shuffles", "1: the order in which items are shown never matters.", chart)


def _calibration(card: BiasCard) -> Plot:
    up = _from_zero(value for bin_ in card.reliability for value in (bin_.probability, bin_.share))
    axes = ("probability the model gives", "share that was the truth")
    chart = Chart(Scale(0, up.high, _LEFT), up, axes)
    chart.line([(0, 0), (up.high, up.high)], "rule")
    chart.across(1 / card.candidates, label="chance")
    with chart.group("series0"):
        chart.line([(bin_.probability, bin_.share) for bin_ in card.reliability])
        for bin_ in card.reliability:
            note = f"given {bin_.probability:.3f}, was {bin_.share:.3f} of {bin_.candidates:,} candidates"
            chart.point(bin_.probability, bin_.share, note)
    return _plot("Calibration", "On the diagonal what the model says comes true.", chart)


def _plot(title: str, text: str, chart: Chart) -> Plot:
    return Plot(title, text, chart.svg(title))


def _slots(card: BiasCard) -> Scale:
    return Scale(0.5, card.candidates + 0.5, _LEFT)


def _from_zero(values: Iterable[float | None]) -> Scale:
    return Scale(0, max(max((v for v in values if v is not None), default=0.0) * 1.1, 1e-3))


def _interval(found: Interval | None) -> str:
    if found is None:
        return UNKNOWN
    return cells.estimate(found.value, found.low, found.high, lambda value: f"{value:.3f}")


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
