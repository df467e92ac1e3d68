"""Evidence. Reads a candidate, a history and a graph, produces what an explanation may say, before it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from typing import Final, Literal

from retrieval.types import Candidate, History, Item, Match, Path

FactKind = Literal["relation", "creator", "person", "series", "theme", "category", "period", "similar", "asked"]
PathFinder = Callable[[Sequence[Item], Item], Sequence[Path]]
"""How liked items (first) and a candidate hang together, the best path first; empty if they do not."""

_SPECIFIC: Final[tuple[FactKind, ...]] = ("relation", "creator", "person", "series", "theme", "category", "period")


@dataclass(frozen=True)
class Fact:
    """One thing that may be said for the candidate, under the id by which the model chooses it.

    Attributes:
        label: of the known item that it is shared with; None for "asked", what the person's words found.
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
    wanted = {(m.domain, m.item) for m in candidate.matches}
    known_as = (((e.item.domain, e.item.id), e) for e in history.entries)
    items = {key: e.item for key, e in known_as if key in wanted and e.liked}
    item = candidate.item
    matched = [(items[m.domain, m.item], m) for m in candidate.matches if (m.domain, m.item) in items]
    ways: dict[tuple[str | None, str], Path] = {}
    for path in paths([mine for mine, _ in matched], item) if paths and matched else ():
        ways.setdefault((path.start.domain, path.start.id), path)
    found = [(mine, m, ways.get((mine.domain, mine.id)), shared_traits(item, mine)) for mine, m in matched]
    found.sort(key=lambda row: (row[2] is None, not row[3], -row[1].similarity))
    closest = max((m for _, m in matched), key=lambda m: m.similarity, default=None)
    known = tuple(Known(f"L{n}", mine, m, shared) for n, (mine, m, _, shared) in enumerate(found[:limit], 1))
    ids = (f"F{n}" for n in count(1))
    facts = [fact for k, row in zip(known, found, strict=False) for fact in _facts(item, k, row[2], ids, closest)]
    if asked := _asked(item, text):
        facts.append(Fact(next(ids), "asked", None, asked))
    return Evidence(item, known, text, tuple(facts))


def shared_traits(a: Item, b: Item) -> tuple[str, ...]:
    """Creators, people, themes and categories of `a` that `b` has too, regardless of case; most specific kind first."""
    kinds = ((a.creators, b.creators), (_cast(a), _cast(b)), (a.themes, b.themes), (a.categories, b.categories))
    return tuple(dict.fromkeys(trait for mine, theirs in kinds for trait in _common(mine, theirs)))


def people(item: Item) -> tuple[str, ...]:
    """The `people` attribute: who takes part without having made it, as actors do."""
    value = item.attributes.get("people", ())
    return value if isinstance(value, tuple) else (str(value),)


def _facts(item: Item, known: Known, path: Path | None, ids: Iterator[str], closest: Match | None) -> Iterator[Fact]:
    other = known.item
    made = _common(item.creators, other.creators)
    shared: dict[FactKind, tuple[str, ...]] = {
        "creator": tuple(made),
        "person": tuple(p for p in dict.fromkeys(_common(_cast(item), _cast(other))) if p not in made),
        "series": tuple(_common([item.series or ""], [other.series or "-"])),
        "theme": tuple(_common(item.themes, other.themes)),
        "category": tuple(_common(item.categories, other.categories)),
        "period": _decade(item, other),
    }
    if path:
        yield Fact(next(ids), "relation", known.label, path=path)
    for kind in _SPECIFIC[1:]:
        if shared[kind]:
            yield Fact(next(ids), kind, known.label, shared[kind])
    if known.match is closest:
        yield Fact(next(ids), "similar", known.label, (str(round(100 * known.match.share)),))


def _cast(item: Item) -> tuple[str, ...]:
    """People and creators: somebody may act in one work and have made the other."""
    return (*people(item), *item.creators)


def _decade(a: Item, b: Item) -> tuple[str, ...]:
    if a.year is None or b.year is None or a.year // 10 != b.year // 10:
        return ()
    return (str(a.year // 10 * 10),)


def _asked(item: Item, text: str | None) -> tuple[str, ...]:
    """Traits of the item that the person's words name."""
    if not text:
        return ()
    said = f" {' '.join(text.casefold().split())} "
    traits = (*item.creators, *item.themes, *item.categories)
    return tuple(t for t in traits if f" {t.casefold()} " in said or f" {t.casefold()}s " in said)


def _common(mine: Iterable[str], theirs: Iterable[str]) -> list[str]:
    folded = _folded(tuple(theirs))
    return [m for m in mine if m.casefold() in folded] if folded else []


@lru_cache(maxsize=4096)
def _folded(names: tuple[str, ...]) -> frozenset[str]:
    """Without case; a history is compared with every candidate."""
    return frozenset(name.casefold() for name in names)
