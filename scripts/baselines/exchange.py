"""What every baseline of another library needs. Reads an export of `xdrec-eval export`, produces `rankings.jsonl`.

Runs in the library's own environment: it imports nothing but numpy. A baseline is a function from a `Unit` (one fold,
one direction) to scores of shape (cases, items of the target); `answer` does the rest.
"""

from __future__ import annotations

import argparse
import csv
import json
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DEPTH = 500
"""So many seen and so many unseen items are written: the largest k that a metric of a run looks at."""
LIKED = 0.5
"""Smallest preference that counts as liked."""

Scores = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Touch:
    """Somebody did something with an item. `person` is a row, `item` a column of the unit's matrix."""

    person: int
    item: int
    preference: float

    @property
    def rating(self) -> float:
        """On a scale of 1 to 5."""
        return 3 + 2 * self.preference


@dataclass(frozen=True)
class Unit:
    """One fold and direction, as one matrix of people and items.

    Attributes:
        items: the export's items of the source, then of the target; columns of the matrix.
        first_target: column of the first target item.
        touches: what the training users did in both domains, then what the cases' users did in the source. The cases
            are the last rows.
        people: rows, the cases among them.
        cases: the lines that ask.
    """

    name: str
    items: list[dict[str, Any]]
    first_target: int
    touches: list[Touch]
    people: int
    cases: list[dict[str, Any]]

    @property
    def first_case(self) -> int:
        """Row of the first case."""
        return self.people - len(self.cases)

    @property
    def texts(self) -> list[str]:
        """What the items say, one text a column."""
        return [item["text"] for item in self.items]

    @cached_property
    def seen(self) -> NDArray[np.bool_]:
        """For each column whether somebody in the matrix touched it."""
        found = np.zeros(len(self.items), dtype=bool)
        found[[touch.item for touch in self.touches]] = True
        return found

    @property
    def liked(self) -> list[Touch]:
        """The touches that say that somebody liked something."""
        return [touch for touch in self.touches if touch.preference >= LIKED]


def units(export: Path) -> Iterator[Unit]:
    """Every fold and direction of an export."""
    catalogue: dict[str, list[dict[str, Any]]] = {}
    with (export / "items.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            item = json.loads(line)
            catalogue.setdefault(item["domain"], []).append(item)
    for asked in sorted(export.glob("fold-*/*-to-*/cases.jsonl")):
        with asked.open(encoding="utf-8") as lines:
            yield _unit(asked.parent, catalogue, [json.loads(line) for line in lines])


def _unit(folder: Path, catalogue: Mapping[str, list[dict[str, Any]]], cases: list[dict[str, Any]]) -> Unit:
    source, target = folder.name.split("-to-")
    items = [*catalogue[source], *catalogue[target]]
    columns = {(item["domain"], item["id"]): column for column, item in enumerate(items)}
    people: dict[str, int] = {}
    touches = []
    with (folder.parent / "training.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            column = columns.get((row["domain"], row["item"]))
            if column is not None:
                person = people.setdefault(row["person"], len(people))
                touches.append(Touch(person, column, float(row["preference"])))
    touches += [
        Touch(len(people) + number, columns[source, known["item"]], known["preference"])
        for number, case in enumerate(cases)
        for known in case["history"]
    ]
    name = f"{folder.parent.name}/{folder.name}"
    return Unit(name, items, len(catalogue[source]), touches, len(people) + len(cases), cases)


def answer(score: Callable[[Unit], Scores], settings: dict[str, Any], packages: tuple[str, ...]) -> None:
    """Answer the export and write to the folder that the command line names; answered units are left alone.

    Args:
        score: for the cases, in order, a score of every target item; higher is better.
        settings: what the library is told.
        packages: whose versions are kept.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("export", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    versions = {"python": platform.python_version(), **{name: version(name) for name in packages}}
    (args.out / "system.json").write_text(json.dumps({"settings": settings, "versions": versions}), encoding="utf-8")
    for unit in units(args.export):
        done = args.out / unit.name / "rankings.jsonl"
        if done.exists():
            continue
        began = time.perf_counter()
        scores = score(unit)
        done.parent.mkdir(parents=True, exist_ok=True)
        partial = done.with_name("rankings.partial")
        with partial.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in _lines(unit, scores))
        partial.replace(done)
        print(f"{unit.name}: {len(unit.cases)} cases, {time.perf_counter() - began:.0f} s", flush=True)


def _lines(unit: Unit, scores: Scores) -> Iterator[dict[str, Any]]:
    ids = [item["id"] for item in unit.items[unit.first_target :]]
    rows = {item: row for row, item in enumerate(ids)}
    seen = unit.seen[unit.first_target :]
    for case, mine in zip(unit.cases, scores, strict=True):
        given = case.get("candidates")
        kept = np.array([rows[item] for item in given]) if given else _best(mine, seen)
        kept = kept[np.argsort(-mine[kept], kind="stable")]
        yield {"case": case["case"], "items": [ids[row] for row in kept], "scores": mine[kept].tolist()}


def _best(scores: Scores, seen: NDArray[np.bool_]) -> NDArray[np.intp]:
    """The first `DEPTH` of the seen and of the unseen items, and what is tied with the last of them.

    If most are tied there, all of these are left out: what is left out counts as tied in the last place.
    """
    kept = np.zeros(len(scores), dtype=bool)
    for kind in (seen, ~seen):
        depth = min(DEPTH, int(kind.sum()))
        if depth:
            last = np.partition(scores[kind], -depth)[-depth]
            at_least = kind & (scores >= last)
            kept |= at_least if at_least.sum() <= 2 * DEPTH else kind & (scores > last)
    return np.flatnonzero(kept)
