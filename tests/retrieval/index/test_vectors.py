"""Vectors in a real embedded Chroma."""

from __future__ import annotations

import numpy as np
import pytest

from retrieval.errors import UsageError, VectorStoreError
from retrieval.index.vectors import VectorStore

ORIGIN = {"encoder": "e", "template": "t"}
HOSTILE = ["фильмы", "三体", "", "..", "../../etc", "a\r\nb", "a", "A", "a/b", "a-b", "x" * 600, "\x00", "CON"]


def unit(rows, dims=8, seed=0):
    matrix = np.random.default_rng(seed).standard_normal((rows, dims)).astype(np.float32)
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


@pytest.fixture
def vectors(tmp_path):
    store = VectorStore(tmp_path / "chroma")
    yield store
    store.close()


def test_come_back_as_they_went_in(vectors):
    """Ids, hashes and float32 vectors survive; putting an id again replaces both."""
    rows = unit(3)
    vectors.create("books", ORIGIN)
    vectors.put("books", ["a", "三", "c\r\n"], ["1", "2", "3"], rows)
    vectors.put("books", ["a"], ["9"], -rows[:1])
    ids, stored = vectors.all("books")
    assert vectors.hashes("books") == {"a": "9", "三": "2", "c\r\n": "3"}
    expected = {"a": -rows[0], "三": rows[1], "c\r\n": rows[2]}
    for item_id, row in zip(ids, stored, strict=True):
        np.testing.assert_array_equal(row, expected[item_id])


def test_more_than_a_page(vectors):
    """Reading and deleting go beyond one page of 5,000 and lose nothing."""
    ids = [f"{n}" for n in range(5_200)]
    rows = unit(len(ids))
    vectors.create("books", ORIGIN)
    for start in range(0, len(ids), 2_000):
        part = slice(start, start + 2_000)
        vectors.put("books", ids[part], ids[part], rows[part])
    found, stored = vectors.all("books")
    assert sorted(found) == sorted(ids)
    np.testing.assert_array_equal(stored, rows[[int(i) for i in found]])
    vectors.delete("books", ids[:5_100])
    assert vectors.hashes("books") == {i: i for i in ids[5_100:]}


def test_survive_closing(tmp_path):
    """What was put is there for the next process."""
    first = VectorStore(tmp_path)
    first.create("books", ORIGIN)
    first.put("books", ["a"], ["1"], unit(1))
    first.close()
    second = VectorStore(tmp_path)
    assert second.hashes("books") == {"a": "1"}
    assert second.origin("books") == ORIGIN
    second.close()


def test_origin_tells_whether_a_domain_is_there(vectors):
    """A domain has an origin from `create` to `drop`; creating again empties it; dropping twice is no error."""
    assert vectors.origin("books") is None
    vectors.create("books", ORIGIN)
    vectors.put("books", ["a"], ["1"], unit(1))
    vectors.create("books", {"encoder": "other"})
    assert vectors.origin("books") == {"encoder": "other"}
    assert vectors.hashes("books") == {}
    vectors.drop("books")
    vectors.drop("books")
    assert vectors.origin("books") is None


def test_hostile_domain_names_are_kept_apart(vectors):
    """Any text may name a domain: each has a collection of its own."""
    for name in HOSTILE:
        vectors.create(name, {"name": f"<{name}>"})
    assert {vectors.origin(name)["name"] for name in HOSTILE} == {f"<{name}>" for name in HOSTILE}


def test_a_domain_that_is_not_there(vectors):
    """Chroma's own errors come out as VectorStoreError with a hint."""
    for call in (
        lambda: vectors.hashes("books"),
        lambda: vectors.all("books"),
        lambda: vectors.put("books", ["a"], ["1"], unit(1)),
    ):
        with pytest.raises(VectorStoreError) as caught:
            call()
        assert caught.value.hint
        assert caught.value.__cause__ is not None


def test_vectors_of_another_length_are_refused(vectors):
    """A vector that does not fit the collection is a VectorStoreError and changes nothing."""
    vectors.create("books", ORIGIN)
    vectors.put("books", ["a"], ["1"], unit(1, dims=8))
    with pytest.raises(VectorStoreError):
        vectors.put("books", ["b"], ["1"], unit(1, dims=9))
    assert vectors.hashes("books") == {"a": "1"}


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://localhost:8000", "http://", "chroma"])
def test_a_url_that_is_none(tmp_path, url):
    """A server's address must be http(s)://host:port."""
    with pytest.raises(UsageError, match="chroma_url") as caught:
        VectorStore(tmp_path, url)
    assert caught.value.hint


def test_a_folder_that_cannot_be_made(tmp_path):
    """A file where the folder should be is a VectorStoreError."""
    (tmp_path / "file").write_text("")
    with pytest.raises(VectorStoreError):
        VectorStore(tmp_path / "file")
