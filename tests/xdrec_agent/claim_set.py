"""The hand-labelled sentences. Reads tests/data/claims.yaml and the demo pack, produces sentences with evidence."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path as File

import yaml

from retrieval.types import Candidate, Entity, History, HistoryEntry, Item, Match, Path, Relation
from xdrec_agent.grounding import Evidence, gather

ROOT = File(__file__).parents[2]


@dataclass(frozen=True)
class Labelled:
    """A sentence, its world, and the kind of what is wrong with it (None: nothing)."""

    text: str
    language: str
    world: str
    wrong: str | None
    held_out: bool


@cache
def labelled() -> tuple[Labelled, ...]:
    return tuple(
        Labelled(one["s"], language, name, one.get("wrong"), n % 3 == 2)
        for name, world in _file()["worlds"].items()
        for language in ("en", "zh")
        for n, one in enumerate(world[language])
    )


@cache
def evidence_of(name: str) -> Evidence:
    """What may be said in a world."""
    world, items = _file()["worlds"][name], catalogue()
    liked = [items[i] for i in world["liked"]]
    matches = tuple(Match(domain=i.domain, item=i.id, similarity=0.5, share=1 / len(liked)) for i in liked)
    history = History(entries=tuple(HistoryEntry(item=i) for i in liked))
    item = items[world["item"]]
    relations = tuple(Relation(subject=_end(a), predicate=p, object=_end(b)) for a, p, b in world["relations"])

    def paths(starts: Sequence[Item], end: Item) -> list[Path]:
        # All of a world's relations are evidence: how they hang together is not what is tested here.
        return [Path(start=_end(starts[0].id), end=_end(end.id), relations=relations)] if relations else []

    return gather(Candidate(item=item, score=1, matches=matches), history, None, len(liked), paths)


@cache
def catalogue() -> dict[str, Item]:
    found = {}
    for domain in ("films", "books"):
        with (ROOT / "examples/films-books" / f"{domain}.csv").open(encoding="utf-8", newline="") as file:
            found |= {row["id"]: _item(domain, row) for row in csv.DictReader(file)}
    for row in _file()["items"]:
        attributes = {k: tuple(row.pop(k)) for k in ("themes", "people") if k in row}
        found[row["id"]] = Item(**row, attributes=attributes)
    return found


def _item(domain: str, row: dict[str, str]) -> Item:
    def parts(name: str) -> tuple[str, ...]:
        return tuple(filter(None, (row.get(name) or "").split("|")))

    attributes = {name: parts(name) for name in ("themes", "people") if parts(name)}
    return Item(
        domain=domain,
        id=row["id"],
        title=row["title"],
        aliases=parts("aliases"),
        creators=parts("creators"),
        year=int(row["year"]),
        language=row["language"],
        categories=parts("categories"),
        series=row["series"] or None,
        volume=float(row["volume"]) if row["volume"] else None,
        description=row["description"],
        attributes=attributes,
    )


def _end(name: str) -> Entity:
    item = catalogue().get(name)
    return Entity(domain=item.domain, id=item.id, name=item.title) if item else Entity(id=name, name=name)


@cache
def _file() -> dict:
    return yaml.safe_load((ROOT / "tests/data/claims.yaml").read_text(encoding="utf-8"))
