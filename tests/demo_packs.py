"""The demo packs as tables. Reads examples/*, produces rows, and what each pack promises of itself."""

from __future__ import annotations

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from xdrec_agent.app import DemoPack, load_pack

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
WORD = re.compile(r"[^\W_]+")
Row = dict[str, str]


@dataclass(frozen=True)
class Pack:
    """A pack and its promises.

    Attributes:
        headers: columns of the catalogues, by domain in the order of the demo.yaml.
        optional: columns that may be empty.
        lists: columns that hold lists.
        people: what the made-up people are called; `user`: the demo's own.
        rated: how many items of each domain a person has, at least and at most.
        capitals: themes that are names.
    """

    name: str
    headers: dict[str, str]
    optional: frozenset[str]
    lists: frozenset[str]
    people: str
    user: str
    items: dict[str, int]
    least_relations: int
    least_people: int
    rated: dict[str, tuple[int, int]]
    years: tuple[int, int]
    predicates: frozenset[str]
    capitals: frozenset[str] = frozenset()
    interaction_header: str = "user,item,rating,timestamp"

    @property
    def folder(self) -> Path:
        return EXAMPLES / self.name

    @cached_property
    def demo(self) -> DemoPack:
        return load_pack(self.folder)

    @property
    def domains(self) -> tuple[str, ...]:
        return tuple(self.demo.catalogues)

    @property
    def columns(self) -> dict[str, list[str]]:
        """The columns that each file must have."""
        found = {self.demo.catalogues[d]: header.split(",") for d, header in self.headers.items()}
        found |= {name: self.interaction_header.split(",") for name in self.demo.interactions.values()}
        return found | {"relations.csv": ["subject", "predicate", "object"]}

    def rows(self, domain: str) -> list[Row]:
        """A domain's catalogue."""
        return table(self.folder / self.demo.catalogues[domain])

    @cached_property
    def all_items(self) -> dict[str, Row]:
        return {row["id"]: row for domain in self.domains for row in self.rows(domain)}

    @cached_property
    def relations(self) -> list[tuple[str, str, str]]:
        return [(r["subject"], r["predicate"], r["object"]) for r in table(self.folder / "relations.csv")]

    @cached_property
    def ratings(self) -> list[Row]:
        """What people did in both domains, each row with its domain, by user and date."""
        rows = [
            {"domain": domain, **row}
            for domain, name in self.demo.interactions.items()
            for row in table(self.folder / name)
        ]
        return sorted(rows, key=lambda row: (row["user"], int(row["timestamp"])))

    @cached_property
    def by_user(self) -> dict[str, list[Row]]:
        found: dict[str, list[Row]] = defaultdict(list)
        for row in self.ratings:
            found[row["user"]].append(row)
        return dict(found)


def rating(row: Row) -> int:
    """A row's rating; a purchase counts as a 4."""
    return 4 if row.get("kind") == "purchase" else int(row.get("rating") or row["value"])


@cache
def table(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def parts(row: Row, column: str) -> list[str]:
    return row[column].split("|") if row.get(column) else []


def repeated(values: Iterable[object]) -> list[object]:
    return [value for value, count in Counter(values).items() if count > 1]


@cache
def words(text: str) -> str:
    """A text's words between blanks: a phrase of whole words is then found by plain search, which is fast."""
    return f" {' '.join(WORD.findall(text.casefold()))} "


def named(name: str, text: str) -> bool:
    return words(name) in words(text)


_WORK = "id,title,aliases,creators,year,language,categories,themes,series,volume,description"
_THING = "id,title,aliases,categories,themes"
_LISTS = frozenset({"aliases", "creators", "categories", "themes"})
_RATED = (11, 30)

FILMS_BOOKS = Pack(
    name="films-books",
    headers={"films": f"{_WORK},people", "books": _WORK},
    optional=frozenset({"aliases", "series", "volume"}),
    lists=_LISTS | {"people"},
    people=r"reader-\d\d|ada",
    user="ada",
    items={"films": 250, "books": 400},
    least_relations=300,
    least_people=30,
    rated={"films": (12, 30), "books": (8, 20)},
    years=(2015, 2024),
    predicates=frozenset(
        "about based_on composed_by influenced_by remake_of same_series sequel_of set_in translated_by won_award"
        " written_by".split()
    ),
    capitals=frozenset({"the American dream"}),
)
KITCHEN_GROCERIES = Pack(
    name="kitchen-groceries",
    headers={
        "kitchen": f"{_THING},material,price,description",
        "groceries": f"{_THING},diet,allergens,price,description",
    },
    optional=frozenset({"allergens"}),
    lists=_LISTS | {"allergens"},
    people=r"shopper-\d\d|mei",
    user="mei",
    items={"kitchen": 80, "groceries": 80},
    least_relations=60,
    least_people=15,
    rated={"kitchen": _RATED, "groceries": _RATED},
    years=(2021, 2025),
    predicates=frozenset({"goes_with", "made_with"}),
    capitals=frozenset(
        "American|Chinese|French|Indian|Italian|Japanese|Korean|Mexican|Middle Eastern|Nordic|Thai".split("|")
    ),
    interaction_header="user,item,kind,value,timestamp",
)
FUNDS_INSURANCE = Pack(
    name="funds-insurance",
    headers={
        "funds": "id,title,aliases,provider,categories,themes,risk_class,horizon_years,cost_percent,description",
        "insurance": "id,title,aliases,provider,categories,themes,term_years,premium_month,excess,description",
    },
    optional=frozenset(),
    lists=_LISTS,
    people=r"saver-\d\d|otto",
    user="otto",
    items={"funds": 80, "insurance": 80},
    least_relations=60,
    least_people=15,
    rated={"funds": _RATED, "insurance": _RATED},
    years=(2021, 2025),
    predicates=frozenset({"complements"}),
)
CONDITIONS_WELLNESS = Pack(
    name="conditions-wellness",
    headers={
        "conditions": f"{_THING},kind,description",
        "wellness": f"{_THING},effort,setting,minutes,contraindicated_for,description",
    },
    optional=frozenset({"contraindicated_for"}),
    lists=_LISTS | {"contraindicated_for"},
    people=r"member-\d\d|ines",
    user="ines",
    items={"conditions": 80, "wellness": 80},
    least_relations=60,
    least_people=15,
    rated={"conditions": (4, 7), "wellness": _RATED},
    years=(2021, 2025),
    predicates=frozenset({"helps_with"}),
)
COURSES_PROJECTS = Pack(
    name="courses-projects",
    headers={
        "courses": f"{_THING},level,hours,requires,description",
        "projects": f"{_THING},level,hours,requires,description",
    },
    optional=frozenset({"requires"}),
    lists=_LISTS | {"requires"},
    people=r"learner-\d\d|noor",
    user="noor",
    items={"courses": 80, "projects": 80},
    least_relations=60,
    least_people=15,
    rated={"courses": _RATED, "projects": (9, 30)},
    years=(2021, 2025),
    predicates=frozenset({"requires"}),
    capitals=frozenset({"3d printing", "JavaScript", "Python", "SQL"}),
)
PACKS = (FILMS_BOOKS, KITCHEN_GROCERIES, FUNDS_INSURANCE, CONDITIONS_WELLNESS, COURSES_PROJECTS)
