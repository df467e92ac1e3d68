"""Evidence. Reads a candidate, a history and a graph, produces what an explanation may say, before it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from retrieval.types import Candidate, History, Item, Match, Path

FactKind = Literal["relation", "creator", "person", "series", "theme", "category", "period", "similar", "asked"]
PathFinder = Callable[[Sequence[Item], Item], Sequence[Path]]
"""Finds the graph paths from liked items (first) to a candidate, the best path first; empty if there are none."""


@dataclass(frozen=True)
class Fact:
    """One thing that may be said for the candidate, under the id by which the model chooses it.

    Attributes:
        label: of the known item that it is shared with; None for "asked", what the user's words found.
        values: shared names or traits in the candidate's spelling; for "period" the first year of the shared decade;
            for "similar" the item's share of the score in whole percent; empty for "relation".
        path: of a "relation", from the known item to the candidate.
    """

    id: str
    kind: FactKind
    label: str | None
    values: tuple[str, ...] = ()
    path: Path | None = None


@dataclass(frozen=True)
class Known:
    """A liked history item that speaks for the candidate, under the label that the prompt gives it.

    Attributes:
        shared: creators, people, themes and categories that it has in common with the candidate.
    """

    label: str
    item: Item
    match: Match
    shared: tuple[str, ...]


@dataclass(frozen=True)
class Evidence:
    """All that may be said for a candidate; without known items for a query by text alone."""

    item: Item
    known: tuple[Known, ...]
    text: str | None = None
    facts: tuple[Fact, ...] = ()

    @property
    def traits(self) -> tuple[str, ...]:
        """What the candidate shares with any of the known items, most specific first, without repetition."""
        return tuple(dict.fromkeys(trait for known in self.known for trait in known.shared))

    def shared(self, label: str, *kinds: FactKind) -> tuple[str, ...]:
        """What a known item shares with the candidate, of these kinds, in the order of the facts."""
        facts = (fact for fact in self.facts if fact.label == label and fact.kind in kinds)
        return tuple(dict.fromkeys(v for fact in facts for v in fact.values))

    @property
    def closest(self) -> Known | None:
        """Of all liked items the most similar one, if it is among the known."""
        labels = {fact.label for fact in self.facts if fact.kind == "similar"}
        return next((known for known in self.known if known.label in labels), None)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The paths among the facts."""
        return tuple(fact.path for fact in self.facts if fact.path)

    @property
    def items(self) -> tuple[Item, ...]:
        """The candidate and the known items."""
        return (self.item, *(known.item for known in self.known))


def gather(
    candidate: Candidate, history: History, text: str | None, limit: int, paths: PathFinder | None = None
) -> Evidence:
    """The `limit` history items that say most for the candidate, and what each has in common with it.

    Items that a path of the graph leads from come before others, then items that share a trait, then the most similar.
    """
    matched_keys = {(m.domain, m.item) for m in candidate.matches}
    entries = (((e.item.domain, e.item.id), e) for e in history.entries)
    liked = {key: e.item for key, e in entries if key in matched_keys and e.liked}
    item = candidate.item
    matched = [(liked[m.domain, m.item], m) for m in candidate.matches if (m.domain, m.item) in liked]
    path_from: dict[tuple[str | None, str], Path] = {}
    for path in paths([one for one, _ in matched], item) if paths and matched else ():
        path_from.setdefault((path.start.domain, path.start.id), path)
    rows = [(one, m, path_from.get((one.domain, one.id)), _shared(item, one)) for one, m in matched]
    rows.sort(key=lambda row: (row[2] is None, not _traits(row[3]), -row[1].similarity))
    closest = max((m for _, m in matched), key=lambda m: m.similarity, default=None)
    known: list[Known] = []
    facts: list[tuple[FactKind, str | None, tuple[str, ...], Path | None]] = []
    for n, (one, match, way, shared) in enumerate(rows[:limit], 1):
        label = f"L{n}"
        known.append(Known(label, one, match, _traits(shared)))
        if way:
            facts.append(("relation", label, (), way))
        facts += [(kind, label, values, None) for kind, values in shared.items() if values]
        if match is closest:
            facts.append(("similar", label, (str(round(100 * match.share)),), None))
    if asked := _asked(item, text):
        facts.append(("asked", None, asked, None))
    return Evidence(item, tuple(known), text, tuple(Fact(f"F{n}", *fact) for n, fact in enumerate(facts, 1)))


def people(item: Item) -> tuple[str, ...]:
    """The `people` attribute: who takes part without having made it, as actors do."""
    value = item.attributes.get("people", ())
    return value if isinstance(value, tuple) else (str(value),)


def _shared(a: Item, b: Item) -> dict[FactKind, tuple[str, ...]]:
    """What two items have in common, by kind, in the spelling of `a`; for "period" the first year of the decade."""
    creators = _common(a.creators, b.creators)
    years = {item.year // 10 * 10 for item in (a, b) if item.year is not None}
    return {
        "creator": creators,
        "person": tuple(p for p in dict.fromkeys(_common(_cast(a), _cast(b))) if p not in creators),
        "series": _common([a.series or ""], [b.series or "-"]),
        "theme": _common(a.themes, b.themes),
        "category": _common(a.categories, b.categories),
        "period": tuple(map(str, years)) if a.year is not None and b.year is not None and len(years) == 1 else (),
    }


def _traits(shared: Mapping[FactKind, tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(t for kind in ("creator", "person", "theme", "category") for t in shared[kind]))


def _cast(item: Item) -> tuple[str, ...]:
    """People and creators: a person may act in one work and have made the other."""
    return (*people(item), *item.creators)


def _asked(item: Item, text: str | None) -> tuple[str, ...]:
    """Traits of the item that the user's words name."""
    if not text:
        return ()
    said = f" {' '.join(text.casefold().split())} "
    traits = (*item.creators, *item.themes, *item.categories)
    return tuple(t for t in traits if f" {t.casefold()} " in said or f" {t.casefold()}s " in said)


def _common(mine: Iterable[str], theirs: Iterable[str]) -> tuple[str, ...]:
    folded = _folded(tuple(theirs))
    return tuple(m for m in mine if m.casefold() in folded) if folded else ()


@lru_cache(maxsize=4096)
def _folded(names: tuple[str, ...]) -> frozenset[str]:
    """Without case; a history is compared with every candidate."""
    return frozenset(name.casefold() for name in names)
