"""Files into the store: what rows mean, which are refused, and what is left when an import is cut off."""

import gzip
import json
import signal
import subprocess
import sys
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retrieval.errors import BadRow, DataError, UnreadableFile, UsageError
from retrieval.ingest import IngestRequest, ingest
from retrieval.ingest.writer import BATCH
from retrieval.store import Store
from retrieval.types import EVENT_WEIGHTS, Interaction, Item


@pytest.fixture
def store(tmp_path):
    with Store.open(f"sqlite:///{tmp_path}/store.sqlite") as store:
        yield store


@pytest.fixture
def load(store, tmp_path):
    """Ingests a text, by default as CSV into the films."""

    def load(text, name="rows.csv", domain="films", **options):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        progress = options.pop("progress", None)
        (report,) = ingest(store, IngestRequest(path, domain, **options), progress=progress)
        return report

    return load


@pytest.fixture
def films(load, store):
    """The store with three films."""
    load("id,title\n1,Alien\n2,Heat\n3,Ran\n", name="films.csv")
    return store


def only_item(store):
    (item,) = store.iter_items("films")
    return item


def test_every_field_of_an_item(store, load):
    """The usual column names fill the fields of an item; every other column becomes an attribute."""
    report = load(
        "id,title,aliases,author,year,language,genres,series,volume,edition_of,description,links,media,available,mood,pages\n"
        "1,The Tombs &amp; I,Tombs|Die Gräber, Le Guin ,1971.0,en,Fantasy| Fantasy |Classic||,Earthsea,2,0,"
        "A &quot;quest&quot;,http://a/?x=1&amp;b|http://b,p.png,no,dark|calm,180\n"
    )
    assert only_item(store) == Item(
        domain="films",
        id="1",
        title="The Tombs & I",
        aliases=("Tombs", "Die Gräber"),
        creators=("Le Guin",),
        year=1971,
        language="en",
        categories=("Fantasy", "Classic"),
        series="Earthsea",
        volume=2.0,
        edition_of="0",
        description='A "quest"',
        links=("http://a/?x=1&amp;b", "http://b"),
        media=("p.png",),
        available=False,
        attributes={"mood": ("dark", "calm"), "pages": 180},
    )
    assert (report.kind, report.attributes) == ("items", ("mood", "pages"))


def test_blank_cells_are_no_values(store, load):
    """Blank cells leave defaults and make no attributes."""
    load("id,title,year,genres,available,mood\n1,Alien,,, ,\n")
    assert only_item(store) == Item(domain="films", id="1", title="Alien")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12), ("-3", -3), ("1.5", 1.5), ("true", True), ("false", False),
        ("007", "007"), ("1.50", "1.50"), ("1e5", "1e5"), ("+1", "+1"), ("nan", "nan"), ("True", "True"),
        ("1 000", "1 000"), ("-0", "-0"), ("1234567890123456789012", "1234567890123456789012"), ("٣", "٣"),
    ],
)  # fmt: skip
def test_attributes_are_typed_with_care(store, load, text, value):
    """Only what would be written the same way again is taken for a number or truth value."""
    load(f"id,title,x\n1,Alien,{text}\n")
    found = only_item(store).attributes["x"]
    assert (found, type(found)) == (value, type(value))


def test_jsonl_items(store, load):
    """JSON lists are taken as they are, objects are kept as text, and a column may turn up late."""
    rows = [{"id": n, "title": "T"} for n in range(1, 200)]
    rows.append(
        {"id": 1.0e3, "title": "Late", "creators": ["A, B", "C"], "tags": ["x", 3], "deep": {"b": 1, "a": [2]}, "n": 2}
    )
    report = load("".join(json.dumps(r) + "\n" for r in rows), name="x.jsonl")
    item = store.items("films", ["1000"])["1000"]
    assert item.creators == ("A, B", "C")
    assert item.attributes == {"tags": ("x", "3"), "deep": '{"a": [2], "b": 1}', "n": 2}
    assert (report.added, report.attributes) == (200, ("tags", "deep", "n"))


def test_parquet_items(store, tmp_path):
    """Typed Parquet columns and lists arrive; missing numbers are no values."""
    path = tmp_path / "x.parquet"
    table = {
        "item_id": [7],
        "title": ["Ran"],
        "year": [1985.0],
        "volume": [float("nan")],
        "genres": [["War"]],
        "score": [float("nan")],
        "runtime": [162],
    }
    pq.write_table(pa.table(table), path)
    ingest(store, IngestRequest(path, "films"))
    expected = Item(domain="films", id="7", title="Ran", year=1985, categories=("War",), attributes={"runtime": 162})
    assert only_item(store) == expected


