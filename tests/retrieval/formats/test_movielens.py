"""MovieLens in all its layouts: films with clean titles, ratings that keep their stars, and nothing lost."""

import gzip
from pathlib import Path

import pytest

from retrieval.errors import DataError
from retrieval.formats import READERS, Files, guess_reader
from retrieval.ingest import IngestRequest, InteractionFilter, ingest
from retrieval.types import Interaction, Item

SHARED = Path(__file__).parents[3].parent / "shared" / "data" / "ml-latest-small"

MOVIES = """movieId,title,genres
1,Toy Story (1995),Adventure|Animation|Children
2,"City of Lost Children, The (Cité des enfants perdus, La) (1995)",Sci-Fi
3,"American President, The (1995)",(no genres listed)
4,Seven (a.k.a. Se7en) (1995),Crime
5,Babylon 5,Sci-Fi
"""
RATINGS = "userId,movieId,rating,timestamp\n7,1,4.0,964982703\n7,2,0.5,964981247\n8,1,5.0,964982224\n"


@pytest.fixture
def folder(write):
    write("ml/movies.csv", MOVIES)
    return write("ml/ratings.csv", RATINGS).parent


def test_folder_of_csv_files(store, load, folder):
    """A folder gives films with year, aliases and genres, then ratings with their users and times."""
    reports = load(folder, "movielens")
    assert [(r.file, r.kind, r.added) for r in reports.values()] == [
        ("movies.csv", "items", 5),
        ("ratings.csv", "interactions", 3),
    ]
    films = {item.id: item for item in store.iter_items("films")}
    assert films["1"] == Item(
        domain="films", id="1", title="Toy Story", year=1995, categories=("Adventure", "Animation", "Children")
    )
    assert (films["2"].title, films["2"].aliases) == ("The City of Lost Children", ("La Cité des enfants perdus",))
    assert (films["3"].title, films["3"].categories) == ("The American President", ())
    assert (films["4"].title, films["4"].aliases, films["5"].year) == ("Seven", ("Se7en",), None)


def test_stars_keep_their_meaning(store, load, folder):
    """Four stars stay four; half a star, which our scale does not have, counts as one."""
    load(folder, "movielens")
    assert store.export_user("7") == [
        Interaction(user="7", domain="films", item="1", value=4.0, timestamp=964982703),
        Interaction(user="7", domain="films", item="2", value=1.0, timestamp=964981247),
    ]


def test_zip_with_a_folder(store, load, zipped):
    """The ZIP is read as it is downloaded, with its one folder inside."""
    path = zipped(
        {"ml-latest-small/": "", "ml-latest-small/movies.csv": MOVIES, "ml-latest-small/ratings.csv": RATINGS}
    )
    assert load(path, "movielens")["ratings.csv"].added == 3
    assert store.domains()[0].items == 5


def test_dat_files_of_1m(store, load, write):
    """Columns between `::` and accents in Latin-1 (or UTF-8, as in 10M) are read."""
    write(
        "1m/movies.dat",
        "1::Misérables, Les (1995)::Drama|Musical\n".encode("latin-1") + "2::Amélie (2001)::Comedy\n".encode(),
    )
    path = write("1m/ratings.dat", "1::1::5::978300760\n1::2::3.5::978302109\n\n").parent
    reports = load(path, "movielens")
    assert {i.title for i in store.iter_items("films")} == {"Les Misérables", "Amélie"}
    assert (reports["ratings.dat"].added, reports["ratings.dat"].rejected) == (2, 0)


def test_tag_genome_and_links(store, load, folder, write):
    """Tags of high relevance become themes, links lead to IMDb; low ones and other files are left alone."""
    write("ml/genome-tags.csv", "tagId,tag\n1,toys\n2,time travel\n")
    write("ml/genome-scores.csv", "movieId,tagId,relevance\n1,1,0.99\n1,2,0.2\n")
    write("ml/links.csv", "movieId,imdbId,tmdbId\n1,114709,862\n2,,\n")
    write("ml/tags.csv", "userId,movieId,tag,timestamp\n2,1,funny,1445714994\n")
    reports = load(folder, "movielens")
    toy_story = store.items("films", ["1"])["1"]
    assert (toy_story.themes, toy_story.links) == (("toys",), ("https://www.imdb.com/title/tt0114709/",))
    assert [r.kind for r in reports.values()] == ["details"] * 3 + ["items", "interactions"]


