"""Indexing over a real store and a real embedded Chroma, with a little encoder."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from word_encoder import WordEncoder

from retrieval.errors import IndexMismatch, IndexMissing, UsageError
from retrieval.index.snapshot import POINTER
from retrieval.templates import parse_template
from retrieval.types import Item

OTHER_TEMPLATE = parse_template("short", "---\ntask: item\nvariables: [item]\n---\n{{ item.title }}")
MANY = 1_100
"""Items that take two batches."""


class Ended(Exception):
    """Stands for whatever ends a run in the middle."""


def end():
    raise Ended


def book(id_, title=None, **fields):
    return Item(domain="books", id=str(id_), title=title or f"Book {id_}", **fields)


def fill(store, count, **fields):
    store.upsert_items([book(n, **fields) for n in range(count)], "run")


def ids_of(snapshot):
    return set(snapshot.positions)


def test_first_run_embeds_everything(store, open_index):
    """Every item gets a vector, made of the template's text, and the report counts them."""
    fill(store, 3)
    index, told = open_index(), []
    report = index.build(store, "books", progress=lambda done, total: told.append((done, total)))
    assert (report.items, report.embedded, report.deleted) == (3, 3, 0)
    assert 0 <= report.encode_s <= report.total_s
    assert told == [(3, 3)]
    assert index.encoder.encoded == ["Book 0.", "Book 1.", "Book 2."]
    manifest = index.snapshot("books").manifest
    assert (manifest.items, manifest.dims, manifest.generation) == (3, 32, store.generation("books"))


def test_second_run_embeds_what_changed(store, open_index):
    """Only new and changed items are embedded again; an equal catalogue costs no embedding and no new snapshot."""
    fill(store, 5)
    open_index().build(store, "books")
    store.upsert_items([book(1), book(2, "Changed"), book(9, "New")], "again")
    index = open_index()
    report = index.build(store, "books")
    assert (report.items, report.embedded, report.deleted) == (6, 2, 0)
    assert sorted(index.encoder.encoded) == ["Changed.", "New."]
    before = index.snapshot("books")
    assert index.build(store, "books").embedded == 0
    assert index.snapshot("books") is before


def test_a_change_that_no_vector_needs_reaches_the_snapshot(store, open_index):
    """Withdrawing an item changes its row, though its text is the same."""
    fill(store, 2)
    index = open_index()
    index.build(store, "books")
    store.upsert_items([book(1, available=False)], "again")
    index.build(store, "books")
    assert sorted(index.snapshot("books").metadata["available"].to_pylist()) == [False, True]


def test_deletes_reach_the_index(store, open_index):
    """A deleted item's vector and row are gone after the next run, without any embedding."""
    fill(store, 4)
    index = open_index()
    index.build(store, "books")
    store.delete_items("books", ["1", "3"])
    report = index.build(store, "books")
    assert (report.items, report.embedded, report.deleted) == (2, 0, 2)
    assert ids_of(index.snapshot("books")) == {"0", "2"}
    assert set(index.vectors.hashes("books")) == {"0", "2"}


def test_items_deleted_during_a_run(store, open_index):
    """What is deleted while a run embeds is not recommended by its snapshot, and gone after the next run."""
    fill(store, 3)
    first = open_index(WordEncoder(batches=0, end=lambda: store.delete_items("books", ["1"])))
    first.build(store, "books")
    facts = first.snapshot("books").metadata
    assert dict(zip(facts["id"].to_pylist(), facts["available"].to_pylist(), strict=True))["1"] is False
    index = open_index()
    assert index.build(store, "books").deleted == 1
    assert ids_of(index.snapshot("books")) == {"0", "2"}


def test_an_interrupted_run_goes_on_where_it_stopped(store, open_index):
    """After a run that failed in its second batch the old snapshot opens, and the next run embeds the rest only."""
    fill(store, 2)
    open_index().build(store, "books")
    fill(store, MANY)
    broken = open_index(WordEncoder(batches=1, end=end))
    with pytest.raises(Ended):
        broken.build(store, "books")
    assert ids_of(broken.snapshot("books")) == {"0", "1"}
    index = open_index()
    report = index.build(store, "books")
    assert len(broken.encoder.encoded) + report.embedded == MANY - 2
    assert report.embedded < MANY / 2
    assert len(ids_of(index.snapshot("books"))) == MANY


KILLED = """
import os, signal, sys
from pathlib import Path
from word_encoder import WordEncoder
from retrieval.index.index import Index
from retrieval.settings import IndexSettings
from retrieval.store.store import Store
from retrieval.templates import load_template

home = Path(sys.argv[1])
encoder = WordEncoder(batches=1, end=lambda: os.kill(os.getpid(), signal.SIGKILL))
with Store.open(f"sqlite:///{home / 'store.sqlite'}") as store:
    with Index(home / "index", encoder, load_template("item"), IndexSettings()) as index:
        index.build(store, "books")
"""


def test_a_killed_run_goes_on_where_it_stopped(tmp_path, store, open_index):
    """SIGKILL in the second batch leaves no lock, the old snapshot and the first batch; the next run does the rest."""
    fill(store, 2)
    open_index().build(store, "books")
    fill(store, MANY)
    paths = f"import sys; sys.path[:0] = {[p for p in sys.path if p]!r}\n"
    run = subprocess.run([sys.executable, "-c", paths + KILLED, str(tmp_path)], timeout=300, check=False)
    assert run.returncode == -signal.SIGKILL
    index = open_index()
    assert ids_of(index.snapshot("books")) == {"0", "1"}
    report = index.build(store, "books")
    assert 0 < report.embedded < MANY / 2
    assert len(ids_of(index.snapshot("books"))) == MANY