def test_columns_can_be_named(store, load):
    """Columns with other names are mapped, by field or by a usual name of it, and are not attributes too."""
    load(
        "ISBN;x,name,writer\n9,Emma,Austen / Jane\n",
        columns={"id": "ISBN;x", "title": "name", "creator": "writer"},
        list_separator="/",
    )
    assert only_item(store) == Item(domain="films", id="9", title="Emma", creators=("Austen", "Jane"))


def test_unused_usual_column_becomes_an_attribute(store, load):
    """Of two columns for one field the usual one wins; the other is kept as an attribute."""
    load("id,title,director,author\n1,Alien,Scott,O'Bannon\n")
    assert (only_item(store).creators, only_item(store).attributes) == (("O'Bannon",), {"director": "Scott"})


def test_interactions_of_movielens_shape(store, load, films):
    """userId, movieId, rating and timestamp are understood, and the kind is guessed from the user column."""
    report = load("userId,movieId,rating,timestamp\nann,1,4.5,964982703\nann,2,1,\n")
    assert (report.kind, report.added) == ("interactions", 2)
    assert store.export_user("ann") == [
        Interaction(user="ann", domain="films", item="1", value=4.5, timestamp=964982703),
        Interaction(user="ann", domain="films", item="2", value=1),
    ]


@pytest.mark.parametrize(
    ("scale", "value", "expected"),
    [((0, 10), "0", 1), ((0, 10), "10", 5), ((0, 10), "7.5", 4), ((0.5, 5), ".5", 1), ((-1, 1), "0", 3)],
)
def test_ratings_are_mapped_to_one_to_five(load, films, scale, value, expected):
    """The lowest rating of the file's scale becomes 1, the highest 5, those between lie between."""
    load(f"user,item,rating\nann,1,{value}\n", scale=scale)
    assert films.export_user("ann")[0].value == expected


def test_implicit_events(store, load, films):
    """Events take their own weight, or the usual one of their kind."""
    load("user,item,event,weight\nann,1,Play,\nann,2,purchase,0.3\nann,3,borrow,0.6\n")
    kinds = {i.item: (i.kind, i.value) for i in store.export_user("ann")}
    assert kinds == {"1": ("play", EVENT_WEIGHTS["play"]), "2": ("purchase", 0.3), "3": ("borrow", 0.6)}


def test_default_event(store, load, films):
    """Rows without a kind column are what `event` says."""
    load("user,item\nann,1\n", event="finish")
    assert store.export_user("ann") == [Interaction(user="ann", domain="films", item="1", kind="finish", value=1.0)]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("964982703.9", 964982703),
        ("2001-09-09T01:46:40Z", 1_000_000_000),
        ("2001-09-09 01:46:40", 1_000_000_000),
        ("2001-09-09T03:46:40+02:00", 1_000_000_000),
        ("2001-09-09", 999_993_600),
    ],
)
def test_timestamps(store, load, films, text, seconds):
    """Unix seconds and ISO 8601 are understood; without a zone it is UTC."""
    load(f"user,item,rating,date\nann,1,5,{text}\n")
    assert store.export_user("ann")[0].timestamp == seconds


ITEM_REASONS = [
    (",Alien,1979", "id is missing"),
    ("9, ,1979", "title is empty"),
    ("9,Alien,soon", "year does not parse"),
    ("9,Alien,1979.5", "year does not parse"),
    ("9,Alien,99999", "year is out of range"),
    ("9,Alien,nan", "year does not parse"),
    ("9,Al\0ien,1979", "a character that is not text"),
    ("9,Alien", "wrong number of columns"),
    ("1,Other,1979", "came before with other content"),
]
INTERACTION_REASONS = [
    (",1,5,rating,", "user is missing"),
    ("bob,,5,rating,", "item is missing"),
    ("bob,1,,rating,", "rating is missing"),
    ("bob,1,good,rating,", "rating does not parse"),
    ("bob,1,inf,rating,", "rating does not parse"),
    ("bob,1,6,rating,", "rating is out of range"),
    ("bob,1,0,play,", "weight is out of range"),
    ("bob,1,4,play,", "weight is out of range"),
    ("bob,1,,borrow,", "event without weight"),
    ("bob,1,5,rating,yesterday", "timestamp does not parse"),
    ("bob,1,5,rating,1372118400000", "timestamp is out of range"),
    ("bob,1,5,rating,1950-01-01", "timestamp is out of range"),
    ("bob,9,5,rating,", "unknown item"),
    ("ann,1,2,rating,", "came before with other content"),
]


@pytest.mark.parametrize(("row", "reason"), ITEM_REASONS)
def test_bad_item_rows_are_counted(store, load, row, reason):
    """A bad row is left out and counted by its reason, with its line; the rows around it are written."""
    report = load(f"id,title,year\n1,Alien,1979\n{row}\n2,Heat,1995\n")
    assert (report.rows, report.added, report.rejected, report.reasons) == (3, 2, 1, {reason: 1})
    assert report.problems[0].line == 3
    assert report.problems[0].reason.startswith(reason)
    assert [i.title for i in store.iter_items("films")] == ["Alien", "Heat"]


