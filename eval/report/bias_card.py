"""Bias cards to look at. Reads `BiasCard`s, produces one page (HTML with pictures), and the same as Markdown and JSON.

Several cards stand side by side, their pictures on the same scales, so that models are compared at a glance.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jinja2 import Environment, StrictUndefined
from pydantic import TypeAdapter

from eval.report.bias_plots import Axis, Picture
from eval.studies import TAU_BINS, Interval
from eval.studies.bias_types import BiasCard
from retrieval.errors import UsageError

TEMPLATE: Final = Path(__file__).with_name("bias_card.html.jinja")
UNKNOWN: Final = "not measured"
_CARDS: Final = TypeAdapter(tuple[BiasCard, ...])


@dataclass(frozen=True)
class Row:
    """One line of the table: what it is, a cell for each card, and what it means."""

    name: str
    cells: tuple[str, ...]
    meaning: str


@dataclass(frozen=True)
class Scales:
    """The largest values of all cards, so that pictures beside each other can be compared by eye."""

    ndcg: float
    favour: float
    top_share: float
    tau: float
    probability: float

    @classmethod
    def of(cls, cards: Sequence[BiasCard]) -> Scales:
        """The scales that all cards fit in."""
        return cls(
            ndcg=_roomy(high for c in cards for s in c.ndcg_by_slot for high in (s.ndcg.value, s.ndcg.high, c.chance)),
            favour=_roomy(abs(x) for c in cards for f in c.favour for x in (f.value, f.low or 0, f.high or 0)),
            top_share=_roomy(x for c in cards for x in (*c.top_share, 1 / c.candidates)),
            tau=_roomy(x / c.users for c in cards for x in c.tau_counts),
            probability=_roomy(x for c in cards for r in c.reliability for x in (r.probability, r.share)),
        )


def write_bias_card(card: BiasCard, folder: Path) -> Path:
    """Write bias_card.html, .md and .json into the folder, which is made; the page's path."""
    return _write([card], folder, "bias_card", card.model_dump_json(indent=2))


def write_bias_cards(cards: Sequence[BiasCard], folder: Path) -> Path:
    """Write cards side by side: bias_cards.html, .md and .json; the page's path. Raises UsageError for no card."""
    if not cards:
        raise UsageError("no bias card to show", hint="xdrec-eval bias --help")
    return _write(cards, folder, "bias_cards", _CARDS.dump_json(tuple(cards), indent=2).decode())


def html_of(cards: Sequence[BiasCard]) -> str:
    """The page; it needs no other file."""
    scales = Scales.of(cards)
    shown = [{"card": c, "sentence": sentence(c), "pictures": pictures(c, scales)} for c in cards]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(shown=shown, rows=rows(cards)) + "\n"


def markdown_of(cards: Sequence[BiasCard]) -> str:
    """The sentences and the table."""
    names = [_plain(card.model) for card in cards]
    lines = ["# Bias card" + ("s" if len(cards) > 1 else ""), ""]
    for name, card in zip(names, cards, strict=True):
        lines += [f"**{name}**: {sentence(card)}", ""]
    lines += ["| | " + " | ".join(names) + " | what it means |", "|---|" + "---|" * (len(cards) + 1)]
    lines += ["| " + " | ".join((row.name, *row.cells, row.meaning)) + " |" for row in rows(cards)]
    lines += ["", "Square brackets: 95% interval over users (BCa bootstrap).", ""]
    return "\n".join(lines)


def sentence(card: BiasCard) -> str:
    """What the scores lean on, in one sentence or two."""
    if card.variance is None:
        return "It gives every candidate the same score."
    slot, item = card.variance.share("slot"), card.variance.share("item")
    tells = "is told apart from" if card.uniform_p < 0.05 else "cannot be told apart from"
    return (
        f"Of what makes its scores differ {slot:.0%} is the slot, {item:.0%} the item, {1 - slot - item:.0%} neither; "
        f"two shuffles agree by tau {card.tau.value:.2f}, and the top pick's slot {tells} uniform "
        f"({_p(card.uniform_p)})."
    )


def rows(cards: Sequence[BiasCard]) -> list[Row]:
    """The table: one column a card."""

    def row(name: str, cells: Sequence[str], meaning: str) -> Row:
        return Row(name, tuple(cells), meaning)

    def part(card: BiasCard, name: str) -> str:
        return UNKNOWN if card.variance is None else f"{card.variance.share(name):.1%}"

    return [
        row("Users, shuffles, candidates", [_size(c) for c in cards], "one list a user, in random orders"),
        row("Template", [c.template_fingerprint[:12] for c in cards], "start of its SHA-256"),
        row("nDCG@10 of one shuffle", [_interval(c.ndcg) for c in cards], "how well it ranks"),
        row("Chance", [f"{c.chance:.3f}" for c in cards], "nDCG@10 of random order"),
        row("nDCG@10, truth early to late", [_slots(c) for c in cards], "the same in all slots without bias"),
        row(
            "Top pick uniform over slots",
            [_p(c.uniform_p) for c in cards],
            "chi-square, one pick a user; small: biased",
        ),
        row("Largest share of top picks", [_favourite(c) for c in cards], "the slot that is picked most"),
        row("Favour, widest gap", [_gap(c) for c in cards], "log-probability between best and worst slot"),
        row("Variance: slot", [part(c, "slot") for c in cards], "0% without bias"),
        row("Variance: item", [part(c, "item") for c in cards], "100% for a model that looks at items only"),
        row("Variance: left over", [part(c, "rest") for c in cards], "noise of the order"),
        row("Kendall's tau of shuffles", [_interval(c.tau) for c in cards], "1: the order never matters"),
        row("Popularity lift", [_interval(c.popularity_lift) for c in cards], "near 1 where counts are matched"),
        row("Title length", [_interval(c.length) for c in cards], "Spearman; above 0: long titles score higher"),
        row(
            "Title familiarity",
            [_familiarity(c) for c in cards],
            "Spearman with how expected a title is after its creator; above 0: titles the model knows score higher",
        ),
        row("Calibration error", [f"{c.own_error:.3f}" for c in cards], "of its own probabilities"),
        row("Calibration error, fitted", [f"{c.fitted_error:.3f}" for c in cards], "after isotonic regression"),
    ]


