"""Promises of additions: a new item can be recommended at once, and nobody else notices."""

from __future__ import annotations

import numpy as np
import pytest
from filelock import FileLock
from word_encoder import WordEncoder

from retrieval.errors import IndexMissing
from retrieval.index.bm25 import open_bm25, write_bm25, write_incremental_bm25
from retrieval.index.snapshot import VECTORS
from retrieval.ranking import Retriever
from retrieval.settings import RetrieverSettings
from retrieval.types import Filter, History, HistoryEntry, Interaction, Item, Query

THEMES = ("space", "crime", "love", "war")


def book(id_, title=None, **fields):
    return Item(domain="books", id=str(id_), title=title or f"Book {id_}", **fields)


def film(n):
    return Item(domain="films", id=f"f{n}", title=f"{THEMES[n % 4]} film {n}", description=THEMES[n % 4])


@pytest.fixture
def library(store, open_index):
    """Forty books of four themes and as many films, indexed; who liked what is known."""
    books = [book(n, f"{THEMES[n % 4]} story {n}", description=THEMES[n % 4]) for n in range(40)]
    store.upsert_items([*books, *map(film, range(40))], "run")
    store.upsert_interactions(
        [
            Interaction(user=f"u{n}", domain=d, item=i, value=5)
            for n in range(9)
            for d, i in (("books", str(n)), ("films", f"f{n}"))
        ],
        "run",
    )
    index = open_index()
    for domain in ("books", "films"):
        index.build(store, domain)
    return index


def asking(*films, **fields):
    entries = tuple(HistoryEntry(item=film(n)) for n in films)
    return Query(history=History(entries=entries), target="books", **fields)


def ids_of(snapshot):
    return list(snapshot.positions)


def test_a_new_item_is_recommended_by_whoever_is_running(store, library, open_index):
    """A retriever that was open before finds the item with its next question, though nobody ran the index."""
    running = Retriever(store, open_index(), RetrieverSettings(signals=("text",)))
    assert "new" not in running.rank(asking(0, 4)).ids
    store.upsert_items([book("new", "space film 0", description="space")], "later")
    done = library.add(store, "books", 10)
    assert (done.added, done.waiting) == (1, 0)
    assert "new" in running.rank(asking(0, 4)).ids[:11]  # with the ten others of its theme
    assert library.encoder.encoded[-1] == "space film 0. space"


def test_everything_works_on_what_was_added(store, library):
    """Filters, editions, withdrawal and deletion hold for added items as for others."""
    added = [
        book("old", "space a", description="space", year=1950),
        book("young", "space b", description="space", year=2020, creators=("Ann",)),
        book("twin", "space c", description="space", edition_of="0"),
        book("gone", "space d", description="space", available=False),
        book("deleted", "space e", description="space"),
    ]
    store.upsert_items(added, "later")
    library.add(store, "books", 10)
    store.delete_items("books", ["deleted"])
    retriever = Retriever(store, library, RetrieverSettings())
    assert retriever.rank(asking(0, filter=Filter(year_from=2000))).ids == ("young",)
    assert retriever.rank(asking(0, filter=Filter(creators=("ann",)))).ids == ("young",)
    found = retriever.rank(asking(0, k=100)).ids
    assert {"old", "young"} < set(found)
    assert len({"0", "twin"} & set(found)) == 1
    assert not {"gone", "deleted"} & set(found)


def test_additions_follow_one_another(store, library, open_index):
    """Each addition keeps those before it; only what is new is embedded, and every row belongs to its id."""
    for n in range(3):
        store.upsert_items([book(f"new {n}", f"{THEMES[n]} fresh {n}")], f"later {n}")
        assert library.add(store, "books", 10).added == 1
    assert library.encoder.encoded[-3:] == ["space fresh 0.", "crime fresh 1.", "love fresh 2."]
    snapshot = open_index().snapshot("books")
    assert (snapshot.manifest.items, snapshot.manifest.added) == (43, 3)
    assert ids_of(snapshot)[40:] == ["new 0", "new 1", "new 2"]
    texts = library.texts("books", list(store.items("books", ids_of(snapshot)).values()))
    moved = WordEncoder().encode(texts) - snapshot.mean
    np.testing.assert_allclose(snapshot.vectors, moved / np.linalg.norm(moved, axis=1, keepdims=True), atol=1e-4)
    said = snapshot.bm25.scores(["fresh love"])
    assert len(said) == 43
    assert said.argmax() == 42


def test_nothing_is_added_twice(store, library):
    """Without a new item an addition changes nothing."""
    before = library.snapshot("books")
    assert library.add(store, "books", 10).added == 0
    assert library.snapshot("books") is before


