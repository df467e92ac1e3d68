"""Promises of the demo pack. Reads examples/films-books, produces a list of broken rows that must be empty."""

from __future__ import annotations

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from itertools import groupby, pairwise
from pathlib import Path

import pytest

PACK = Path(__file__).resolve().parents[1] / "examples" / "films-books"
DOMAINS = ("films", "books")
Row = dict[str, str]

ITEM_HEADER = "id,title,aliases,creators,year,language,categories,themes,series,volume,description".split(",")
HEADERS = {
    "films": [*ITEM_HEADER, "people"],
    "books": ITEM_HEADER,
    "film_ratings": ["user", "item", "rating", "timestamp"],
    "book_ratings": ["user", "item", "rating", "timestamp"],
    "relations": ["subject", "predicate", "object"],
}
MAY_BE_EMPTY = {"aliases", "series", "volume"}
LISTS = ("aliases", "creators", "categories", "themes", "people")
CATEGORIES = set(
    "science fiction|fantasy|crime|thriller|mystery|horror|drama|comedy|romance|historical|war|western|adventure"
    "|animation|family|biography|documentary|musical|satire|coming of age|young adult|graphic novel|non-fiction"
    "|memoir|philosophical|political|espionage|heist|dystopia|space opera|cyberpunk|time travel|magical realism"
    "|gothic|noir|literary fiction|short stories|sport|travel|nature|popular science|history|superhero"
    "|martial arts|essays".split("|")
)
PREDICATES = set(
    "about based_on composed_by influenced_by remake_of same_series sequel_of set_in translated_by won_award"
    " written_by".split()
)
WORK_PREDICATES = {"based_on", "influenced_by", "remake_of", "same_series", "sequel_of"}
FIRST_YEAR = {"films": 1895, "books": 1000}
LONGEST_CAREER = 75
SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
HAN = re.compile(r"[\u4e00-\u9fff]")
KANA = re.compile(r"[\u3040-\u30ff]")
WORD = re.compile(r"[^\W_]+")


