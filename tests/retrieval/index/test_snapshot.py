"""Snapshots: written whole, opened memory-mapped, replaced in one step."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from retrieval.errors import IndexMissing
from retrieval.index import centred
from retrieval.index.snapshot import FORMAT, POINTER, Manifest, current_name, open_snapshot, write_snapshot
from retrieval.types import Item

VECTORS = np.eye(3, 4, dtype=np.float32)


def book(id_, **fields):
    return Item(domain="books", id=id_, title=f"Book {id_}", **fields)


def title(item):
    return item.title


def manifest(**changes):
    made = Manifest(
        domain="books",
        encoder="words",
        encoder_fingerprint="e",
        template_fingerprint="t",
        items=3,
        dims=4,
        generation=1,
        format=FORMAT,
    )
    return made.model_copy(update=changes)


def write(folder, ids="abc", **changes):
    write_snapshot(folder, manifest(**changes), iter(map(book, ids)), VECTORS, title)


def test_comes_back_as_it_went_in(tmp_path):
    """Manifest, ids, rows and the centred vectors are what was written; unknown ids have no row."""
    write(tmp_path)
    snapshot = open_snapshot(tmp_path, "books")
    assert snapshot.manifest == manifest()
    assert snapshot.ids(np.array([2, 0])) == ["c", "a"]
    assert snapshot.rows(["c", "nope", "a"]).tolist() == [2, 0]
    np.testing.assert_allclose(snapshot.mean, VECTORS.mean(axis=0))
    np.testing.assert_allclose(snapshot.vectors, centred(VECTORS, VECTORS.mean(axis=0)))


def test_vectors_stay_on_disk(tmp_path):
    """Vectors are mapped, not read into memory."""
    write(tmp_path)
    assert isinstance(open_snapshot(tmp_path, "books").vectors, np.memmap)


@given(hnp.arrays(np.float32, (5, 3), elements=st.floats(-1, 1, width=32)))
def test_centred_rows(vectors):
    """Centred rows have unit length, except those that equal the mean, which are zero; nothing is NaN."""
    mean = vectors.mean(axis=0)
    rows = centred(vectors, mean)
    lengths = np.linalg.norm(rows, axis=1)
    far = np.linalg.norm(vectors - mean, axis=1) > 1e-6
    np.testing.assert_allclose(lengths[far], 1, atol=1e-4)
    assert (lengths <= 1 + 1e-4).all()


def test_a_new_one_replaces_the_old_and_leaves_its_readers_alone(tmp_path):
    """After a build the new snapshot opens; one that was open before still shows the old rows; one folder is left."""
    write(tmp_path)
    old, old_name = open_snapshot(tmp_path, "books"), current_name(tmp_path)
    write(tmp_path, "xyz", generation=2)
    assert current_name(tmp_path) != old_name
    assert open_snapshot(tmp_path, "books").ids(np.arange(3)) == ["x", "y", "z"]
    assert old.ids(np.arange(3)) == ["a", "b", "c"]
    assert float(np.abs(old.vectors).sum()) > 0
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([POINTER, current_name(tmp_path)])


def test_a_failing_build_changes_nothing(tmp_path):
    """If the items end in an error, the old snapshot stays current and nothing half-written is left."""
    write(tmp_path)

    def failing():
        yield book("x")
        raise LookupError

    with pytest.raises(LookupError):
        write_snapshot(tmp_path, manifest(), failing(), VECTORS, title)
    assert open_snapshot(tmp_path, "books").ids(np.arange(3)) == ["a", "b", "c"]
    assert len(list(tmp_path.iterdir())) == 2


def test_missing_snapshot_names_the_command(tmp_path):
    """A domain without a snapshot says how to make one."""
    assert current_name(tmp_path / "books") is None
    with pytest.raises(IndexMissing, match="'books' has no index") as caught:
        open_snapshot(tmp_path / "books", "books")
    assert caught.value.hint == "xdrec index books"


@pytest.mark.parametrize("file", ["manifest.json", "vectors.npy", "mean.npy", "metadata.arrow"])
@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY{", None])
def test_damaged_snapshot_names_the_command(tmp_path, file, damage):
    """A file that is empty, cut off or gone is IndexMissing with the command that mends it, never another exception."""
    write(tmp_path)
    path = tmp_path / current_name(tmp_path) / file
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
    with pytest.raises(IndexMissing, match="cannot be read") as caught:
        open_snapshot(tmp_path, "books")
    assert caught.value.hint == "xdrec index books"


def test_parts_that_do_not_fit_are_refused(tmp_path):
    """Vectors of another number of rows than the manifest says are not searched."""
    write(tmp_path, items=4)
    with pytest.raises(IndexMissing, match="4 items"):
        open_snapshot(tmp_path, "books")


def test_editions_share_a_work(tmp_path):
    """Items are of one work if they are editions of the same id, or one is that item itself."""
    items = [book("a"), book("b", edition_of="a"), book("c")]
    write_snapshot(tmp_path, manifest(), iter(items), VECTORS, title)
    works = open_snapshot(tmp_path, "books").works
    assert works[0] == works[1] != works[2]


def test_series_are_in_reading_order(tmp_path):
    """Each volume knows its whole series by volume number; items without series or volume have none."""
    items = [
        book("a", series="S", volume=2),
        book("b", series="S", volume=0.5),
        book("c", series="S"),
        book("d"),
        book("e", volume=1),
    ]
    write_snapshot(tmp_path, manifest(items=5), iter(items), np.eye(5, 4, dtype=np.float32), title)
    series = open_snapshot(tmp_path, "books").series
    assert {row: rows.tolist() for row, rows in series.items()} == {0: [1, 0], 1: [1, 0]}


def test_catalogues_may_hold_anything(tmp_path):
    """Years beyond 32 bits and texts of any script do not break the snapshot."""
    items = [book("三体\r\n", year=10**12), book("b", year=-3000), book("c" * 1000, attributes={"x": 10**30})]
    write_snapshot(tmp_path, manifest(), iter(items), VECTORS, title)
    assert open_snapshot(tmp_path, "books").ids(np.arange(3)) == [i.id for i in items]
