"""Amazon Reviews of 2014, 2018 and 2023: items and ratings out of three layouts."""

import json

import pytest

from retrieval.errors import DataError
from retrieval.formats import READERS, Files, guess_reader
from retrieval.formats.amazon import LITERAL_LIMIT
from retrieval.types import Interaction, Item

REVIEW_2014 = {
    "reviewerID": "A2SUAM1J3GNN3B",
    "asin": "0000013714",
    "reviewerName": "J. McDonald",
    "helpful": [2, 3],
    "reviewText": "I bought this for my husband.",
    "overall": 5.0,
    "summary": "Heavenly",
    "unixReviewTime": 1252800000,
    "reviewTime": "09 13, 2009",
}
META_2014 = {
    "asin": "0000013714",
    "title": "Moll Flanders (Oxford World&amp;#39;s Classics)",
    "price": 5.27,
    "imUrl": "http://ecx.example/I/51.jpg",
    "related": {"also_bought": ["0000031852"]},
    "salesRank": {"Books": 211836},
    "brand": "Daniel Defoe",
    "categories": [["Books", "Literature & Fiction", "Classics"], ["Books", "History"]],
    "description": 'It\'s "old".',
}
META_2018 = {
    "category": ["Movies & TV", "Genre for Featured Categories", "Drama"],
    "tech1": "",
    "description": ["First part.", "", "Second part."],
    "title": "Heat [DVD] (1995)",
    "brand": "Visit Amazon's Michael Mann Page",
    "feature": [],
    "rank": "886,503 in Movies",
    "main_cat": "Movies & TV",
    "asin": "6303824358",
    "imageURLHighRes": ["https://images.example/a.jpg"],
}
META_2023 = {
    "main_category": "Books",
    "title": "Dune (Dune, #1)",
    "subtitle": "Mass Market",
    "author": {"avatar": "x", "name": "Frank Herbert", "about": ["…"]},
    "average_rating": 4.7,
    "features": ["one"],
    "description": ["Spice &amp; sand."],
    "images": [{"large": "https://i.example/l.jpg", "variant": "MAIN"}],
    "videos": [],
    "store": "Frank Herbert (Author)",
    "categories": ["Books", "Science Fiction"],
    "details": {"Publisher": "Ace", "Language": "English"},
    "parent_asin": "0441013597",
    "bought_together": None,
}
REVIEW_2023 = {
    "rating": 4.0,
    "title": "ok",
    "text": "fine",
    "images": [],
    "asin": "B00CHILD",
    "parent_asin": "0441013597",
    "user_id": "AGKHLEW2SOWHNMFQIJGBECAF7INQ",
    "timestamp": 1588687728923,
    "helpful_vote": 0,
    "verified_purchase": True,
}


def lines(*records):
    return "".join(json.dumps(record) + "\n" for record in records)


def test_reviews_and_metadata_of_2014(store, load, write):
    """Metadata is in Python's own notation, with single quotes; reviews are JSON."""
    write("b/meta_Books.json.gz", f"{META_2014!r}\n")
    folder = write("b/reviews_Books_5.json.gz", lines(REVIEW_2014)).parent
    reports = load(folder, "amazon", "books")
    assert [r.kind for r in reports.values()] == ["items", "interactions"]
    assert next(store.iter_items("books")) == Item(
        domain="books",
        id="0000013714",
        title="Moll Flanders (Oxford World's Classics)",
        creators=("Daniel Defoe",),
        categories=("Literature & Fiction", "Classics", "History"),
        description='It\'s "old".',
        media=("http://ecx.example/I/51.jpg",),
    )
    assert store.export_user("A2SUAM1J3GNN3B") == [
        Interaction(user="A2SUAM1J3GNN3B", domain="books", item="0000013714", value=5.0, timestamp=1252800000)
    ]


def test_metadata_of_2018(store, load, write):
    """Lists of descriptions are joined, "Visit Amazon's … Page" is a name, the medium is no part of the title."""
    load(write("meta_Movies_and_TV.json.gz", lines(META_2018)), "amazon")
    (film,) = store.iter_items("films")
    assert (film.title, film.year, film.creators) == ("Heat", 1995, ("Michael Mann",))
    assert (film.description, film.categories[-1]) == ("First part. Second part.", "Drama")


