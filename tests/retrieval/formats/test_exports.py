"""A person's own exports: what they rated and finished, in the catalogue that is there."""

import io
import json
import zipfile

import pytest

from retrieval.errors import DataError, UnreadableFile, UsageError
from retrieval.formats import READERS, Files, guess_reader
from retrieval.formats.exports import MAX_BYTES
from retrieval.ingest.matching import PROPOSALS
from retrieval.types import Item

LETTERBOXD = {
    "profile.csv": "Date Joined,Username\n2020-01-01,ann\n",
    "ratings.csv": "Date,Name,Year,Letterboxd URI,Rating\n2021-01-02,Heat,1995,https://boxd.it/1,4.5\n",
    "diary.csv": "Date,Name,Year,Letterboxd URI,Rating,Rewatch,Tags,Watched Date\n"
    "2021-01-05,Heat,1995,https://boxd.it/x,3,,,2021-01-04\n",
    "watched.csv": "Date,Name,Year,Letterboxd URI\n2021-01-02,Ran,1985,https://boxd.it/2\n",
    "likes/films.csv": "Date,Name,Year,Letterboxd URI\n2021-01-02,Alien,1979,https://boxd.it/3\n",
    "deleted/diary.csv": "Date,Name,Year,Letterboxd URI,Rating\n2021-01-02,Brazil,1985,https://boxd.it/3,5\n",
}
GOODREADS = (
    "Book Id,Title,Author,Author l-f,Additional Authors,ISBN,ISBN13,My Rating,Average Rating,Publisher,Binding,"
    "Number of Pages,Year Published,Original Publication Year,Date Read,Date Added,Bookshelves,"
    "Bookshelves with positions,Exclusive Shelf,My Review,Spoiler,Private Notes,Read Count,Owned Copies\n"
    '234225,"Dune (Dune, #1)",Frank Herbert,"Herbert, Frank",,"=""0441013597""","=""9780441013593""",5,4.2,Ace,Paper,'
    "604,2005,1965,2020/03/05,2019/01/02,,,read,loved it,,,1,0\n"
    "2,Emma,Jane Austen,,,,,0,4.0,,,,2003,1815,,2019/01/02,,,read,,,,1,0\n"
    "3,Ulysses,James Joyce,,,,,0,3.7,,,,1990,1922,,2019/01/02,,,to-read,,,,0,0\n"
)
STORYGRAPH = (
    "Title,Authors,Contributors,ISBN/UID,Format,Read Status,Date Added,Last Date Read,Dates Read,Read Count,Moods,Pace,"
    "Star Rating,Review,Tags,Owned?\n"
    'Dune,Frank Herbert,,9780441013593,paper,read,2020/01/02,2020/03/05,2020/03/01-2020/03/05,1,"dark",slow,4.25,,,No\n'
    "Emma,Jane Austen,,,,did-not-finish,2020/01/02,,,0,,,,,,No\n"
    "Ulysses,James Joyce,,,,to-read,2020/01/02,,,0,,,,,,No\n"
)
KINDLE = (
    "asin,title,authors,percentageRead,originType,acquiredDate\n"
    'B1,"Dune: A Novel (Dune Book 1)","Herbert, Frank:",97,PURCHASE,"March 5, 2020"\n'
    'B2,Emma,"Austen, Jane:",3,PURCHASE,1583366400000\n'
    'B3,Ulysses,"Joyce, James:",0,SAMPLE,\n'
)
DOUBAN = (
    "标题,个人评分,打分日期,我的短评,上映日期,制片国家,条目链接\n"
    "霸王别姬 / Farewell My Concubine,5,2020-03-05,好,1993-07-26(中国香港),中国,https://movie.douban.com/subject/1291546/\n"
    "这个杀手不太冷 / Léon,力荐,2020/3/5,,1994-09-14(法国),法国,https://movie.douban.com/subject/1295644/\n"
    "乱,,2020-03-05,,1985,日本,\n"
)


