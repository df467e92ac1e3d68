"""Rows of files: what can be read is read, what cannot is named, and nothing is swallowed."""

import csv
import gzip
import io
import json
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.errors import UnreadableFile
from retrieval.tabular import ROW_READERS, RowProblem, read_rows, readers
from retrieval.tabular.readers import MAX_ROW, TOO_LONG


def read(path, content, **options):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(read_rows(path, **options))


def outline(rows):
    """Line and reason of problems, line and values of rows."""
    return [(r.line, r.reason) if isinstance(r, RowProblem) else (r[0], *r[1].values()) for r in rows]


@pytest.fixture
def csv_file(tmp_path):
    return tmp_path / "x.csv"


@pytest.fixture
def jsonl_file(tmp_path):
    return tmp_path / "x.jsonl"


def test_csv_rows(csv_file):
    """Rows come with their line number, quotes, line breaks in quotes and blank lines are understood."""
    rows = read(csv_file, 'id,title\r\n1,"a, ""b"""\r\n\r\n2,"two\nlines"\n3,三体\n')
    assert rows == [
        (2, {"id": "1", "title": 'a, "b"'}),
        (4, {"id": "2", "title": "two\nlines"}),
        (6, {"id": "3", "title": "三体"}),
    ]


def test_byte_order_mark_is_not_part_of_the_name(csv_file, jsonl_file):
    """Files that begin with a UTF-8 byte order mark are read like any other."""
    assert read(csv_file, "\ufeffid\n1\n") == [(2, {"id": "1"})]
    assert read(jsonl_file, '\ufeff{"id": 1}\n') == [(1, {"id": 1})]


def test_columns_without_a_name(csv_file):
    """Trailing commas in the first row are no reason to refuse the file."""
    assert [values["a"] for _, values in read(csv_file, "a,,\n1,,\n")] == ["1"]


def test_wrong_number_of_columns(csv_file):
    """A row with too few or too many columns is a problem that says how many; the others are read."""
    rows = read(csv_file, "a,b\n1,2\n1\n1,2,3\n3,4\n")
    assert outline(rows) == [
        (2, "1", "2"),
        (3, readers.WRONG_COLUMN_COUNT),
        (4, readers.WRONG_COLUMN_COUNT),
        (5, "3", "4"),
    ]
    assert (rows[2].raw, rows[2].detail) == ("1,2,3", "3 instead of 2")


def test_broken_encoding_costs_one_row(csv_file, jsonl_file):
    """Bytes that are not UTF-8 make their row a problem, not the file."""
    assert outline(read(csv_file, b"a,b\n1,\xff\xfe\n2,x\n")) == [(2, readers.NOT_UTF8), (3, "2", "x")]
    rows = read(jsonl_file, b'{"a": "\xff"}\n{"a": 1}\n')
    assert outline(rows) == [(1, readers.NOT_UTF8), (2, 1)]
    assert "\ufffd" in rows[0].raw


@pytest.mark.parametrize(
    "broken",
    ['2,"never closed\n', '2,"closed" and on\n', '2,"over\ntwo",lines\n', '"\n'],
)
def test_stray_quote_costs_one_row(csv_file, broken):
    """A stray quote does not swallow the rows behind it, however many there are."""
    tail = "".join(f"{n},x\n" for n in range(3, 2000))
    good = [r for r in read(csv_file, f"a,b\n1,x\n{broken}{tail}") if not isinstance(r, RowProblem)]
    assert [r[1]["a"] for r in good] == ["1", *map(str, range(3, 2000))]


def test_stray_quote_before_a_huge_row(csv_file):
    """Neither a row too long inside an open quote nor one behind it takes other rows along."""
    huge = b"x" * (MAX_ROW + 10)
    rows = read(csv_file, b'a,b\n1,"open\n2,x\n' + huge + b"\n3,x\n" + b"4," + huge + b"\n5,x\n")
    expected = [(2, readers.NOT_CSV), (3, "2", "x"), (4, TOO_LONG)]
    assert outline(rows) == [*expected, (5, "3", "x"), (6, TOO_LONG), (7, "5", "x")]


def test_row_of_the_largest_size_is_read(csv_file, jsonl_file):
    """One MiB is allowed, one byte more is not."""
    for extra, good in ((0, True), (1, False)):
        text = "x" * (MAX_ROW - 3 + extra)
        assert isinstance(read(csv_file, f"a,b\n1,{text}\n")[0], tuple) is good
        text = "x" * (MAX_ROW - 9 + extra)
        assert isinstance(read(jsonl_file, f'{{"a":"{text}"}}\n')[0], tuple) is good