@pytest.mark.parametrize(("row", "reason"), INTERACTION_REASONS)
def test_bad_interaction_rows_are_counted(store, load, films, row, reason):
    """As for items."""
    report = load(f"user,item,value,kind,timestamp\nann,1,5,rating,5\n{row}\nann,2,4,rating,\n")
    assert (report.rows, report.added, report.rejected, report.reasons) == (3, 2, 1, {reason: 1})
    assert (report.problems[0].line, len(store.export_user("ann"))) == (3, 2)


@pytest.mark.parametrize(
    "bad",
    ['{"id": "9", "title": "\\ud800"}', '{"id": "9", "title": ["a"]}', '{"id": "9", "title": "T", "x": "\\u0000"}'],
)
def test_values_that_no_database_keeps(load, bad):
    """Half characters, NUL and lists for texts are bad rows, not crashes."""
    report = load(f'{{"id": "1", "title": "Alien"}}\n{bad}\n', name="x.jsonl")
    assert (report.added, report.rejected) == (1, 1)


def test_rows_add_up(load):
    """Every row of the file is in exactly one of the report's numbers."""
    load("id,title\n1,Alien\n2,Heat\n")
    report = load("id,title\n1,Alien\n2,Ran\n3,It\n3,It\n3,M\n,x\n")
    parts = (report.added, report.updated, report.unchanged, report.repeated, report.rejected)
    assert (report.rows, parts) == (6, (1, 1, 1, 1, 2))


def test_ingesting_again_changes_nothing(store, load):
    """The same file a second time is unchanged throughout and keeps the generation."""
    text = "id,title,genres\n" + "".join(f"{n},T{n},a|b\n" for n in range(2_500))
    load(text)
    before = store.generation("films")
    report = load(text)
    assert (report.unchanged, report.added, store.generation("films")) == (2_500, 0, before)


def test_rejects_file(load, tmp_path):
    """Rejected rows are written as JSONL with line and reason, in order; half a file never shows."""
    rejects = tmp_path / "out" / "rejects.jsonl"
    rejects.parent.mkdir()
    report = load(b"id,title\n1,Alien\n1,Heat\n,x\n2,\xff\n3,three,more\n", rejects=rejects)
    lines = [json.loads(line) for line in rejects.read_text("utf-8").splitlines()]
    assert report.rejects_file == rejects
    assert [(r["line"], r["reason"].split(":")[0]) for r in lines] == [
        (3, "came before with other content"), (4, "id is missing"), (5, "not UTF-8"), (6, "wrong number of columns"),
    ]  # fmt: skip
    assert lines[0]["row"] == {"id": "1", "title": "Heat"}
    assert lines[3]["row"] == "3,three,more"
    assert list(rejects.parent.iterdir()) == [rejects]


def test_no_rejects_no_file(load, tmp_path):
    """When no row is bad there is no file, not even that of an earlier run."""
    rejects = tmp_path / "rejects.jsonl"
    load("id,title\n,x\n", rejects=rejects)
    assert rejects.exists()
    assert load("id,title\n1,Alien\n", rejects=rejects).rejects_file is None
    assert not rejects.exists()


def test_rejected_half_character_is_written(load, tmp_path):
    """A row is rejected for half a surrogate pair and its rejects line is valid JSON with it."""
    rejects = tmp_path / "rejects.jsonl"
    load('{"id": "9", "title": "\\ud800"}\n', name="x.jsonl", rejects=rejects)
    assert json.loads(rejects.read_text("utf-8"))["row"]["title"] == "\ud800"


def test_only_the_first_problems_are_kept(load):
    """The report counts all bad rows and shows the first twenty."""
    report = load("id,title\n" + ",x\n" * 3_000)
    assert (report.rejected, [p.line for p in report.problems]) == (3_000, list(range(2, 22)))


@pytest.mark.parametrize("bad", [",x", "1,Heat", "3,a,b"])
def test_strict_stops_at_the_first_bad_row(store, load, tmp_path, bad):
    """Under strict the first bad row is raised with its line; all rows before it are written, none after it."""
    with pytest.raises(BadRow, match="line 4") as caught:
        load(f"id,title\n1,Alien\n2,Ran\n{bad}\n4,M\n,\n", strict=True, rejects=tmp_path / "rejects.jsonl")
    assert caught.value.hint
    assert {"1": "Alien", "2": "Ran"}.items() <= {i.id: i.title for i in store.iter_items("films")}.items()
    assert not list(tmp_path.glob("rejects*"))