@pytest.fixture
def films(store):
    """A catalogue of films."""
    titles = [("Heat", 1995), ("Ran", 1985), ("Alien", 1979), ("Farewell My Concubine", 1993), ("Parasite", 1982)]
    items = [Item(domain="films", id=title, title=title, year=year) for title, year in titles]
    items.append(Item(domain="films", id="leon", title="The Professional", aliases=("Léon",), year=1994))
    items.append(Item(domain="films", id="ran-cn", title="乱", year=1985, edition_of="Ran"))
    store.upsert_items(items, "catalogue")
    return store


@pytest.fixture
def books(store):
    """A catalogue of books."""
    works = [("Dune", "Frank Herbert", 1965), ("Emma", "Jane Austen", 1815), ("Ulysses", "James Joyce", 1922)]
    items = [Item(domain="books", id=t, title=t, creators=(who,), year=year) for t, who, year in works]
    store.upsert_items(items, "catalogue")
    return store


def kept(store, user="me"):
    """What the store keeps of a person, by item and kind."""
    return {(i.item, i.kind): (i.value, i.timestamp) for i in store.export_user(user)}


def test_letterboxd_zip(films, load, zipped):
    """Ratings, hearts and watched films arrive; the diary adds dates, deleted entries stay deleted."""
    reports = load(zipped(LETTERBOXD), "letterboxd", user="me")
    assert kept(films) == {
        ("Heat", "rating"): (4.5, 1609545600),
        ("Heat", "view"): (0.25, 1609718400),
        ("Ran", "view"): (0.25, 1609545600),
        ("Alien", "finish"): (1.0, 1609545600),
    }
    assert [r.file for r in reports.values()] == ["ratings.csv", "diary.csv", "watched.csv", "films.csv"]


def test_letterboxd_of_somebody_who_never_rates(films, load, zipped):
    """Then a watched film is a finished one: it is all that there is."""
    load(zipped({"watched.csv": LETTERBOXD["watched.csv"]}), "letterboxd", user="me")
    assert kept(films) == {("Ran", "finish"): (1.0, 1609545600)}


def test_letterboxd_diary_alone(films, load, write):
    """Of a film watched twice the latest rating counts."""
    header, first = LETTERBOXD["diary.csv"].splitlines()
    again = first.replace(",3,", ",5,").replace("2021-01-04", "2022-01-04")
    report = load(write("diary.csv", f"{header}\n{first}\n{again}\n"), "letterboxd", user="me")["diary.csv"]
    assert kept(films)["Heat", "rating"][0] == 5.0
    assert report.rejected == 0


def test_importing_again_doubles_nothing(films, load, zipped):
    """A newer export replaces what an older one said."""
    load(zipped(LETTERBOXD), "letterboxd", user="me")
    before = kept(films)
    load(zipped(LETTERBOXD), "letterboxd", user="me")
    assert kept(films) == before


def test_goodreads_library(books, load, write):
    """Ratings count whatever the edition's year; unrated read books are known, wishes are left out."""
    report = load(write("goodreads_library_export.csv", GOODREADS), "goodreads", "books", user="me")
    assert kept(books) == {("Dune", "rating"): (5.0, 1583366400), ("Emma", "view"): (0.25, 1546387200)}
    assert report["goodreads_library_export.csv"].left_out == {"wished for or begun, not finished": 1}


def test_goodreads_saved_by_excel(books, load, write):
    """A file that is not UTF-8 throughout is read as what Excel writes, with its accents."""
    path = write("x.csv", (GOODREADS + "4,Éloge,Rosé Ünal,,,,,4,4,,,,,,,2019/01/02,,,read,,,,1,0\n").encode("cp1252"))
    load(path, "goodreads", "books", user="me", add_items=True)
    assert {"Éloge"} <= {item.title for item in books.iter_items("books")}


def test_storygraph(books, load, write):
    """Quarter stars are kept; what was not finished is known without being liked."""
    load(write("story.csv", STORYGRAPH), "storygraph", "books", user="me")
    assert kept(books) == {("Dune", "rating"): (4.25, 1583366400), ("Emma", "view"): (0.25, 1577923200)}