def test_an_old_snapshot_stays_as_it_was(store, library, open_index):
    """Who has a snapshot open goes on with the rows that it had, whatever is added behind them."""
    old = open_index().snapshot("books")
    vectors = np.array(old.vectors)
    store.upsert_items([book("new")], "later")
    library.add(store, "books", 10)
    assert len(old.vectors) == len(old.metadata) == len(old.bm25.scores(["space"])) == 40
    np.testing.assert_array_equal(old.vectors, vectors)


def test_old_snapshots_go(store, library):
    """Of all additions the last one and the one before stay, which shares its files; a run leaves its own alone."""
    for n in range(4):
        store.upsert_items([book(f"new {n}")], f"later {n}")
        library.add(store, "books", 10)
    folder = library.snapshot("books").folder
    assert len(list(folder.parent.glob("snapshot-*"))) == 2
    assert (folder / VECTORS).stat().st_nlink == 2
    library.build(store, "books")
    assert len(list(folder.parent.glob("snapshot-*"))) == 1


def test_what_a_killed_addition_left_is_written_over(store, library, open_index):
    """Bytes behind the rows that the manifest counts belong to nobody."""
    with (library.snapshot("books").folder / VECTORS).open("ab") as file:
        file.write(b"\x7f" * 1_000)
    store.upsert_items([book("new", "space film 0")], "later")
    library.add(store, "books", 10)
    snapshot = open_index().snapshot("books")
    assert snapshot.vectors.shape[0] == 41
    np.testing.assert_allclose(np.linalg.norm(snapshot.vectors, axis=1), 1, atol=1e-5)


def test_an_addition_that_fails_changes_nothing(store, library, open_index):
    """What goes wrong in the middle leaves the snapshot before, and the next addition takes everything in."""
    store.upsert_items([book("new")], "later")
    broken = open_index(WordEncoder(batches=0, end=lambda: 1 / 0))
    with pytest.raises(ZeroDivisionError):
        broken.add(store, "books", 10)
    assert len(ids_of(open_index().snapshot("books"))) == 40
    assert library.add(store, "books", 10).added == 1


def test_too_many_items_wait_for_a_run(store, library):
    """More than the limit is no addition: nothing is embedded, and it is said how many wait."""
    store.upsert_items([book(f"new {n}") for n in range(4)], "later")
    encoded = len(library.encoder.encoded)
    done = library.add(store, "books", 3)
    assert (done.added, done.waiting) == (0, 4)
    assert len(library.encoder.encoded) == encoded


def test_items_wait_while_another_run_is_at_work(tmp_path, store, library):
    """Nobody waits for a lock: the run that holds it takes the items in, or the next one."""
    store.upsert_items([book("new")], "later")
    with FileLock(tmp_path / "index" / "writer.lock"):
        done = library.add(store, "books", 10)
    assert (done.added, done.waiting) == (0, 1)


def test_a_run_makes_additions_whole(store, library, open_index):
    """`build` embeds nothing again, and afterwards there are no additions; changed items are caught up then."""
    store.upsert_items([book("new"), book("1", "Changed")], "later")
    library.add(store, "books", 10)
    index = open_index()
    assert index.build(store, "books").embedded == 1
    assert index.encoder.encoded == ["Changed."]
    snapshot = index.snapshot("books")
    assert (snapshot.manifest.items, snapshot.manifest.added) == (41, 0)
    assert snapshot.manifest.generation == store.generation("books")


def test_a_domain_without_index_is_refused(store, open_index):
    """There is nothing to add to; the error names the command."""
    store.upsert_items([book(1)], "run")
    with pytest.raises(IndexMissing) as caught:
        open_index().add(store, "books", 10)
    assert caught.value.hint == "xdrec index books"


def test_added_words_weigh_as_in_a_whole_index(tmp_path):
    """Rarity is the base's: an added text's score is about that of the same text in an index of everything."""
    rng = np.random.default_rng(0)
    vocabulary = [f"word{n}" for n in range(60)]
    texts = [" ".join(rng.choice(vocabulary, 8, replace=False)) for _ in range(400)]
    fresh = ["word1 word2 word3 word4", "word5 neverseen word6 word7 word8 word9 word10 word11", ""]
    write_bm25(tmp_path / "whole", [*texts, *fresh])
    write_bm25(tmp_path / "base", texts)
    base = open_bm25(tmp_path / "base", len(texts))
    write_incremental_bm25(tmp_path / "added", fresh, base)
    whole = open_bm25(tmp_path / "whole", len(texts) + len(fresh))
    added = open_bm25(tmp_path / "added", len(fresh))
    for query in ("word1", "word2 word5 word5", "neverseen word9"):
        expected = whole.scores([query])[len(texts) :]
        np.testing.assert_allclose(added.scores([query]), expected, rtol=0.08, atol=1e-6)
        assert expected.any()