@pytest.mark.parametrize(
    ("encoder", "template", "said"),
    [
        (WordEncoder("other"), None, "another encoder"),
        (None, OTHER_TEMPLATE, "another template"),
        (WordEncoder("other"), OTHER_TEMPLATE, "another encoder and template"),
    ],
)
def test_vectors_of_different_makes_never_meet(store, open_index, encoder, template, said):
    """Neither a search nor a run uses an index of another encoder or template; both name the command; it mends."""
    fill(store, 3)
    open_index().build(store, "books")
    index = open_index(encoder, template)
    for call in (lambda: index.snapshot("books"), lambda: index.build(store, "books")):
        with pytest.raises(IndexMismatch, match=f"{said} ") as caught:
            call()
        assert caught.value.hint == "xdrec index books --rebuild"
    assert index.build(store, "books", rebuild=True).embedded == 3
    assert index.snapshot("books").manifest.template_fingerprint == index.template.fingerprint


def test_a_rebuild_that_ended_early_is_finished_by_a_plain_run(store, open_index):
    """A rebuild killed between vectors and snapshot is not taken for a finished one."""
    fill(store, 3)
    open_index().build(store, "books")
    half = open_index(WordEncoder("other"))
    half.vectors.create("books", {"encoder": "other", "template": half.template.fingerprint})
    items = list(store.iter_items("books"))
    vectors = half.encoder.encode([half.template.text(item=i) for i in items])
    half.vectors.put("books", [i.id for i in items], [i.content_hash() for i in items], vectors)
    assert half.build(store, "books").embedded == 0
    assert half.snapshot("books").manifest.encoder_fingerprint == "other"


def test_a_run_mends_a_damaged_snapshot(store, open_index):
    """A snapshot that cannot be read is written again from Chroma, without embedding."""
    fill(store, 3)
    index = open_index()
    index.build(store, "books")
    (pointer,) = index.folder.glob(f"*/{POINTER}")
    (pointer.parent / pointer.read_text() / "metadata.arrow").write_bytes(b"")
    reader = open_index()
    with pytest.raises(IndexMissing, match="cannot be read"):
        reader.snapshot("books")
    assert index.build(store, "books").embedded == 0
    assert len(ids_of(reader.snapshot("books"))) == 3


def test_readers_see_the_new_snapshot_after_a_build(store, open_index):
    """A reader that is open keeps one snapshot between builds and takes the new one after a build by someone else."""
    fill(store, 2)
    writer, reader = open_index(), open_index()
    writer.build(store, "books")
    first = reader.snapshot("books")
    assert reader.snapshot("books") is first
    fill(store, 3)
    writer.build(store, "books")
    assert ids_of(reader.snapshot("books")) == {"0", "1", "2"}
    assert ids_of(first) == {"0", "1"}


def test_dropping_a_domain(store, open_index):
    """A dropped domain has neither vectors nor snapshot, also for readers that had it open; others stay."""
    fill(store, 2)
    store.upsert_items([Item(domain="films", id="1", title="Alien")], "run")
    index, reader = open_index(), open_index()
    for domain in ("books", "films"):
        index.build(store, domain)
        reader.snapshot(domain)
    index.drop("books")
    index.drop("books")
    for each in (index, reader):
        with pytest.raises(IndexMissing):
            each.snapshot("books")
        assert ids_of(each.snapshot("films")) == {"1"}
    assert index.vectors.origin("books") is None


def test_a_domain_without_items(store, open_index):
    """An empty domain cannot be indexed, and says what to do."""
    with pytest.raises(UsageError, match="'books' has no items") as caught:
        open_index().build(store, "books")
    assert caught.value.hint == "xdrec ingest books FILE"


def test_hostile_domain_names(tmp_path, store, open_index):
    """Any text may name a domain: nothing is written outside the index folder, and domains are kept apart."""
    names = ["..", "../../up", "a\r\nb", "a", "A", "фильмы", "/abs", "x" * 500]
    outside = set(Path(tmp_path).iterdir())
    index = open_index()
    for name in names:
        store.upsert_items([Item(domain=name, id="1", title=f"Only {name}")], "run")
        index.build(store, name)
    for name in names:
        assert index.snapshot(name).manifest.domain == name
    assert set(Path(tmp_path).iterdir()) - outside == {tmp_path / "index"}


def test_hostile_items(store, open_index):
    """Ids and titles with line breaks, quotes and other scripts are indexed like any other."""
    ids = ["a\r\nb", "'; drop table items; --", "三体", "a" * 1_000, " ", "\u202e"]
    store.upsert_items([book(i, f"{i}\r\n\x00{{{{ 7 * 7 }}}}") for i in ids], "run")
    index = open_index()
    index.build(store, "books")
    assert ids_of(index.snapshot("books")) == set(ids)
    assert not any("49" in text for text in index.encoder.encoded)


def test_snapshot_rows_are_those_of_the_items(store, open_index):
    """Each row's vector belongs to its id, whatever order Chroma gives them in."""
    fill(store, 40)
    index = open_index()
    index.build(store, "books")
    snapshot = index.snapshot("books")
    raw = WordEncoder().encode([f"Book {i}." for i in snapshot.positions])
    np.testing.assert_allclose(snapshot.mean, raw.mean(axis=0), atol=1e-5)
    moved = raw - raw.mean(axis=0)
    np.testing.assert_allclose(snapshot.vectors, moved / np.linalg.norm(moved, axis=1, keepdims=True), atol=1e-4)