def test_cut_off_file_is_counted(load):
    """Of a gzip file that is cut off the readable rows are written, and the cut is reported."""
    text = "id,title\n" + "".join(f"{n},T{n * 7919}\n" for n in range(20_000))
    report = load(gzip.compress(text.encode())[:40_000], name="x.csv.gz")
    assert (report.added > 1_000, report.reasons) == (True, {"the file is cut off or damaged here": 1})


def test_progress_counts_rows(load):
    """Progress is told after each batch, with the rows so far, bad ones included."""
    seen = []
    load("id,title\n" + "".join(f"{n or ''},T\n" for n in range(2_500)), progress=seen.append)
    assert seen == [BATCH, 2 * BATCH, 2_500]


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("name,title\n1,Alien\n", {}),
        ("id,name\n1,Alien\n", {}),
        ("id,title\n1,Alien\n", {"columns": {"year": "published"}}),
        ("user,thing,rating\nann,1,5\n", {}),
        ("user,item\nann,1\n", {}),
        ("id,title\n1,Alien\n", {"kind": "interactions"}),
    ],
)
def test_missing_columns_are_listed(load, text, options):
    """A column that is needed or named and not there is an error that lists those that are."""
    with pytest.raises(DataError) as caught:
        load(text, **options)
    assert text.split("\n")[0].replace(",", ", ") in caught.value.hint


@pytest.mark.parametrize("text", ["", "id,title\n", "id,title\n1\n"])
def test_file_without_rows(load, text):
    """A file without a readable row is bad data rather than an empty success."""
    with pytest.raises(DataError) as caught:
        load(text)
    assert caught.value.hint


@pytest.mark.parametrize(
    "options",
    [
        {"domain": " "},
        {"list_separator": ""},
        {"scale": (5, 5)},
        {"columns": {"colour": "title"}},
        {"rejects": "rows.csv"},
        {"rejects": "nowhere/rejects.jsonl"},
    ],
)
def test_senseless_arguments(store, load, tmp_path, options):
    """Arguments that make no sense are refused before anything is read or written."""
    if "rejects" in options:
        options = {"rejects": tmp_path / options["rejects"]}
    with pytest.raises(UsageError) as caught:
        load("id,title\n1,Alien\n", **options)
    assert caught.value.hint
    assert store.domains() == ()
    assert (tmp_path / "rows.csv").read_text() == "id,title\n1,Alien\n"


def test_missing_file(store, tmp_path):
    """A file that is not there is unreadable."""
    with pytest.raises(UnreadableFile):
        ingest(store, IngestRequest(tmp_path / "nothing.csv", "films"))


CHILD = """
import sys
from pathlib import Path
from retrieval.ingest import IngestRequest, ingest
from retrieval.store import Store

with Store.open(sys.argv[1]) as store:
    ingest(store, IngestRequest(Path(sys.argv[2]), "films"), progress=lambda n: print(n, flush=True))
"""


def test_killed_import_leaves_whole_batches(store, load, tmp_path):
    """After SIGKILL what was there is there, with whole batches of the import, and a second run completes it."""
    load("id,title\nold,Before\n", name="before.csv")
    path, total = tmp_path / "many.csv", 20_000
    path.write_text("id,title\n" + "".join(f"{n},Title {n}\n" for n in range(total)))
    command = [sys.executable, "-c", CHILD, f"sqlite:///{tmp_path}/store.sqlite", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        for line in child.stdout:
            if int(line) == 3 * BATCH:
                child.kill()
                break
    assert child.returncode == -signal.SIGKILL
    ids = {item.id for item in store.iter_items("films")}
    assert "old" in ids
    assert 3 * BATCH <= len(ids) - 1 < total
    assert (len(ids) - 1) % BATCH == 0
    (report,) = ingest(store, IngestRequest(path, "films"))
    assert (report.unchanged, report.added) == (len(ids) - 1, total - len(ids) + 1)
    assert {item.id for item in store.iter_items("films")} == {"old", *map(str, range(total))}


def peak_of_ingest(tmp_path, rows):
    path = tmp_path / f"{rows}.csv"
    with path.open("w") as file:
        file.write("user,item,rating\n")
        file.writelines(f"user {n // 100},{n % 100},5\n" for n in range(rows))
    with Store.open(f"sqlite:///{tmp_path}/{rows}.sqlite") as store:
        store.upsert_items([Item(domain="films", id=str(n), title="T") for n in range(100)], "run")
        tracemalloc.start()
        (report,) = ingest(store, IngestRequest(path, "films"))
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert report.added == rows
    return used


def test_memory_does_not_grow_with_the_file(tmp_path):
    """100,000 rows need at most two MB more than 20,000."""
    peak_of_ingest(tmp_path, 1_500)  # what is loaded once does not count
    assert peak_of_ingest(tmp_path, 100_000) < peak_of_ingest(tmp_path, 20_000) + 2_000_000