def test_kindle(books, load, write):
    """Read to the end is finished, the others are bought; samples are left out, and last names may come first."""
    load(write("kindle.csv", KINDLE), "kindle", "books", user="me", add_items=True)
    events = {(i.kind, i.timestamp) for i in books.export_user("me")}
    assert events == {("finish", 1583366400), ("purchase", 1583366400)}
    (added,) = [item for item in books.iter_items("books") if item.id.startswith("kindle:")]
    assert (added.title, added.creators, added.volume) == ("Dune: A Novel", ("Frank Herbert",), 1.0)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_douban(films, load, write, encoding):
    """Chinese columns and titles: the other title finds the film, stars may be words, an edition is its work."""
    report = load(write("豆瓣.csv", DOUBAN.encode(encoding)), "douban", user="me")["豆瓣.csv"]
    assert report.rejected == 0
    assert kept(films) == {
        ("Farewell My Concubine", "rating"): (5.0, 1583366400),
        ("leon", "rating"): (5.0, 1583366400),
        ("ran-cn", "view"): (0.25, 1583366400),
    }


def test_broken_rows_in_another_encoding(films, load, write):
    """They are reported with the encoding that the file is in."""
    report = load(write("d.csv", DOUBAN.encode("gb18030") + b"\xff\xff,5,,,,,\n"), "douban", user="me")["d.csv"]
    assert (report.added, report.reasons) == (3, {"not gb18030": 1})


def test_unmatched_titles_are_reported_with_the_nearest(films, load, write, tmp_path):
    """A film that the catalogue lacks is rejected like a bad row, as the person's, with titles to choose from."""
    rejects = tmp_path / "rejects.jsonl"
    text = LETTERBOXD["ratings.csv"] + "2021-01-02,Parasite,2019,https://boxd.it/9,5\n2021-01-02,Aliem 3,,https://x,4\n"
    report = load(write("ratings.csv", text), "letterboxd", user="me", rejects=rejects)["ratings.csv"]
    assert (report.added, report.reasons) == (1, {"no such title in the catalogue": 2})
    rows = [json.loads(line) for line in rejects.read_text().splitlines()]
    assert "Parasite (1982)" in rows[0]["reason"]
    assert "Alien (1979)" in rows[1]["reason"]
    assert [row["row"]["user"] for row in rows] == ["me", "me"]


def test_unmatched_titles_can_become_items(films, load, write):
    """With add_items they are items that hold public facts only, found again by the next export."""
    text = LETTERBOXD["ratings.csv"] + "2021-01-02,Parasite,2019,https://boxd.it/9,5\n"
    path = write("ratings.csv", text)
    assert load(path, "letterboxd", user="me", add_items=True)["ratings.csv"].new_items == 1
    assert load(path, "letterboxd", user="you", add_items=True)["ratings.csv"].new_items == 0
    ours = {item for item, _ in kept(films)} - {"Heat"}
    assert ours == {item for item, _ in kept(films, "you")} - {"Heat"}
    added = films.items("films", ours)[next(iter(ours))]
    assert (added.title, added.year, added.links) == ("Parasite", 2019, ("https://boxd.it/9",))


def test_an_export_can_be_the_first_catalogue(store, load, write):
    """Without a catalogue it is refused unless it may make one."""
    path = write("goodreads.csv", GOODREADS)
    with pytest.raises(UsageError) as caught:
        load(path, "goodreads", "books", user="me")
    assert "--add-items" in caught.value.hint
    load(path, "goodreads", "books", user="me", add_items=True)
    assert {item.title for item in store.iter_items("books")} == {"Dune", "Emma"}
    assert not any("loved it" in item.model_dump_json() for item in store.iter_items("books"))


