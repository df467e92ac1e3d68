"""Promises of every demo pack. Reads examples/, produces lists of broken rows that must be empty."""

from __future__ import annotations

import csv
import re
from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from demo_packs import EXAMPLES, PACKS, Pack, named, parts, rating, repeated

SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
HAN = re.compile(r"[\u4e00-\u9fff]")
KANA = re.compile(r"[\u3040-\u30ff]")

pytestmark = pytest.mark.parametrize("pack", PACKS, ids=lambda pack: pack.name)


def test_every_pack_is_checked(pack: Pack) -> None:
    """A folder under examples/ without a row in `PACKS` would escape these tests."""
    assert pack.folder.is_dir()
    assert sorted(p.parent.name for p in EXAMPLES.glob("*/demo.yaml")) == sorted(p.name for p in PACKS)


def test_files_are_plain_csv(pack: Pack) -> None:
    """Every file is UTF-8 without a byte order mark, has the promised header, and as many fields in each row."""
    for name, header in pack.columns.items():
        raw = (pack.folder / name).read_bytes()
        assert not raw.startswith(b"\xef\xbb\xbf"), name
        assert b"\r" not in raw, name
        assert raw.endswith(b"\n"), name
        rows = list(csv.reader(raw.decode("utf-8").splitlines(keepends=True), strict=True))
        assert rows[0] == header
        assert [row for row in rows if len(row) != len(header)] == []


def test_sizes(pack: Pack) -> None:
    """Each side, the relations and the people are at least as many as promised."""
    assert [d for d, least in pack.items.items() if len(pack.rows(d)) < least] == []
    assert len(pack.relations) >= pack.least_relations
    assert len(pack.by_user) >= pack.least_people


def test_no_item_twice(pack: Pack) -> None:
    """Ids are unique over both domains, so that a relation's id means one item; titles and descriptions in one."""
    assert repeated(row["id"] for domain in pack.domains for row in pack.rows(domain)) == []
    for domain in pack.domains:
        titles = [(row["title"].casefold(), row.get("year")) for row in pack.rows(domain)]
        assert repeated(titles) == []
        assert repeated(row["description"] for row in pack.rows(domain)) == []


def test_ids_are_slugs_in_order(pack: Pack) -> None:
    """Ids are lowercase ASCII slugs, sorted."""
    for domain in pack.domains:
        ids = [row["id"] for row in pack.rows(domain)]
        assert [id_ for id_ in ids if not SLUG.fullmatch(id_)] == []
        assert ids == sorted(ids)


def test_required_fields_are_filled(pack: Pack) -> None:
    """Only what the pack names may be empty, and no text has stray blanks."""
    cells = [(row["id"], column, text) for row in pack.all_items.values() for column, text in row.items()]
    assert [(id_, column) for id_, column, text in cells if not text and column not in pack.optional] == []
    assert [(id_, column) for id_, column, text in cells if text != " ".join(text.split())] == []


def test_lists_are_tidy(pack: Pack) -> None:
    """The parts of a list are separated by a bar, not empty, not padded and not repeated; other texts have no bar."""
    for row in pack.all_items.values():
        for column in pack.lists:
            texts = parts(row, column)
            assert all(text and text == text.strip() for text in texts), row["id"]
            assert len(set(texts)) == len(texts), row["id"]
        assert [column for column in row if "|" in row[column] and column not in pack.lists] == []


def test_categories_are_of_both_domains(pack: Pack) -> None:
    """An item has one to four categories, in lower case; a new pack's domains have the very same ones."""
    of = {d: {c for row in pack.rows(d) for c in parts(row, "categories")} for d in pack.domains}
    assert [row["id"] for row in pack.all_items.values() if not 1 <= len(parts(row, "categories")) <= 4] == []
    assert [c for found in of.values() for c in found if c != c.lower()] == []
    if pack.name != "films-books":  # a few kinds of films and books have no counterpart
        assert len(set(map(frozenset, of.values()))) == 1


