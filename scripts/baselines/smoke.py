"""Does a baseline work as it is installed? Reads nothing, produces a toy export and a verdict on what answers it.

Everybody in it has one of four tastes, likes its films and books and dislikes another's; a program that learns anything
puts a newcomer's taste first.
"""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

TASTES = ("space", "crime", "love", "war")
DOMAINS = ("films", "books")
EACH = 12
"""Items of a taste in a domain; nobody touches the last one."""
PEOPLE, CASES = 400, 20
LEAST = 0.4
"""Smallest share of the newcomers' first `EACH` - 1 books that has their taste; chance is .25."""


class Broken(Exception):
    """The program does not do what a baseline has to do."""


def smoke(command: Sequence[str | Path], folder: Path) -> float:
    """Run the program (it gets an export and an output folder) on a toy; the share of the right taste.

    Raises:
        Broken: it fails, its answers are none, or it has learnt nothing.
    """
    export, out = folder / "export", folder / "answers"
    tastes = write_toy(export)
    done = subprocess.run([*command, export, out], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Broken(f"it ended with {done.returncode}: {done.stderr[-2000:]}")
    found = {}
    for path in sorted(out.rglob("rankings.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            answer = json.loads(line)
            found[answer["case"]] = answer["items"]
    if found.keys() != tastes.keys():
        raise Broken(f"{len(found)} cases are answered, {len(tastes)} were asked")
    right = [item.startswith(tastes[case]) for case, items in found.items() for item in items[: EACH - 1]]
    share = sum(right) / ((EACH - 1) * CASES)
    if share < LEAST:
        raise Broken(f"{share:.2f} of what comes first has the right taste; chance is {1 / len(TASTES):.2f}")
    return share


def write_toy(export: Path) -> dict[str, str]:
    """Write the export; the taste of each case."""
    rng = np.random.default_rng(0)
    part = export / "fold-0" / "films-to-books"
    part.mkdir(parents=True)
    with (export / "items.jsonl").open("w", encoding="utf-8") as file:
        for domain in DOMAINS:
            for taste in TASTES:
                for number in range(EACH):
                    told = {"domain": domain, "id": f"{taste}-{number}", "text": f"{taste} {taste}ly thing {number}"}
                    file.write(json.dumps(told) + "\n")
    with (part.parent / "training.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("person", "domain", "item", "preference", "timestamp"))
        for person in range(PEOPLE):
            for domain in DOMAINS:
                for item, preference in _taste(rng, TASTES[person % len(TASTES)]):
                    rows.writerow((f"p{person}", domain, item, preference, 1))
    tastes = {f"case-{number}": TASTES[number % len(TASTES)] for number in range(CASES)}
    with (part / "cases.jsonl").open("w", encoding="utf-8") as file:
        for case, taste in tastes.items():
            known = [{"item": i, "preference": p, "timestamp": 1} for i, p in _taste(rng, taste)]
            file.write(json.dumps({"case": case, "history": known}) + "\n")
    return tastes


def _taste(rng: np.random.Generator, taste: str) -> list[tuple[str, float]]:
    """Six liked items of a taste and four disliked ones of the others."""
    other = [t for t in TASTES if t != taste]
    liked = [(f"{taste}-{n}", 1.0) for n in rng.choice(EACH - 1, 6, replace=False)]
    return liked + [(f"{rng.choice(other)}-{n}", -1.0) for n in rng.choice(EACH - 1, 4, replace=False)]
