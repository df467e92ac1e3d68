"""The table of formats: what is in it, what third parties add, and what is told of files that fit none."""

import gzip
import sys
import tracemalloc

import pytest

from retrieval.errors import BadRow, DataError, UnreadableFile, UsageError
from retrieval.formats import READERS, Files, Reader, find_reader, guess_reader
from retrieval.formats.files import MAX_FILES
from retrieval.tabular import ROW_READERS

PLUGIN = """
from functools import partial
from retrieval.formats import Table
from retrieval.tabular import read_jsonl
from retrieval.types import Item

class Songs:
    name, about, personal = "songs", "a third party's songs", False

    def recognises(self, files):
        return False

    def tables(self, files, request):
        (source,) = files.sources.values()
        return [Table(source.name, "items", partial(read_jsonl, source),
                      lambda row: Item(domain=request.domain, id=row["n"], title=row["n"]))]

songs, nothing = Songs(), object()
"""


@pytest.fixture
def third_party(tmp_path, monkeypatch):
    """An installed distribution with readers, one of them good."""
    site = tmp_path / "site"
    (site / "songs-1.dist-info").mkdir(parents=True)
    (site / "songs-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: songs\nVersion: 1\n")
    (site / "songs-1.dist-info" / "entry_points.txt").write_text(
        "[xdrec.readers]\nsongs = xdrec_songs:songs\nnothing = xdrec_songs:nothing\ngone = xdrec_songs:gone\n"
        "missing = xdrec_no_such_module:x\nmovielens = xdrec_songs:songs\n"
    )
    (site / "xdrec_songs.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(site))
    yield
    sys.modules.pop("xdrec_songs", None)


def test_every_reader_is_one():
    """Each stands under its own name, which is none of the plain tables', and says what it reads."""
    assert READERS.keys().isdisjoint(ROW_READERS)
    for name, reader in READERS.items():
        assert isinstance(reader, Reader)
        assert (reader.name, bool(reader.about)) == (name, True)


@pytest.mark.usefixtures("third_party")
def test_third_parties_register_readers(store, load, write):
    """A reader of an installed package is used by its name; ours cannot be replaced."""
    assert load(write("songs.jsonl", '{"n": "One"}\n'), "songs", "music")["songs.jsonl"].added == 1
    assert find_reader("movielens") is READERS["movielens"]


@pytest.mark.usefixtures("third_party")
@pytest.mark.parametrize("name", ["nothing", "gone", "missing"])
def test_broken_readers_of_third_parties(name):
    """One that does not load, or is no reader, is an error that names it."""
    with pytest.raises(UsageError, match="xdrec_") as caught:
        find_reader(name)
    assert caught.value.hint


@pytest.mark.usefixtures("third_party")
def test_an_unknown_format_lists_the_known():
    """Plain tables, ours and those of third parties."""
    with pytest.raises(UsageError) as caught:
        find_reader("betamax")
    assert all(name in caught.value.hint for name in (*ROW_READERS, *READERS, "songs"))


@pytest.mark.parametrize("name", list(READERS))
def test_nothing_of_the_format(load, write, store, name):
    """A folder without a file of the format is an error that says which files it has."""
    path = write("folder/readme.txt", "hello").parent
    user = {"user": "me", "add_items": True} if READERS[name].personal else {}
    with pytest.raises(DataError) as caught:
        load(path, name, **user)
    assert "readme.txt" in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("name", list(READERS))
def test_a_missing_file(load, tmp_path, store, name):
    """It is named, whatever the format."""
    user = {"user": "me", "add_items": True} if READERS[name].personal else {}
    with pytest.raises(UnreadableFile, match="nowhere"):
        load(tmp_path / "nowhere", name, **user)


@pytest.mark.parametrize(
    "content", [b"", b"\0\1\2\xff" * 50, b'"', b"{", gzip.compress(b"", mtime=0)[:5], b"PK\3\4broken"]
)
def test_strange_files_are_not_guessed(write, content):
    """Looking at them does no harm."""
    assert guess_reader(Files(write("strange.csv", content))) is None


def test_too_many_files(tmp_path):
    """The home folder given by mistake is not searched for ever."""
    for n in range(MAX_FILES + 1):
        (tmp_path / str(n)).touch()
    with pytest.raises(UnreadableFile, match="more than"):
        guess_reader(Files(tmp_path))


def test_strict_stops_at_the_first_bad_row(store, load, write):
    """It is named with its file; what came before it is written."""
    write("m/movies.csv", "movieId,title,genres\n1,Heat (1995),Crime\n")
    folder = write("m/ratings.csv", "userId,movieId,rating,timestamp\n1,1,4,1\n1,2,4,1\n1,1,9,1\n").parent
    with pytest.raises(BadRow, match=r"ratings\.csv, line 3"):
        load(folder, "movielens", strict=True)
    assert len(store.export_user("1")) == 1


def test_a_data_set_without_rows(load, write):
    """Column names alone are bad data rather than an empty success."""
    with pytest.raises(DataError, match="no rows"):
        load(write("movies.csv", "movieId,title,genres\n"), "movielens")


def peak(load, write, rows):
    """Most memory that an import of so many films and ratings takes."""
    write("m/movies.csv", "movieId,title,genres\n" + "".join(f"{n},Film {n} (1999),Drama\n" for n in range(100)))
    ratings = "".join(f"{n // 100},{n % 100},3.5,1\n" for n in range(rows))
    folder = write("m/ratings.csv", "userId,movieId,rating,timestamp\n" + ratings).parent
    tracemalloc.start()
    report = load(folder, "movielens")["ratings.csv"]
    used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert report.rows == rows
    return used


def test_memory_does_not_grow_with_the_data_set(load, write):
    """Three times the ratings need at most two MB more."""
    peak(load, write, 1_500)  # what is loaded once does not count
    assert peak(load, write, 12_000) < peak(load, write, 4_000) + 2_000_000