def pictures(card: BiasCard, scales: Scales) -> list[Picture]:
    """Slot curve, favour, top picks, tau and calibration."""
    return [
        _curve(card, scales),
        _favours(card, scales),
        _picks(card, scales),
        _tau(card, scales),
        _calibration(card, scales),
    ]


def _curve(card: BiasCard, scales: Scales) -> Picture:
    drawn = Picture("nDCG@10 by the slot of the truth", _slot_axis(card), Axis("nDCG@10", 0, scales.ndcg))
    drawn.across(card.chance, "chance")
    at = [((s.first + s.last) / 2, s) for s in card.ndcg_by_slot]
    drawn.line([(x, s.ndcg.value) for x, s in at])
    for x, slot in at:
        if slot.ndcg.low is not None and slot.ndcg.high is not None:
            drawn.whisker(x, slot.ndcg.low, slot.ndcg.high)
        drawn.dot(x, slot.ndcg.value, f"slots {slot.first} to {slot.last}: {_interval(slot.ndcg)}")
    return drawn


def _favours(card: BiasCard, scales: Scales) -> Picture:
    axis = Axis("favour (nats)", -scales.favour, scales.favour)
    drawn = Picture("Favour by slot", _slot_axis(card), axis)
    for slot, favour in enumerate(card.favour, 1):
        drawn.bar(slot - 0.4, slot + 0.4, favour.value, f"slot {slot}: {_interval(favour)}")
        if favour.low is not None and favour.high is not None:
            drawn.whisker(slot, favour.low, favour.high)
    return drawn


def _picks(card: BiasCard, scales: Scales) -> Picture:
    drawn = Picture("Slot of the top pick", _slot_axis(card), Axis("share of top picks", 0, scales.top_share))
    for slot, share in enumerate(card.top_share, 1):
        drawn.bar(slot - 0.4, slot + 0.4, share, f"slot {slot}: {share:.1%}")
    drawn.across(1 / card.candidates, "uniform")
    return drawn


def _tau(card: BiasCard, scales: Scales) -> Picture:
    drawn = Picture("Kendall's tau between shuffles", Axis("tau", -1, 1), Axis("share of users", 0, scales.tau))
    width = 2 / TAU_BINS
    for at, count in enumerate(card.tau_counts):
        start = -1 + at * width
        note = f"{start:.1f} to {start + width:.1f}: {count:,} users"
        drawn.bar(start + 0.005, start + width - 0.005, count / card.users, note)
    drawn.upright(card.tau.value, f"mean {card.tau.value:.2f}")
    return drawn


def _calibration(card: BiasCard, scales: Scales) -> Picture:
    top = scales.probability
    drawn = Picture(
        "Calibration", Axis("probability the model gives", 0, top), Axis("share that was the truth", 0, top)
    )
    drawn.line([(0, 0), (top, top)], "rule")
    drawn.across(1 / card.candidates, "chance")
    drawn.line([(r.probability, r.share) for r in card.reliability])
    for r in card.reliability:
        drawn.dot(
            r.probability, r.share, f"given {r.probability:.3f}, was {r.share:.3f} of {r.candidates:,} candidates"
        )
    return drawn


def _slot_axis(card: BiasCard) -> Axis:
    n = card.candidates
    return Axis("slot", 0.5, n + 0.5, (1, *range(5, n - 1, 5), n))


def _roomy(values: Iterable[float | None]) -> float:
    known = [v for v in values if v is not None]
    return max(max(known, default=0.0) * 1.1, 1e-3)


def _size(card: BiasCard) -> str:
    failed = f" ({card.failed:,} failed)" if card.failed else ""
    return f"{card.users:,}{failed}, {card.shuffles}, {card.candidates}"


def _slots(card: BiasCard) -> str:
    thirds = len(card.ndcg_by_slot) <= 3
    shown = card.ndcg_by_slot if thirds else (card.ndcg_by_slot[0], card.ndcg_by_slot[-1])
    return ", ".join(f"{s.ndcg.value:.3f}" for s in shown)


def _favourite(card: BiasCard) -> str:
    share = max(card.top_share)
    return f"{share:.1%} in slot {card.top_share.index(share) + 1}, uniform {1 / card.candidates:.1%}"


def _gap(card: BiasCard) -> str:
    values = [f.value for f in card.favour]
    return f"{max(values) - min(values):.2f} nats"


def _interval(found: Interval | None) -> str:
    if found is None:
        return UNKNOWN
    value = f"{found.value:.3f}"
    return value if found.low is None or found.high is None else f"{value} [{found.low:.3f}, {found.high:.3f}]"


def _familiarity(card: BiasCard) -> str:
    shown = _interval(card.familiarity)
    return shown if card.familiarity is None else f"{shown} by {card.familiarity_by}"


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def _plain(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    escaped = "".join("\\" + sign if sign in "\\`*_{}[]()#+!|~" else sign for sign in " ".join(text.split()))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _write(cards: Sequence[BiasCard], folder: Path, name: str, json: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / f"{name}.html"
    page.write_text(html_of(cards), encoding="utf-8")
    (folder / f"{name}.md").write_text(markdown_of(cards), encoding="utf-8")
    (folder / f"{name}.json").write_text(json + "\n", encoding="utf-8")
    return page