def test_themes_are_few_and_lower_case(pack: Pack) -> None:
    """An item has three to five themes; but for names they are in lower case."""
    assert [row["id"] for row in pack.all_items.values() if not 3 <= len(parts(row, "themes")) <= 5] == []
    themes = {theme for row in pack.all_items.values() for theme in parts(row, "themes")}
    assert sorted(theme for theme in themes - pack.capitals if theme != theme.lower()) == []


def test_themes_are_shared(pack: Pack) -> None:
    """Themes are a vocabulary of both domains: one that a single item has links nothing; a new pack's are in both."""
    counts = Counter(theme for row in pack.all_items.values() for theme in parts(row, "themes"))
    assert [theme for theme, count in counts.items() if count == 1] == []
    if pack.name != "films-books":
        of = [{t for row in pack.rows(d) for t in parts(row, "themes")} for d in pack.domains]
        assert of[0] == of[1]


def test_descriptions_are_one_sentence(pack: Pack) -> None:
    """A description is one sentence of 12 to 28 words that starts with a capital and ends with a full stop."""
    rows = pack.all_items.values()
    assert [row["id"] for row in rows if not 12 <= len(row["description"].split()) <= 28] == []
    assert [row["id"] for row in rows if not re.fullmatch(r"[A-Z][^.!?;…]*\.", row["description"])] == []


def test_descriptions_name_no_title(pack: Pack) -> None:
    """No description holds a title of either domain, its own included: names would give the answer away."""
    titles = {row["title"] for row in pack.all_items.values()}
    telling = [title for title in titles if len(title.split()) > 1 or sum(map(str.isalpha, title)) >= 8]
    found = [
        (row["id"], title)
        for row in pack.all_items.values()
        for title in {*telling, row["title"]}
        if named(title, row["description"])
    ]
    assert found == []


def test_descriptions_name_no_creator(pack: Pack) -> None:
    """No description holds the full name of any creator, nor the last name of one of its own."""
    creators = {creator for row in pack.all_items.values() for creator in parts(row, "creators")}
    found = [
        (row["id"], name)
        for row in pack.all_items.values()
        for name in {*creators, *(creator.split()[-1] for creator in parts(row, "creators"))}
        if named(name, row["description"])
    ]
    assert found == []


def test_descriptions_do_not_follow_a_mould(pack: Pack) -> None:
    """No four opening words occur three times in a pack."""
    starts = Counter(" ".join(row["description"].split()[:4]) for row in pack.all_items.values())
    assert [start for start, count in starts.items() if count > 2] == []


def test_most_items_have_a_chinese_title(pack: Pack) -> None:
    """At least 85% of a domain's items have an alias in Chinese characters; no alias repeats the title."""
    for domain in pack.domains:
        rows = pack.rows(domain)
        chinese = [row for row in rows if any(HAN.search(a) and not KANA.search(a) for a in parts(row, "aliases"))]
        assert len(chinese) >= 0.85 * len(rows)
        assert [row["id"] for row in rows if row["title"] in parts(row, "aliases")] == []


def test_people_are_made_up_and_the_demo_has_one(pack: Pack) -> None:
    """Nobody is called anything but a number, except the user of the demo."""
    assert pack.user in pack.by_user
    assert [user for user in pack.by_user if not re.fullmatch(pack.people, user)] == []


def test_ratings_are_of_items_of_their_domain(pack: Pack) -> None:
    """Every rating is of an item of the catalogue it names, and nobody rates an item twice."""
    ids = {domain: {row["id"] for row in pack.rows(domain)} for domain in pack.domains}
    assert [row for row in pack.ratings if row["item"] not in ids[row["domain"]]] == []
    assert repeated((row["user"], row["domain"], row["item"]) for row in pack.ratings) == []


def test_ratings_are_whole_and_dated(pack: Pack) -> None:
    """Ratings are 1 to 5, purchases have no value; dates are Unix seconds of the years the pack names."""
    known = {("rating", str(n)) for n in range(1, 6)} | {("purchase", "")}
    rows = [(row.get("kind", "rating"), row.get("rating") or row.get("value", "")) for row in pack.ratings]
    assert [row for row in rows if row not in known] == []
    first, last = pack.years
    years = [(datetime.fromtimestamp(int(row["timestamp"]), UTC).year, row) for row in pack.ratings]
    assert [row for year, row in years if not first <= year <= last] == []


