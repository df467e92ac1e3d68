"""Goodreads as data sets: the UCSD's graph, joined from its files, and goodbooks-10k."""

import gzip
import json

import pytest

from retrieval.errors import DataError
from retrieval.formats import READERS, Files, guess_reader
from retrieval.types import EVENT_WEIGHTS, Interaction, Item

BOOK = {
    "isbn": "0312853122",
    "series": ["189911"],
    "country_code": "US",
    "language_code": "eng",
    "popular_shelves": [{"count": "3", "name": "to-read"}],
    "is_ebook": "false",
    "similar_books": [],
    "description": "An &quot;anthology&quot;.",
    "link": "https://www.goodreads.com/book/show/5333265",
    "authors": [{"author_id": "604031", "role": ""}, {"author_id": "7", "role": "Illustrator"}],
    "publication_year": "1984",
    "image_url": "https://images.example/5333265.jpg",
    "book_id": "5333265",
    "ratings_count": "3",
    "work_id": "5400751",
    "title": "W.C. Fields: A Life on Film (Lives, #2)",
    "title_without_series": "W.C. Fields: A Life on Film",
}
READING = {
    "user_id": "8842281e1d1347389f2ab93d60773d4d",
    "book_id": "5333265",
    "review_id": "dda6d",
    "is_read": True,
    "rating": 5,
    "review_text_incomplete": "",
    "date_added": "Sat Oct 07 11:17:22 -0700 2017",
    "date_updated": "Sat Oct 07 11:17:22 -0700 2017",
    "read_at": "",
    "started_at": "",
}
GOODBOOKS = (
    "book_id,goodreads_book_id,best_book_id,work_id,books_count,isbn,isbn13,authors,original_publication_year,"
    "original_title,title,language_code,average_rating,ratings_count,image_url,small_image_url\n"
    '1,2767052,2767052,2792775,272,439023483,9.78e+12,"Suzanne Collins, Somebody Else",2008.0,The Hunger Games,'
    '"The Hunger Games (The Hunger Games, #1)",eng,4.34,4780653,https://i.example/1.jpg,x\n'
    "2,49,49,50,9,,,刘慈欣,-350.0,三体,The Three-Body Problem,eng,4.1,5,,\n"
)


def lines(*records):
    return "".join(json.dumps(record) + "\n" for record in records)


@pytest.fixture
def graph(write):
    """A folder with all files of the graph."""
    write("g/goodreads_book_authors.json.gz", lines({"author_id": "604031", "name": "Ronald J. Fields"}))
    write("g/goodreads_book_genres_initial.json.gz", lines({"book_id": "5333265", "genres": {"history, biography": 1}}))
    write("g/goodreads_book_series.json.gz", lines({"series_id": "189911", "title": "Lives of Comedians"}))
    write("g/goodreads_books.json.gz", lines(BOOK))
    return write("g/goodreads_interactions_dedup.json.gz", lines(READING)).parent


def test_graph_is_joined(store, load, graph):
    """Books get the names of their writers, genres and series from the files beside them; editions know their work."""
    reports = load(graph, "goodreads-graph", "books")
    assert [r.kind for r in reports.values()] == ["details"] * 3 + ["items", "interactions"]
    assert next(store.iter_items("books")) == Item(
        domain="books",
        id="5333265",
        title="W.C. Fields: A Life on Film",
        creators=("Ronald J. Fields",),
        year=1984,
        language="eng",
        categories=("history", "biography"),
        series="Lives",
        volume=2.0,
        edition_of="work:5400751",
        description='An "anthology".',
        links=("https://www.goodreads.com/book/show/5333265",),
        media=("https://images.example/5333265.jpg",),
    )
    assert store.export_user(READING["user_id"]) == [
        Interaction(user=READING["user_id"], domain="books", item="5333265", value=5.0, timestamp=1507400242)
    ]


def test_books_alone_use_the_files_beside_them(store, load, graph):
    """A single file of books is completed from its folder."""
    load(graph / "goodreads_books.json.gz", "goodreads-graph", "books")
    assert next(store.iter_items("books")).creators == ("Ronald J. Fields",)