def test_another_author_is_another_book(books, load, write):
    """The same title by somebody else is not matched; initials and spaces do not make somebody else."""
    books.upsert_items([Item(domain="books", id="hobbit", title="The Hobbit", creators=("J.R.R. Tolkien",))], "more")
    text = STORYGRAPH + "Emma,Charlotte Gainsbourg,,,,read,2020/01/02,,,1,,,5,,,No\n"
    text += "Hobbit,J. R. R. Tolkien,,,,read,2020/01/02,,,1,,,5,,,No\n"
    report = load(write("story.csv", text), "storygraph", "books", user="me")["story.csv"]
    assert report.reasons == {"no such title in the catalogue": 1}
    assert kept(books)["hobbit", "rating"][0] == 5.0


def test_years_may_differ_by_one(films, load, write):
    """Databases date films differently; of two with one title the nearer one is meant."""
    films.upsert_items([Item(domain="films", id="heat2", title="Heat", year=1986)], "more")
    text = "Date,Name,Year,Letterboxd URI,Rating\n2021-01-02,Heat,1996,u,4\n2021-01-02,Ran,1983,u,4\n"
    text += "2021-01-02,Heat,,u,3\n"
    report = load(write("ratings.csv", text), "letterboxd", user="me")["ratings.csv"]
    assert set(kept(films)) == {("Heat", "rating")}
    assert report.reasons == {
        "no such title in the catalogue": 1,
        "several items of the catalogue have this title": 1,
    }


@pytest.mark.parametrize("name", ["../../etc/ratings.csv", "/ratings.csv", "x/../ratings.csv"])
def test_paths_in_a_zip_lead_nowhere(films, load, zipped, tmp_path, name):
    """A member with a path that leads elsewhere is not looked for, and nothing is unpacked."""
    before = set(tmp_path.rglob("*"))
    path = zipped({name: LETTERBOXD["ratings.csv"], "watched.csv": LETTERBOXD["watched.csv"]})
    load(path, "letterboxd", user="me")
    assert set(kept(films)) == {("Ran", "finish")}
    assert {p for p in set(tmp_path.rglob("*")) - before if p.suffix == ".csv"} == set()


def test_zip_bombs_are_refused(films, load, zipped):
    """A member that unpacks to more than an export can hold is refused before it is read."""
    path = zipped(LETTERBOXD | {"ratings.csv": b"x" * (MAX_BYTES + 1)})
    assert path.stat().st_size < 1 << 20
    with pytest.raises(UnreadableFile, match="MiB"):
        load(path, "letterboxd", user="me")


def test_a_zip_that_lies_about_sizes(films, load, zipped):
    """No more is read than is declared, and that is reported as damaged."""
    path = zipped({"ratings.csv": LETTERBOXD["ratings.csv"] + "2021-01-02,Ran,1985,u,4\n" * 5000})
    with zipfile.ZipFile(path) as packed:
        size = packed.getinfo("ratings.csv").file_size
    path.write_bytes(path.read_bytes().replace(size.to_bytes(4, "little"), (200).to_bytes(4, "little")))
    with pytest.raises(UnreadableFile, match="damaged"):
        load(path, "letterboxd", user="me")
    assert kept(films) == {}


@pytest.mark.parametrize("cut", [0.3, 0.9])
def test_cut_off_zip(films, load, zipped, cut):
    """A ZIP that is cut off has lost its directory: an error with a hint."""
    path = zipped(LETTERBOXD)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * cut)])
    with pytest.raises((UnreadableFile, DataError)) as caught:
        load(path, "letterboxd", user="me")
    assert caught.value.hint


def test_encrypted_zip(films, load, zipped):
    """A ZIP with a password is an error that says so."""
    path = zipped({"ratings.csv": LETTERBOXD["ratings.csv"]})
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    path.write_bytes(content)
    with pytest.raises(UnreadableFile, match="encrypted"):
        load(path, "letterboxd", user="me")


CHANGED = [
    ("letterboxd", "ratings.csv", LETTERBOXD["ratings.csv"].replace("Name", "Film"), "Name"),
    ("goodreads", "x.csv", GOODREADS.replace("My Rating", "Stars"), "My Rating"),
    ("storygraph", "x.csv", STORYGRAPH.replace("Read Status", "Status"), "Read Status"),
    ("kindle", "x.csv", KINDLE.replace("title", "name"), "title"),
    ("douban", "x.csv", DOUBAN.replace("标题", "题"), "标题 or 片名"),
]