@cache
def table(name: str) -> list[Row]:
    with (PACK / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


@cache
def items() -> dict[str, Row]:
    return {row["id"]: row for domain in DOMAINS for row in table(domain)}


@cache
def ratings() -> list[Row]:
    """The ratings of both domains, each with its domain, by user and date."""
    rows = [{"domain": domain, **row} for domain in DOMAINS for row in table(f"{domain[:-1]}_ratings")]
    return sorted(rows, key=lambda row: (row["user"], int(row["timestamp"])))


@cache
def ratings_by_user() -> dict[str, list[Row]]:
    by_user: dict[str, list[Row]] = defaultdict(list)
    for row in ratings():
        by_user[row["user"]].append(row)
    return dict(by_user)


def parts(row: Row, column: str) -> list[str]:
    return row[column].split("|") if row.get(column) else []


def repeated(values: Iterator[object]) -> list[object]:
    return [value for value, count in Counter(values).items() if count > 1]


@cache
def words(text: str) -> str:
    """A text's words between blanks: a phrase of whole words is then found by plain search, which is fast."""
    return f" {' '.join(WORD.findall(text.casefold()))} "


def named(name: str, text: str) -> bool:
    return words(name) in words(text)


@pytest.mark.parametrize("name", HEADERS)
def test_files_are_plain_csv(name: str) -> None:
    """Every file is UTF-8 without a byte order mark, has the promised header, and as many fields in each row."""
    raw = (PACK / f"{name}.csv").read_bytes()
    assert not raw.startswith(b"\xef\xbb\xbf")
    assert b"\r" not in raw
    assert raw.endswith(b"\n")
    rows = list(csv.reader(raw.decode("utf-8").splitlines(keepends=True), strict=True))
    assert rows[0] == HEADERS[name]
    assert [row for row in rows if len(row) != len(HEADERS[name])] == []


@pytest.mark.parametrize(
    ("name", "least"),
    [("films", 250), ("books", 400), ("relations", 300), ("film_ratings", 30 * 12), ("book_ratings", 30 * 8)],
)
def test_sizes(name: str, least: int) -> None:
    """The pack holds at least 250 films, 400 books, 300 relations and twenty ratings for each of thirty readers."""
    assert len(table(name)) >= least


@pytest.mark.parametrize("columns", [("id",), ("title", "year"), ("title", "creators")], ids="+".join)
@pytest.mark.parametrize("domain", DOMAINS)
def test_no_item_twice(domain: str, columns: tuple[str, ...]) -> None:
    """No two items of a domain share an id, a title and year, or a title and creators."""
    assert repeated(tuple(row[column].casefold() for column in columns) for row in table(domain)) == []


def test_ids_are_unique_over_both_domains() -> None:
    """A relation's id means one item, whichever domain it is of."""
    assert repeated(row["id"] for domain in DOMAINS for row in table(domain)) == []


@pytest.mark.parametrize("domain", DOMAINS)
def test_ids_are_slugs_in_order(domain: str) -> None:
    """Ids are lowercase ASCII slugs, sorted; a film's id ends in its year."""
    ids = [row["id"] for row in table(domain)]
    assert [id_ for id_ in ids if not SLUG.fullmatch(id_)] == []
    assert ids == sorted(ids)
    if domain == "films":
        assert [row["id"] for row in table(domain) if not row["id"].endswith(f"-{row['year']}")] == []


@pytest.mark.parametrize("domain", DOMAINS)
def test_required_fields_are_filled(domain: str) -> None:
    """Only aliases, series and volume may be empty, and no text has stray blanks."""
    cells = [(row["id"], column, text) for row in table(domain) for column, text in row.items()]
    assert [(id_, column) for id_, column, text in cells if not text and column not in MAY_BE_EMPTY] == []
    assert [(id_, column) for id_, column, text in cells if text != " ".join(text.split())] == []


@pytest.mark.parametrize("column", LISTS)
@pytest.mark.parametrize("domain", DOMAINS)
def test_lists_are_tidy(domain: str, column: str) -> None:
    """The parts of a list are separated by a bar, not empty, not padded and not repeated."""
    lists = [(row["id"], parts(row, column)) for row in table(domain)]
    assert [id_ for id_, texts in lists if any(not text or text != text.strip() for text in texts)] == []
    assert [id_ for id_, texts in lists if len(set(texts)) != len(texts)] == []


@pytest.mark.parametrize("domain", DOMAINS)
def test_years_are_possible(domain: str) -> None:
    """Films are of 1895 to 2025, books of 1000 to 2025."""
    years = range(FIRST_YEAR[domain], 2026)
    assert [row["id"] for row in table(domain) if not row["year"].isdigit() or int(row["year"]) not in years] == []


def test_no_creator_outlives_a_career() -> None:
    """No creator, in both domains together, has works more than 75 years apart: two people share no name."""
    years: dict[str, list[int]] = defaultdict(list)
    for row in items().values():
        for creator in parts(row, "creators"):
            years[creator].append(int(row["year"]))
    assert [(who, sorted(of)) for who, of in years.items() if max(of) - min(of) > LONGEST_CAREER] == []


@pytest.mark.parametrize("domain", DOMAINS)
def test_languages_are_codes(domain: str) -> None:
    """Languages are two lowercase letters, as in ISO 639-1."""
    assert [row["id"] for row in table(domain) if not re.fullmatch(r"[a-z]{2}", row["language"])] == []


@pytest.mark.parametrize("domain", DOMAINS)
def test_categories_are_of_one_list(domain: str) -> None:
    """Both domains use one list of categories, one to four an item."""
    rows = table(domain)
    assert [row["id"] for row in rows if not set(parts(row, "categories")) <= CATEGORIES] == []
    assert [row["id"] for row in rows if not 1 <= len(parts(row, "categories")) <= 4] == []


@pytest.mark.parametrize("domain", DOMAINS)
def test_themes_are_few_and_lower_case(domain: str) -> None:
    """An item has three to five themes; but for "the American dream" they are in lower case."""
    rows = table(domain)
    assert [row["id"] for row in rows if not 3 <= len(parts(row, "themes")) <= 5] == []
    themes = {theme for row in rows for theme in parts(row, "themes")} - {"the American dream"}
    assert sorted(theme for theme in themes if theme != theme.lower()) == []


def test_themes_are_shared() -> None:
    """Themes are a vocabulary of both domains: one that only a single item of the pack has would link nothing."""
    counts = Counter(theme for row in items().values() for theme in parts(row, "themes"))
    assert [theme for theme, count in counts.items() if count == 1] == []


@pytest.mark.parametrize("domain", DOMAINS)
def test_descriptions_are_one_sentence(domain: str) -> None:
    """A description is one sentence of 12 to 28 words that starts with a capital and ends with a full stop."""
    rows = table(domain)
    assert [row["id"] for row in rows if not 12 <= len(row["description"].split()) <= 28] == []
    assert [row["id"] for row in rows if not re.fullmatch(r"[A-Z][^.!?;…]*\.", row["description"])] == []


@pytest.mark.parametrize("domain", DOMAINS)
def test_descriptions_name_no_title(domain: str) -> None:
    """No description holds a title of either domain, its own included: names would give the answer away."""
    titles = {row["title"] for row in items().values()}
    telling = [title for title in titles if len(title.split()) > 1 or sum(map(str.isalpha, title)) >= 8]
    found = [
        (row["id"], title)
        for row in table(domain)
        for title in {*telling, row["title"]}
        if named(title, row["description"])
    ]
    assert found == []


@pytest.mark.parametrize("domain", DOMAINS)
def test_descriptions_name_no_creator(domain: str) -> None:
    """No description holds the full name of any creator, nor the last name of one of its own."""
    creators = {creator for row in items().values() for creator in parts(row, "creators")}
    found = [
        (row["id"], name)
        for row in table(domain)
        for name in {*creators, *(creator.split()[-1] for creator in parts(row, "creators"))}
        if named(name, row["description"])
    ]
    assert found == []


@pytest.mark.parametrize("domain", DOMAINS)
def test_series_start_and_do_not_repeat(domain: str) -> None:
    """A volume has a series; each series has its first volume, whole numbers and no volume twice."""
    assert [row["id"] for row in table(domain) if row["volume"] and not row["series"]] == []
    volumes: dict[str, list[str]] = defaultdict(list)
    for row in table(domain):
        if row["series"]:
            volumes[row["series"]].append(row["volume"])
    assert [name for name, numbers in volumes.items() if "1" not in numbers] == []
    assert [name for name, numbers in volumes.items() if not all(n.isdigit() for n in numbers if n)] == []
    assert {name: twice for name, numbers in volumes.items() if (twice := repeated(n for n in numbers if n))} == {}


@pytest.mark.parametrize("domain", DOMAINS)
def test_later_volumes_are_not_older(domain: str) -> None:
    """Within a series the volumes come out in order, so a mistyped year or volume shows."""
    rows = sorted(
        (row["series"], int(row["volume"]), int(row["year"]), row["id"]) for row in table(domain) if row["volume"]
    )
    assert [
        (before[3], after[3])
        for _, series in groupby(rows, key=lambda row: row[0])
        for volumes in [list(series)]
        for before, after in pairwise(volumes)
        if after[2] < before[2]
    ] == []


@pytest.mark.parametrize("domain", DOMAINS)
def test_most_items_have_a_chinese_title(domain: str) -> None:
    """At least 85% of a domain's items have an alias in Chinese characters; no alias repeats the title."""
    rows = table(domain)
    chinese = [row for row in rows if any(HAN.search(a) and not KANA.search(a) for a in parts(row, "aliases"))]
    assert len(chinese) >= 0.85 * len(rows)
    assert [row["id"] for row in rows if row["title"] in parts(row, "aliases")] == []


def test_there_are_thirty_readers_and_ada() -> None:
    """At least thirty made-up readers, and the demo user ada."""
    assert len(ratings_by_user()) >= 30
    assert "ada" in ratings_by_user()
    assert [user for user in ratings_by_user() if not re.fullmatch(r"reader-\d\d|ada", user)] == []


def test_ratings_are_of_items_of_their_domain() -> None:
    """Every rating is of an item of the catalogue it names, and no reader rates an item twice."""
    ids = {domain: {row["id"] for row in table(domain)} for domain in DOMAINS}
    rows = ratings()
    assert [row for row in rows if row["domain"] not in DOMAINS or row["item"] not in ids[row["domain"]]] == []
    assert repeated((row["user"], row["domain"], row["item"]) for row in rows) == []


def test_ratings_are_whole_and_dated() -> None:
    """Ratings are 1 to 5; dates are Unix seconds of 2015 to 2024, not before the work was out."""
    rows = ratings()
    assert [row for row in rows if row["rating"] not in set("12345")] == []
    years = [(datetime.fromtimestamp(int(row["timestamp"]), UTC).year, row) for row in rows]
    assert [row for year, row in years if not 2015 <= year <= 2024] == []
    assert [row for year, row in years if year < int(items()[row["item"]]["year"])] == []


@pytest.mark.parametrize("user", sorted(ratings_by_user()))
def test_reader_rates_in_both_domains(user: str) -> None:
    """A reader rates 12 to 30 films and 8 to 20 books, likes at least three of each, and dislikes something."""
    rows = ratings_by_user()[user]
    assert 12 <= sum(row["domain"] == "films" for row in rows) <= 30
    assert 8 <= sum(row["domain"] == "books" for row in rows) <= 20
    for domain in DOMAINS:
        assert sum(row["domain"] == domain and int(row["rating"]) >= 4 for row in rows) >= 3
    assert {"3"} < {row["rating"] for row in rows}
    assert {"1", "2"} & {row["rating"] for row in rows}


@pytest.mark.parametrize("user", sorted(ratings_by_user()))
def test_reader_goes_back_and_forth(user: str) -> None:
    """A reader's dates increase strictly, and both domains occur in each half of the history."""
    rows = ratings_by_user()[user]
    times = [int(row["timestamp"]) for row in rows]
    assert [(a, b) for a, b in pairwise(times) if a >= b] == []
    halves = rows[: len(rows) // 2], rows[len(rows) // 2 :]
    assert [{row["domain"] for row in half} for half in halves] == [set(DOMAINS), set(DOMAINS)]


def _profile(user: str, domain: str) -> Counter[str]:
    """How often each category and theme occurs in what a reader liked."""
    liked = [row for row in ratings_by_user()[user] if row["domain"] == domain and int(row["rating"]) >= 4]
    return Counter(
        tag for row in liked for column in ("categories", "themes") for tag in parts(items()[row["item"]], column)
    )


def _cosine(one: Counter[str], other: Counter[str]) -> float:
    return sum(n * other[tag] for tag, n in one.items()) / (_length(one) * _length(other))


def _length(counts: Counter[str]) -> float:
    return sum(n * n for n in counts.values()) ** 0.5


def test_taste_carries_over() -> None:
    """Of all readers' liked books, a reader's own are in the nearest quarter of the liked films, for 80% of them."""
    users = sorted(ratings_by_user())
    books = {user: _profile(user, "books") for user in users}
    ranks = []
    for user in users:
        films = _profile(user, "films")
        near = sorted(users, key=lambda other: -_cosine(films, books[other]))
        ranks.append(near.index(user))
    assert sum(rank < len(users) / 4 for rank in ranks) >= 0.8 * len(users)


def test_relations_are_sorted_triples() -> None:
    """Relations are sorted, not repeated, complete, of known predicates, about items of the pack."""
    rows = [(row["subject"], row["predicate"], row["object"]) for row in table("relations")]
    assert rows == sorted(set(rows))
    assert [row for row in rows if not all(text and text == text.strip() for text in row)] == []
    assert [row for row in rows if row[1] not in PREDICATES] == []
    assert [row for row in rows if row[0] not in items()] == []


@pytest.mark.parametrize("predicate", sorted(WORK_PREDICATES))
def test_related_works_exist(predicate: str) -> None:
    """A related work that looks like an id is another item of the pack, not younger than the one it led to."""
    rows = [row for row in table("relations") if row["predicate"] == predicate]
    ids = [row for row in rows if SLUG.fullmatch(row["object"])]
    assert ids
    assert [row for row in ids if row["object"] not in items() or row["object"] == row["subject"]] == []
    known = [(row, items()[row["subject"]], items()[row["object"]]) for row in ids]
    assert [row for row, subject, related in known if int(related["year"]) > int(subject["year"])] == []


def test_related_works_are_linked_by_id() -> None:
    """A related work that the books have is written as its id, not as its title."""
    titles = {row["title"].casefold() for row in table("books")}
    rows = [row for row in table("relations") if row["predicate"] in WORK_PREDICATES]
    assert [row for row in rows if row["object"].casefold() in titles and row["object"] not in items()] == []


def test_relations_agree_with_series() -> None:
    """Items that relations put in one series have that series in the catalogue."""
    rows = [row for row in table("relations") if row["predicate"] == "same_series"]
    series = [(row, items()[row["subject"]]["series"], items()[row["object"]]["series"]) for row in rows]
    assert [row for row, one, other in series if not one or one != other] == []


def test_the_licence_is_cc0() -> None:
    """The pack carries its licence, and its README says that the readers are made up."""
    licence = (PACK / "LICENSE").read_text(encoding="utf-8")
    assert "CC0-1.0" in licence
    assert "https://creativecommons.org/publicdomain/zero/1.0/" in licence
    readme = (PACK / "README.md").read_text(encoding="utf-8")
    assert "CC0-1.0" in readme
    assert "made up" in readme