def test_series_without_a_number(store, load, graph, write):
    """A book whose title does not tell the series has it from the series' file."""
    write("g/goodreads_books.json.gz", lines(BOOK | {"title": "W.C. Fields"}))
    load(graph, "goodreads-graph", "books")
    book = next(store.iter_items("books"))
    assert (book.series, book.volume) == ("Lives of Comedians", None)


def test_readings(store, load, graph, write):
    """Rated books are ratings, read ones without are finished, those on a shelf are left out and counted."""
    readings = [
        READING | {"user_id": "a", "rating": 0, "read_at": "Fri Dec 08 00:00:00 -0800 2017"},
        READING | {"user_id": "b", "rating": 0, "is_read": False},
        READING | {"user_id": "c", "rating": 9},
    ]
    write("g/goodreads_interactions_dedup.json.gz", lines(*readings))
    report = load(graph, "goodreads-graph", "books")["goodreads_interactions_dedup.json.gz"]
    (finished,) = store.export_user("a")
    assert (finished.kind, finished.value, finished.timestamp) == ("finish", EVENT_WEIGHTS["finish"], 1512720000)
    assert report.left_out == {"only on a shelf, neither read nor rated": 1}
    assert report.reasons == {"rating is out of range": 1}
    assert report.rows == report.added + report.rejected + sum(report.left_out.values())


def test_a_cut_off_file_of_details_is_reported(load, graph):
    """What lies beside the books is accounted for like the books."""
    path = graph / "goodreads_book_authors.json.gz"
    many = lines(*({"author_id": str(n), "name": f"Author {n * 7919}"} for n in range(20_000)))
    path.write_bytes(gzip.compress(many.encode())[:60_000])
    reports = load(graph, "goodreads-graph", "books")
    assert reports["goodreads_book_authors.json.gz"].reasons == {"the file is cut off or damaged here": 1}
    assert reports["goodreads_books.json.gz"].added == 1


def test_a_graph_with_other_fields(load, graph, write):
    """Fields that the format needs and that are not there any more are named."""
    write("g/goodreads_books.json.gz", lines({"book_id": "1", "name": "x"}))
    with pytest.raises(DataError, match="title"):
        load(graph, "goodreads-graph", "books")


def test_goodbooks(store, load, write):
    """Books have series, original titles as aliases and genres from the readers' tags; shelves are no genres."""
    write("k/books.csv", GOODBOOKS)
    write("k/tags.csv", "tag_id,tag_name\n1,to-read\n2,young-adult\n3,fantasy\n")
    write("k/book_tags.csv", "goodreads_book_id,tag_id,count\n2767052,1,999\n2767052,2,10\n2767052,3,200\n")
    folder = write("k/ratings.csv", "user_id,book_id,rating\n1,1,5\n2,2,3\n").parent
    reports = load(folder, "goodbooks", "books")
    first, second = store.iter_items("books")
    assert (first.title, first.series, first.volume, first.year) == ("The Hunger Games", "The Hunger Games", 1.0, 2008)
    assert (first.creators, first.categories) == (("Suzanne Collins", "Somebody Else"), ("fantasy", "young adult"))
    assert (second.aliases, second.year, second.creators) == (("三体",), -350, ("刘慈欣",))
    assert reports["ratings.csv"].added == 2


def test_goodbooks_ratings_alone(store, load, write):
    """They come after the books, by the name of the format: nothing else tells them from another table."""
    load(write("k/books.csv", GOODBOOKS), "goodbooks", "books")
    ratings = write("other.csv", "user_id,book_id,rating\n1,1,5\n")
    assert guess_reader(Files(ratings)) is None
    assert load(ratings, "goodbooks", "books")["other.csv"].added == 1


def test_its_files_are_recognised(graph, write):
    """The graph's files, and goodbooks by its books."""
    for path in (graph, graph / "goodreads_books.json.gz", graph / "goodreads_interactions_dedup.json.gz"):
        assert guess_reader(Files(path)) is READERS["goodreads-graph"]
    assert guess_reader(Files(write("k/books.csv", GOODBOOKS).parent)) is READERS["goodbooks"]
