"""A batch's folder: what is written appears whole, is written once, and can be forgotten."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from retrieval.errors import BackendError, DataError, UsageError
from xdrec_agent.batch import ResultFolder
from xdrec_agent.batch.folder import Done
from xdrec_agent.batch.plan import Job, Partition
from xdrec_agent.batch.rows import Row, schema, table_of
from xdrec_agent.batch.stages import replace_rows

JOB = Job(sources=("films",), target="books", k=2, explain=False, users="all", size=2, model="m", settings="0" * 64)
PARTS = [Partition("part-1", ("ada", "bob")), Partition("part-2", ("cid",))]


@pytest.fixture
def folder(tmp_path):
    made = ResultFolder(str(tmp_path / "out"))
    made.begin(JOB, PARTS)
    return made


def rows(*users, degraded=()):
    return table_of([Row(user=u, degraded=u in degraded, reason="dead" if u in degraded else None) for u in users])


def users(table):
    return table["user"].to_pylist()


def test_a_folder_tells_what_was_begun_and_what_is_done(folder, tmp_path):
    """Job and plan come back as they were; a part counts as done from the moment at which its record is there."""
    again = ResultFolder((tmp_path / "out").as_uri())
    assert (again.job(), again.plan(), again.done()) == (JOB, PARTS, {})
    folder.write_part("part-1", rows("ada", "bob", degraded={"bob"}))
    assert again.done() == {"part-1": Done(name="part-1", users=2, degraded=1)}
    assert again.degraded("part-1") == ["bob"]
    assert again.read_part("part-1").schema == schema()


def test_a_folder_is_read_as_one_data_set(folder, tmp_path):
    """Any reader of Parquet folders sees the results and nothing of the book-keeping."""
    folder.write_part("part-1", rows("ada", "bob"))
    folder.write_part("part-2", rows("cid"))
    found = ds.dataset(tmp_path / "out", format="parquet").to_table()
    assert sorted(users(found)) == ["ada", "bob", "cid"]


def test_a_part_made_twice_is_there_once(folder):
    """Two workers that made the same part leave one file, the later one's."""
    folder.write_part("part-1", rows("ada", "bob", degraded={"ada"}))
    folder.write_part("part-1", rows("ada", "bob"))
    assert folder.done()["part-1"].degraded == 0
    assert users(folder.read_part("part-1")) == ["ada", "bob"]


def test_what_was_half_written_never_counts(folder, tmp_path):
    """A killed writer leaves a hidden file: no part, not read by anybody, and swept away."""
    partial = tmp_path / "out" / ".part-1.parquet.deadbeef"
    partial.write_bytes(b"PAR1")
    assert folder.done() == {}
    folder.sweep()
    assert not partial.exists()
    assert folder.plan() == PARTS


def test_a_new_batch_keeps_out_of_other_peoples_folders(tmp_path):
    """A folder with Parquet files of something else is refused and stays as it was."""
    (tmp_path / "theirs.parquet").write_bytes(b"theirs")
    folder = ResultFolder(str(tmp_path))
    with pytest.raises(UsageError, match="something else"):
        folder.begin(JOB, PARTS)
    assert [file.name for file in tmp_path.iterdir()] == ["theirs.parquet"]
    assert folder.job() is None


def test_a_forgotten_user_is_gone_from_results_and_plan(folder):
    """Forgetting deletes a user's row and place in the plan, nobody else's; a later run does not bring it back."""
    folder.write_part("part-1", rows("ada", "bob", degraded={"ada"}))
    assert folder.forget("ada") == 1
    assert folder.forget("cid") == 0
    assert users(folder.read_part("part-1")) == ["bob"]
    assert folder.done()["part-1"] == Done(name="part-1", users=1, degraded=0)
    assert folder.plan() == [Partition("part-1", ("bob",))]
    assert folder.forget("nobody") == 0


def test_only_the_rows_of_retried_users_are_replaced():
    """A retry changes its users' rows in their places; whoever was forgotten meanwhile does not come back."""
    old, new = rows("ada", "bob", "cid", degraded={"bob", "cid"}), rows("cid", "bob", "dan")
    merged = replace_rows(old, new)
    assert users(merged) == ["ada", "bob", "cid"]
    assert merged["degraded"].to_pylist() == [False, False, False]


def test_failures_are_told_with_the_folder(tmp_path):
    """A place that cannot be written, a URL that is none and a job of another version are errors with a hint."""
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(BackendError) as raised:
        ResultFolder(str(tmp_path / "file" / "out")).begin(JOB, PARTS)
    assert raised.value.hint
    with pytest.raises(UsageError):
        ResultFolder("nothing://here")
    (tmp_path / "_job.json").write_text('{"version": 9}')
    with pytest.raises(DataError):
        ResultFolder(str(tmp_path)).job()


def test_an_empty_table_has_the_columns_of_a_row():
    """The schema's columns are the fields of a row, in order: nothing is dropped silently."""
    assert schema().names == list(Row.model_fields)
    assert isinstance(table_of([]), pa.Table)
