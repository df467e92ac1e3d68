"""Makes the ratings of a demo pack's made-up people. Reads its catalogues and tastes.csv, writes one file a domain.

    python scripts/make_pack_ratings.py examples/kitchen-groceries

`tastes.csv` has a row for each person: what they like and dislike (categories and themes, both domains share them) and,
if it must be certain ones, which items of the first domain they `have`. What is rated is drawn from that with a seed
of the person's name: the same files come out every time.
"""

from __future__ import annotations

import csv
import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

Row = dict[str, str]
START, END = 1_609_459_200, 1_767_225_600  # the years 2021 to 2025
NOISE = 0.6


@dataclass(frozen=True)
class Size:
    """How many items of each domain a person likes, is in two minds about and dislikes; `bought`: of liked ones."""

    liked: int
    middling: int
    disliked: int
    bought: float = 0.0


SIZES = {
    "kitchen-groceries": Size(9, 2, 2, bought=0.6),
    "funds-insurance": Size(7, 2, 2),
    "conditions-wellness": Size(7, 2, 2),
    "courses-projects": Size(7, 2, 2),
}


def rows(path: Path) -> list[Row]:
    """The rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def parts(text: str | None) -> list[str]:
    """The parts of a list."""
    return text.split("|") if text else []


def fondness(item: Row, taste: Row, links: Counter[str], rng: random.Random) -> float:
    """How much somebody likes an item: tags of their taste less disliked ones, links to what they have, some chance."""
    tags = {*parts(item["categories"]), *parts(item["themes"])}
    liked, disliked = (len(tags & set(parts(taste[column]))) for column in ("likes", "dislikes"))
    return liked - 2 * disliked + 2 * links[item["id"]] + rng.gauss(0, NOISE)


def drawn(items: Sequence[Row], taste: Row, links: Counter[str], size: Size, rng: random.Random) -> dict[str, int]:
    """Item ids with ratings: every other one of the most liked, some of the others, the least liked."""
    order = [item["id"] for item in sorted(items, key=lambda item: -fondness(item, taste, links, rng))]
    rest, least = order[: -size.disliked], order[-size.disliked :]
    liked = rest[: 2 * size.liked : 2]
    others = [item for item in rest if item not in liked]
    middling = rng.sample(others[len(others) // 2 :], size.middling)
    ratings = {item: 5 if place < size.liked // 2 or rng.random() < 0.3 else 4 for place, item in enumerate(liked)}
    return ratings | dict.fromkeys(middling, 3) | {item: rng.choice((1, 2)) for item in least}


def linked(known: dict[str, int], relations: Sequence[Row]) -> Counter[str]:
    """How often relations link an item to one that is known and not disliked."""
    ends = [(row["subject"], row["object"]) for row in relations]
    return Counter(b for one, other in ends for a, b in ((one, other), (other, one)) if known.get(a, 0) >= 3)


def with_required(ratings: dict[str, int], items: dict[str, Row]) -> dict[str, int]:
    """The ratings with those items that rated ones require, which were good enough to go on from."""
    done = dict(ratings)
    waiting = list(ratings)
    while waiting:
        for needed in parts(items[waiting.pop()].get("requires")):
            if needed in items and done.get(needed, 0) < 4:
                done[needed] = 4
                waiting.append(needed)
    return done


def allowed(item: Row, has: set[str], rules: Sequence[Row]) -> bool:
    """Whether the pack's exclusions let somebody who has these items have this one."""
    for rule in rules:
        named = set(parts(item.get(rule["attribute"])))
        if named & has if rule.get("when", "has") == "has" else named - has:
            return False
    return True


def in_order(ids: list[str], items: dict[str, Row], rng: random.Random) -> Iterator[str]:
    """The items in a random order in which none comes before what it requires."""
    rng.shuffle(ids)
    while ids:
        item = next(i for i in ids if not set(parts(items[i].get("requires"))) & set(ids))
        ids.remove(item)
        yield item


def history(
    taste: Row, catalogues: dict[str, list[Row]], relations: Sequence[Row], rules: Sequence[Row], size: Size
) -> Iterator[Row]:
    """One person's rows, oldest first, each with its domain."""
    rng = random.Random(taste["user"])  # noqa: S311 (people are made up here, not secrets)
    (source, first), (target, second) = catalogues.items()
    have = parts(taste.get("has"))
    if have:  # what matters most to them is named first
        known = {item: max(5 - place // 2, 3) for place, item in enumerate(have)}
    else:
        known = with_required(drawn(first, taste, Counter(), size, rng), {item["id"]: item for item in first})
    open_ = [item for item in second if allowed(item, set(known), rules)]
    new = drawn(open_, taste, linked(known, relations), size, rng)
    domain_of = dict.fromkeys(known, source) | dict.fromkeys(new, target)
    order = list(in_order([*known, *new], {item["id"]: item for item in (*first, *second)}, rng))
    times = sorted(rng.sample(range(START, END), len(order)))
    for item, time in zip(order, times, strict=True):
        rating = {**known, **new}[item]
        bought = rating >= 4 and rng.random() < size.bought
        yield {
            "domain": domain_of[item],
            "user": taste["user"],
            "item": item,
            "kind": "purchase" if bought else "rating",
            "value": "" if bought else str(rating),
            "rating": str(rating),
            "timestamp": str(time),
        }


def main(folder: Path) -> None:
    """Write the interaction files that the pack's demo.yaml names."""
    pack = yaml.safe_load((folder / "demo.yaml").read_text(encoding="utf-8"))
    size = SIZES[folder.name]
    catalogues = {domain: rows(folder / name) for domain, name in pack["catalogues"].items()}
    relations, rules = rows(folder / pack["relations"]), pack.get("exclusions", [])
    tastes = rows(folder / "tastes.csv")
    made = [row for taste in tastes for row in history(taste, catalogues, relations, rules, size)]
    columns = ["user", "item", "kind", "value", "timestamp"] if size.bought else ["user", "item", "rating", "timestamp"]
    for domain, name in pack["interactions"].items():
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(row for row in made if row["domain"] == domain)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
