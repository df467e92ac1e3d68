"""What holds of works: promises of the films-books pack beyond those of all packs (test_demo_pack.py)."""

from __future__ import annotations

import re
from collections import defaultdict
from datetime import UTC, datetime
from itertools import groupby, pairwise

import pytest
from demo_packs import FILMS_BOOKS as PACK
from demo_packs import parts, repeated, table

DOMAINS = ("films", "books")
ITEMS = PACK.all_items
RELATIONS = table(PACK.folder / "relations.csv")
CATEGORIES = set(
    "science fiction|fantasy|crime|thriller|mystery|horror|drama|comedy|romance|historical|war|western|adventure"
    "|animation|family|biography|documentary|musical|satire|coming of age|young adult|graphic novel|non-fiction"
    "|memoir|philosophical|political|espionage|heist|dystopia|space opera|cyberpunk|time travel|magical realism"
    "|gothic|noir|literary fiction|short stories|sport|travel|nature|popular science|history|superhero"
    "|martial arts|essays".split("|")
)
WORK_PREDICATES = {"based_on", "influenced_by", "remake_of", "same_series", "sequel_of"}
FIRST_YEAR = {"films": 1895, "books": 1000}
LONGEST_CAREER = 75
SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@pytest.mark.parametrize("domain", DOMAINS)
def test_years_are_possible(domain: str) -> None:
    """Films are of 1895 to 2025, books of 1000 to 2025."""
    years = range(FIRST_YEAR[domain], 2026)
    assert [row["id"] for row in PACK.rows(domain) if not row["year"].isdigit() or int(row["year"]) not in years] == []


def test_no_creator_outlives_a_career() -> None:
    """No creator, in both domains together, has works more than 75 years apart: two people share no name."""
    years: dict[str, list[int]] = defaultdict(list)
    for row in ITEMS.values():
        for creator in parts(row, "creators"):
            years[creator].append(int(row["year"]))
    assert [(who, sorted(of)) for who, of in years.items() if max(of) - min(of) > LONGEST_CAREER] == []


@pytest.mark.parametrize("domain", DOMAINS)
def test_languages_are_codes(domain: str) -> None:
    """Languages are two lowercase letters, as in ISO 639-1."""
    assert [row["id"] for row in PACK.rows(domain) if not re.fullmatch(r"[a-z]{2}", row["language"])] == []


@pytest.mark.parametrize("domain", DOMAINS)
def test_categories_are_of_one_list(domain: str) -> None:
    """Both domains use one list of categories, one to four an item."""
    rows = PACK.rows(domain)
    assert [row["id"] for row in rows if not set(parts(row, "categories")) <= CATEGORIES] == []
    assert [row["id"] for row in rows if not 1 <= len(parts(row, "categories")) <= 4] == []


@pytest.mark.parametrize("domain", DOMAINS)
def test_series_start_and_do_not_repeat(domain: str) -> None:
    """A volume has a series; each series has its first volume, whole numbers and no volume twice."""
    assert [row["id"] for row in PACK.rows(domain) if row["volume"] and not row["series"]] == []
    volumes: dict[str, list[str]] = defaultdict(list)
    for row in PACK.rows(domain):
        if row["series"]:
            volumes[row["series"]].append(row["volume"])
    assert [name for name, numbers in volumes.items() if "1" not in numbers] == []
    assert [name for name, numbers in volumes.items() if not all(n.isdigit() for n in numbers if n)] == []
    assert {name: twice for name, numbers in volumes.items() if (twice := repeated(n for n in numbers if n))} == {}


@pytest.mark.parametrize("domain", DOMAINS)
def test_later_volumes_are_not_older(domain: str) -> None:
    """Within a series the volumes come out in order, so a mistyped year or volume shows."""
    rows = sorted(
        (row["series"], int(row["volume"]), int(row["year"]), row["id"]) for row in PACK.rows(domain) if row["volume"]
    )
    assert [
        (before[3], after[3])
        for _, series in groupby(rows, key=lambda row: row[0])
        for volumes in [list(series)]
        for before, after in pairwise(volumes)
        if after[2] < before[2]
    ] == []


@pytest.mark.parametrize("predicate", sorted(WORK_PREDICATES))
def test_related_works_exist(predicate: str) -> None:
    """A related work that looks like an id is another item of the pack, not younger than the one it led to."""
    ids = [row for row in RELATIONS if row["predicate"] == predicate and SLUG.fullmatch(row["object"])]
    assert ids
    assert [row for row in ids if row["object"] not in ITEMS or row["object"] == row["subject"]] == []
    known = [(row, ITEMS[row["subject"]], ITEMS[row["object"]]) for row in ids]
    assert [row for row, subject, related in known if int(related["year"]) > int(subject["year"])] == []


def test_related_works_are_linked_by_id() -> None:
    """A related work that the books have is written as its id, not as its title."""
    titles = {row["title"].casefold() for row in PACK.rows("books")}
    rows = [row for row in RELATIONS if row["predicate"] in WORK_PREDICATES]
    assert [row for row in rows if row["object"].casefold() in titles and row["object"] not in ITEMS] == []


def test_relations_agree_with_series() -> None:
    """Items that relations put in one series have that series in the catalogue."""
    rows = [row for row in RELATIONS if row["predicate"] == "same_series"]
    series = [(row, ITEMS[row["subject"]]["series"], ITEMS[row["object"]]["series"]) for row in rows]
    assert [row for row, one, other in series if not one or one != other] == []


def test_a_films_id_ends_in_its_year() -> None:
    """So that ids are unique over films and books."""
    assert [row["id"] for row in PACK.rows("films") if not row["id"].endswith(f"-{row['year']}")] == []


def test_nothing_is_rated_before_it_was_out() -> None:
    """The year of a rating is not before that of the work."""
    years = [(datetime.fromtimestamp(int(row["timestamp"]), UTC).year, row) for row in PACK.ratings]
    assert [row for year, row in years if year < int(ITEMS[row["item"]]["year"])] == []


@pytest.mark.parametrize("domain", DOMAINS)
def test_no_work_twice(domain: str) -> None:
    """No two works of a domain share a title and year, or a title and creators."""
    for other in ("year", "creators"):
        assert repeated((row["title"].casefold(), row[other]) for row in PACK.rows(domain)) == []


CHINESE = table(PACK.folder / "zh.csv")


def test_chinese_rows_are_items() -> None:
    """Every row of the Chinese slice is an item, once, films first, and its title is one of the item's aliases."""
    ids = [row["id"] for row in CHINESE]
    films = [id_ for id_ in ids if id_ in {row["id"] for row in PACK.rows("films")}]
    assert repeated(ids) == []
    assert ids == sorted(films) + sorted(set(ids) - set(films))
    assert [row["id"] for row in CHINESE if row["title"] not in parts(ITEMS[row["id"]], "aliases")] == []


def test_chinese_sentences_give_nothing_away() -> None:
    """A description is one Chinese sentence, unlike the others, that names no title of its item."""
    assert repeated(row["description"] for row in CHINESE) == []
    assert [row["id"] for row in CHINESE if not re.fullmatch(r"[^a-zA-Z。]{15,80}。", row["description"])] == []
    aliases = [(row, alias) for row in CHINESE for alias in parts(ITEMS[row["id"]], "aliases")]
    assert [row["id"] for row, alias in aliases if alias in row["description"]] == []