def test_one_file_at_a_time(store, load, folder):
    """Films and ratings can be imported apart, from files of other names and gzipped, too."""
    films = folder.parent / "films.csv.gz"
    films.write_bytes(gzip.compress(MOVIES.encode()))
    load(films, "movielens")
    assert load(folder / "ratings.csv", "movielens")["ratings.csv"].added == 3


BAD_ROWS = [
    ("9,1,6,964982703", "rating is out of range"),
    ("9,1,,964982703", "rating is missing"),
    ("9,1,4.0,soon", "timestamp does not parse"),
    (",1,4.0,964982703", "userId is missing"),
    ("9,99,4.0,964982703", "unknown item"),
    ("9,1,4.0", "wrong number of columns"),
]


@pytest.mark.parametrize(("row", "reason"), BAD_ROWS)
def test_bad_rows_are_reported(load, folder, row, reason):
    """A bad row is counted with its reason and line; the rows around it are written."""
    (folder / "ratings.csv").write_text(RATINGS + row + "\n8,2,3.0,1\n")
    report = load(folder, "movielens")["ratings.csv"]
    assert (report.added, report.rejected, report.reasons) == (4, 1, {reason: 1})
    assert report.problems[0].line == 5


def test_changed_column(store, load, folder):
    """A column that has another name is named with those that are there, before anything is written."""
    (folder / "ratings.csv").write_text(RATINGS.replace("rating,", "stars,"))
    with pytest.raises(DataError, match="no column rating") as caught:
        load(folder, "movielens")
    assert "stars" in caught.value.hint
    assert store.domains() == ()


def test_cut_off_gzip_keeps_what_was_read(store, load, folder, write):
    """Ratings before the cut are in the store, and the cut is reported."""
    many = RATINGS + "".join(f"{n},{1 + n % 5},3.5,{n * 7919}\n" for n in range(10, 8_000))
    (folder / "ratings.csv").unlink()
    write("ml/ratings.csv.gz", "").write_bytes(gzip.compress(many.encode())[:20_000])
    report = load(folder, "movielens")["ratings.csv.gz"]
    assert report.reasons == {"the file is cut off or damaged here": 1}
    assert report.added == store.domains()[0].interactions > 1_000


def test_a_line_of_ten_megabytes_costs_one_row(load, folder):
    """It is reported; the rows behind it are read."""
    (folder / "ratings.csv").write_text(RATINGS + "9," + "x" * 10_000_000 + ",3,1\n9,1,3.0,5\n")
    report = load(folder, "movielens")["ratings.csv"]
    assert (report.added, report.reasons) == (4, {"row longer than 1 MiB": 1})


def test_wrong_encoding_costs_the_rows_it_is_in(store, load, folder):
    """A film whose title is not UTF-8 is reported, the others are there."""
    (folder / "movies.csv").write_bytes(MOVIES.encode() + "6,Amélie (2001),Comedy\n".encode("latin-1"))
    assert load(folder, "movielens")["movies.csv"].reasons == {"not UTF-8": 1}
    assert store.domains()[0].items == 5


@pytest.mark.parametrize("name", ["movies.csv", "ratings.csv"])
def test_its_files_are_recognised(folder, name):
    """Each file and the folder are unmistakable; a table with one column more is not."""
    assert guess_reader(Files(folder)) is guess_reader(Files(folder / name)) is READERS["movielens"]
    lines = (folder / name).read_text().splitlines()
    (folder / name).write_text("\n".join(f"{line},x" for line in lines))
    assert guess_reader(Files(folder / name)) is None


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real MovieLens is not beside this checkout")
def test_the_real_one(store):
    """All of ml-latest-small is read: every film has a clean title, every row is accounted for, 60 users are kept."""
    request = IngestRequest(SHARED, "films", format="movielens", keep=InteractionFilter(sample=60))
    reports = {r.file: r for r in ingest(store, request)}
    films = list(store.iter_items("films"))
    assert len(films) == reports["movies.csv"].rows == 9742
    ratings = reports["ratings.csv"]
    assert ratings.rows == ratings.added + ratings.rejected + sum(ratings.left_out.values()) == 100_836
    assert ratings.rejected <= 1  # some copies have a damaged line
    assert len(store.users()) == 60
    assert sum(film.year is not None for film in films) >= 9700
    assert not [film.title for film in films if film.title.endswith((", The", ", A", ")"))]