def test_everybody_rates_in_both_domains(pack: Pack) -> None:
    """As many items as promised, at least three liked ones of each domain, and something is disliked."""
    for user, rows in pack.by_user.items():
        for domain, (least, most) in pack.rated.items():
            given = [rating(row) for row in rows if row["domain"] == domain]
            assert least <= len(given) <= most, (user, domain)
            assert sum(n >= 4 for n in given) >= 3, (user, domain)
        assert {1, 2} & {rating(row) for row in rows}, user


def test_everybody_goes_back_and_forth(pack: Pack) -> None:
    """A person's dates increase strictly, and both domains occur in each half of the history."""
    for user, rows in pack.by_user.items():
        times = [int(row["timestamp"]) for row in rows]
        assert [(a, b) for a, b in pairwise(times) if a >= b] == [], user
        halves = rows[: len(rows) // 2], rows[len(rows) // 2 :]
        assert [{row["domain"] for row in half} for half in halves] == [set(pack.domains)] * 2, user


def _profile(pack: Pack, user: str, domain: str) -> Counter[str]:
    """How often each category and theme occurs in what a person liked."""
    liked = [row for row in pack.by_user[user] if row["domain"] == domain and rating(row) >= 4]
    return Counter(
        tag
        for row in liked
        for column in ("categories", "themes")
        for tag in parts(pack.all_items[row["item"]], column)
    )


def _cosine(one: Counter[str], other: Counter[str]) -> float:
    return sum(n * other[tag] for tag, n in one.items()) / (_length(one) * _length(other))


def _length(counts: Counter[str]) -> float:
    return sum(n * n for n in counts.values()) ** 0.5


def test_taste_carries_over(pack: Pack) -> None:
    """Of all people's liked items of the target, a person's own are in the nearest quarter, for 80% of them."""
    source, target = pack.domains
    users = sorted(pack.by_user)
    wanted = {user: _profile(pack, user, target) for user in users}
    ranks = []
    for user in users:
        have = _profile(pack, user, source)
        near = sorted(users, key=lambda other: -_cosine(have, wanted[other]))
        ranks.append(near.index(user))
    assert sum(rank < len(users) / 4 for rank in ranks) >= 0.8 * len(users)


def test_relations_are_sorted_triples(pack: Pack) -> None:
    """Relations are sorted, not repeated, complete, of known predicates, about items of the pack."""
    rows = pack.relations
    assert rows == sorted(set(rows))
    assert [row for row in rows if not all(text and text == text.strip() for text in row)] == []
    assert [row for row in rows if row[1] not in pack.predicates] == []
    assert [row for row in rows if row[0] not in pack.all_items] == []
    if pack.name != "films-books":  # there, some objects are names
        assert [row for row in rows if row[2] not in pack.all_items or row[2] == row[0]] == []


def test_the_demo_asks_of_the_pack(pack: Pack) -> None:
    """The questions are about its domains, its people and its titles, and both ways are asked."""
    titles = {row["title"] for row in pack.all_items.values()}
    for ask in pack.demo.asks:
        assert {ask.source, ask.target} == set(pack.domains)
        assert ask.user is None or ask.user in pack.by_user
        assert {*ask.like, *ask.dislike} <= titles
    assert pack.user in {ask.user for ask in pack.demo.asks}


def test_the_licence_is_cc0(pack: Pack) -> None:
    """The pack carries its licence, and its README says that the people are made up, and counts right."""
    licence = (pack.folder / "LICENSE").read_text(encoding="utf-8")
    assert "CC0-1.0" in licence
    assert pack.name in licence
    assert "https://creativecommons.org/publicdomain/zero/1.0/" in licence
    readme = (pack.folder / "README.md").read_text(encoding="utf-8")
    assert "CC0-1.0" in readme
    assert "made up" in readme
    assert f"xdrec demo {pack.name}" in readme or pack.name == "films-books"
    for domain, name in pack.demo.catalogues.items():
        assert f"| `{name}` | {len(pack.rows(domain))} |" in readme