@pytest.mark.parametrize(("format", "name", "text", "missing"), CHANGED)
def test_changed_columns(films, load, write, format, name, text, missing):
    """A column that is gone is named, with those that are there."""
    with pytest.raises(DataError, match=missing) as caught:
        load(write(name, text), format, user="me")
    assert text.split(",")[0].strip() in caught.value.hint


def test_bad_rows_of_an_export(books, load, write, tmp_path):
    """A broken row is reported and kept as the person's; the others are read."""
    rejects = tmp_path / "rejects.jsonl"
    text = (
        (STORYGRAPH + "Émile,Rousseau,,,,to-read,,,,,,,,,,No\n").encode()
        + "Bädly,broken\n".encode("latin-1")
        + b"Emma,Jane Austen,,,,read,yesterday,,,1,,,5,,,No\n"
    )
    report = load(write("s.csv", text), "storygraph", "books", user="me", rejects=rejects)["s.csv"]
    assert report.added == 2
    assert set(report.reasons) == {"not UTF-8", "date does not parse"}
    assert [json.loads(line)["row"]["user"] for line in rejects.read_text().splitlines()] == ["me", "me"]


def test_utf_16_is_named(films, load, write):
    """An encoding that spreadsheets offer and nothing here reads is named."""
    with pytest.raises(UnreadableFile, match="UTF-16"):
        load(write("ratings.csv", LETTERBOXD["ratings.csv"].encode("utf-16")), "letterboxd", user="me")


def test_whose_export_it_is_must_be_said(films, load, zipped, write):
    """Without a user an export is refused, and so are choices among users; a data set has no owner."""
    path = zipped(LETTERBOXD)
    with pytest.raises(UsageError) as caught:
        load(path, "letterboxd")
    assert "--user" in caught.value.hint
    movies = write("movies.csv", "movieId,title,genres\n1,Heat (1995),Crime\n")
    with pytest.raises(UsageError):
        load(movies, "movielens", user="me")


RECOGNISED = [
    ("letterboxd", "diary.csv", LETTERBOXD["diary.csv"]),
    ("goodreads", "library.csv", GOODREADS),
    ("storygraph", "library.csv", STORYGRAPH),
    ("douban", "x.csv", DOUBAN),
    (None, "kindle.csv", KINDLE),
    (None, "books.csv", "title,author\nEmma,Jane Austen\n"),
]


@pytest.mark.parametrize(("format", "name", "text"), RECOGNISED)
def test_exports_are_recognised_where_nothing_else_fits(write, format, name, text):
    """By columns that no other export has; a list of titles and authors could be anything."""
    assert guess_reader(Files(write(name, text))) is (READERS[format] if format else None)


def test_a_zip_of_something_else_is_not_guessed(zipped):
    """It is an error that lists the formats."""
    buffer = io.StringIO("a,b\n1,2\n")
    with pytest.raises(UnreadableFile) as caught:
        guess_reader(Files(zipped({"a.csv": buffer.getvalue()})))
    assert "letterboxd" in caught.value.hint


def test_only_so_many_unknown_titles_get_proposals(films, load, write, tmp_path):
    """Proposals take time, so the later ones of many unknown titles are reported without."""
    rejects = tmp_path / "rejects.jsonl"
    rows = "".join(f"2021-01-02,Alien Heat {n},1970,u,4\n" for n in range(PROPOSALS + 20))
    header = LETTERBOXD["ratings.csv"].splitlines()[0]
    load(write("ratings.csv", f"{header}\n{rows}"), "letterboxd", user="me", rejects=rejects)
    reasons = [json.loads(line)["reason"] for line in rejects.read_text().splitlines()]
    assert sum("nearest: " in reason for reason in reasons) == PROPOSALS
    assert len(reasons) == PROPOSALS + 20