@given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8)), min_size=1, max_size=5))
def test_csv_written_by_csv_is_read_back(tmp_path_factory, rows):
    """Whatever the csv module writes comes back unchanged."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, quoting=csv.QUOTE_ALL)
    writer.writerows([("a", "b"), *rows])
    content = buffer.getvalue().encode(errors="surrogatepass")
    path = tmp_path_factory.mktemp("csv") / "x.csv"
    back = [tuple(values.values()) for _, values in read(path, content)]
    assert back == rows


def test_jsonl_rows(jsonl_file):
    """Objects come with their types and lists; NaN, which JSON does not have, is no value."""
    rows = read(jsonl_file, '{"a": [1, "x"], "b": null}\n\n{"a": 1.5, "c": NaN}\n')
    assert rows == [(1, {"a": [1, "x"], "b": None}), (3, {"a": 1.5, "c": None})]


@pytest.mark.parametrize("bad", ["{", "[1]", '"x"', "nonsense", "[" * 100_000, '{"a": ' + "1" * 5000 + "}"])
def test_bad_json_costs_one_row(jsonl_file, bad):
    """A line that is no JSON object is a problem, however deep or long, and the next one is read."""
    assert outline(read(jsonl_file, f'{bad}\n{{"a": 1}}\n')) == [(1, readers.NOT_JSON), (2, 1)]


@pytest.mark.parametrize("name", ["x.csv.gz", "x.csv"])
def test_gzip_is_recognised_by_its_content(tmp_path, name):
    """A gzipped file is read whether or not its name says so."""
    assert read(tmp_path / name, gzip.compress(b"a\n1\n")) == [(2, {"a": "1"})]


@pytest.mark.parametrize(("name", "line"), [("x.csv.gz", "{},text {}\n"), ("x.jsonl.gz", '{{"a": {}, "b": "{}"}}\n')])
def test_cut_off_gzip_gives_what_it_has(tmp_path, name, line):
    """A gzip file cut off in the middle yields its readable rows in order and ends with a problem."""
    head = "a,b\n" if "csv" in name else ""
    whole = head + "".join(line.format(n, n * 7919) for n in range(20_000))
    packed = gzip.compress(whole.encode())
    rows = read(tmp_path / name, packed[: len(packed) // 2])
    *good, last = rows
    assert (last.reason, len(good) > 5_000) == (readers.CUT_OFF, True)
    assert [int(values["a"]) for _, values in good] == list(range(len(good)))


def test_damaged_gzip_ends_with_a_problem(tmp_path):
    """A flipped byte in a gzip file is reported, not raised, and no row is lost in silence."""
    text = "a,b\n" + "".join(f"{n},{n * 7919}\n" for n in range(20_000))
    packed = bytearray(gzip.compress(text.encode()))
    packed[len(packed) // 2] ^= 0xFF
    assert read(tmp_path / "x.csv.gz", bytes(packed))[-1].reason == readers.CUT_OFF


def test_parquet_rows(tmp_path):
    """Parquet rows come with row numbers, types and lists."""
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"id": [1, 2], "tags": [["a", "b"], None], "score": [0.5, 1.0]}), path)
    assert list(read_rows(path)) == [
        (1, {"id": 1, "tags": ["a", "b"], "score": 0.5}),
        (2, {"id": 2, "tags": None, "score": 1.0}),
    ]


def test_damaged_parquet_ends_with_a_problem(tmp_path):
    """Damage in the data of a Parquet file is a problem behind the rows that were readable."""
    path = tmp_path / "x.parquet"
    pq.write_table(
        pa.table({"id": [str(n * 7919) for n in range(50_000)]}), path, row_group_size=10_000, compression="gzip"
    )
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = b"\0" * 2000
    path.write_bytes(content)
    rows = list(read_rows(path))
    assert (rows[-1].reason, len(rows) > 10_000) == (readers.CUT_OFF, True)


@pytest.mark.parametrize("name", ["x.csv", "x.jsonl", "x.parquet", "x.csv.gz"])
def test_missing_file(tmp_path, name):
    """A file that does not exist is named, with a hint."""
    with pytest.raises(UnreadableFile, match=name) as caught:
        list(read_rows(tmp_path / name))
    assert caught.value.hint


@pytest.mark.parametrize("name", ["x.csv", "x.jsonl", "x.parquet"])
def test_folder_is_not_a_file(tmp_path, name):
    """A folder is refused as unreadable."""
    (tmp_path / name).mkdir()
    with pytest.raises(UnreadableFile):
        list(read_rows(tmp_path / name))


@pytest.mark.parametrize("content", [b"\xff\xfei\0d\0", b'"id\n1\n', b"a,b,a\n1,2,3\n"])
def test_unusable_column_names(csv_file, content):
    """A first row that is not UTF-8, not CSV or names a column twice makes the file unreadable."""
    with pytest.raises(UnreadableFile) as caught:
        read(csv_file, content)
    assert caught.value.hint


def test_no_parquet_at_all(tmp_path):
    """Another file under the name of Parquet is unreadable."""
    with pytest.raises(UnreadableFile, match="not Parquet"):
        read(tmp_path / "x.parquet", "id\n1\n")


@pytest.mark.parametrize(("name", "format"), [("x.txt", None), ("x", None), ("x.csv", "xml")])
def test_unknown_format(tmp_path, name, format):
    """A format that nothing reads is refused, and the hint lists those that there are."""
    with pytest.raises(UnreadableFile) as caught:
        read(tmp_path / name, "id\n1\n", format=format)
    assert all(known in caught.value.hint for known in ROW_READERS)


def test_format_can_be_named(tmp_path):
    """A named format overrides the suffix."""
    assert read(tmp_path / "x.txt", "id\n1\n", format="csv") == [(2, {"id": "1"})]


def test_empty_file_has_no_rows(csv_file, jsonl_file):
    """An empty file, or column names alone, is no error of the reader."""
    assert (read(csv_file, ""), read(csv_file, "a,b\n"), read(jsonl_file, "\n\n")) == ([], [], [])


def peak(path):
    tracemalloc.start()
    count = sum(1 for _ in read_rows(path))
    used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return count, used


def write(path: Path, rows: int) -> Path:
    text = "".join(json.dumps({"a": n, "b": "x" * 50}) + "\n" for n in range(rows))
    path.write_text(text if path.suffix == ".jsonl" else "a,b\n" + "".join(f"{n},{'x' * 50}\n" for n in range(rows)))
    return path


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_memory_does_not_grow_with_the_file(tmp_path, suffix):
    """Ten times the rows need no more memory."""
    read_rows(write(tmp_path / f"warm.{suffix}", 10))
    (_, small), (rows, large) = (peak(write(tmp_path / f"{n}.{suffix}", n)) for n in (2_000, 20_000))
    assert rows == 20_000
    assert large < small + 200_000