def test_products_and_reviews_of_2023(store, load, write):
    """The parent product is the item, times are milliseconds, the author stands in an object."""
    write("b/meta_Books.jsonl.gz", lines(META_2023))
    load(write("b/Books.jsonl.gz", lines(REVIEW_2023)).parent, "amazon", "books")
    (dune,) = store.iter_items("books")
    assert (dune.id, dune.title, dune.series, dune.volume) == ("0441013597", "Dune", "Dune", 1.0)
    assert (dune.creators, dune.language, dune.categories) == (("Frank Herbert",), "English", ("Science Fiction",))
    (review,) = store.export_user(REVIEW_2023["user_id"])
    assert (review.item, review.value, review.timestamp) == ("0441013597", 4.0, 1588687728)


def test_the_shop_names_creators_where_no_author_is(store, load, write):
    """Roles, rating and format of films are no part of a name."""
    film = META_2023 | {"author": None, "store": "Al Pacino (Actor), Michael Mann (Director)  Rated:  R  Format: DVD"}
    load(write("meta_Movies.jsonl.gz", lines(film)), "amazon")
    assert next(store.iter_items("films")).creators == ("Al Pacino", "Michael Mann")


BAD_LINES = [
    ("{'asin': '1', 'title': open('x')}", "not a JSON object"),
    ("{'asin': '1', 'title': " + "[" * 200 + "]" * 200 + "}", "too long or too deeply nested"),
    ("{'asin': '1', 'title': '" + "x" * LITERAL_LIMIT + "'}", "too long or too deeply nested"),
    ("{'asin': '1', 'title': " + "-" * 100_000 + "1}", "not a JSON object"),
    ("{'asin': '1', 'title'", "not a JSON object"),
    ("{" * 50_000, "not a JSON object"),
    ("import os", "not a JSON object"),
    (repr({"asin": "1", "categories": []}), "title is missing"),
    (repr({"asin": "1", "title": "var aPageStart = (new Date()).getTime();"}), "title is a piece of a page"),
    (repr({"title": "Nameless", "categories": []}), "asin is missing"),
    (repr({"asin": "1", "title": ["a"]}), "a list or object where a text belongs"),
]


@pytest.mark.parametrize(("line", "reason"), BAD_LINES)
def test_bad_lines_cost_themselves(store, load, write, line, reason):
    """Whatever a line holds, nothing of it is run, the reason is told and the next line is read."""
    good = META_2014 | {"asin": "2"}
    report = load(write("meta_Books.json.gz", f"{META_2014!r}\n{line}\n{good!r}\n"), "amazon", "books")[
        "meta_Books.json.gz"
    ]
    assert (report.added, report.reasons, report.problems[0].line) == (2, {reason: 1}, 2)


def test_escapes_of_single_quoted_lines(store, load, write):
    """Backslashes that Python would warn about are text."""
    line = "{'asin': '1', 'title': 'A \\d B', 'categories': [['Books']]}\n"
    load(write("meta_Books.json.gz", line), "amazon", "books")
    assert next(store.iter_items("books")).title == "A \\d B"


def test_refused_reviews_name_their_user(store, write, load, tmp_path):
    """A refused row can be found by its user, who stands in a column of another name."""
    rejects = tmp_path / "rejects.jsonl"
    load(write("reviews_Books.json", lines(REVIEW_2014)), "amazon", "books", rejects=rejects)
    record = json.loads(rejects.read_text())
    assert (record["row"]["user"], record["table"]) == ("A2SUAM1J3GNN3B", "reviews_Books.json")
    assert record["reason"].startswith("unknown item")


@pytest.mark.parametrize("record", [REVIEW_2014, META_2018, META_2023, REVIEW_2023])
def test_its_files_are_recognised(write, record):
    """Each layout is unmistakable by its first line; the single-quoted one, too."""
    assert guess_reader(Files(write("x.jsonl.gz", lines(record)))) is READERS["amazon"]
    assert guess_reader(Files(write("y.json.gz", f"{META_2014!r}\n"))) is READERS["amazon"]


def test_another_layout_is_named(load, write):
    """A file without the fields of a review or product is an error that names them."""
    with pytest.raises(DataError) as caught:
        load(write("Books.jsonl", '{"id": 1, "title": "x"}\n'), "amazon", "books")
    assert "parent_asin" in caught.value.hint
