"""Promises of product quantization: it proposes nearly all near rows, and a search by it is about an exact one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.errors import IndexMissing
from retrieval.index.quantization import QuantizedVectors, open_quantized, write_quantized
from retrieval.ranking import Retriever
from retrieval.ranking.retriever import best_rows
from retrieval.settings import RetrieverSettings
from retrieval.types import Filter, History, HistoryEntry, Item, Query

TOPICS = ("space star ship", "crime murder clue", "love kiss heart", "war battle front")
LIMIT = 50


def unit(rows, dims=32, seed=0):
    matrix = np.random.default_rng(seed).standard_normal((rows, dims)).astype(np.float32)
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


@pytest.fixture
def codes(tmp_path):
    """QuantizedVectors some vectors."""

    def made(vectors):
        write_quantized(tmp_path / "quantized.faiss", vectors)
        return open_quantized(tmp_path / "quantized.faiss", len(vectors))

    return made


@pytest.mark.parametrize("dims", [32, 30, 3])
def test_the_nearest_are_among_what_is_proposed(codes, dims):
    """Of the ten nearest to each query nearly all are proposed, whatever the number of dimensions."""
    vectors, queries = unit(2_000, dims), unit(20, dims, seed=1)
    rows = set(codes(vectors).search(queries, 200).tolist())
    best = np.argsort(-(queries @ vectors.T), axis=1)[:, :10]
    assert np.mean([row in rows for row in best.ravel()]) > 0.97


def test_every_query_proposes_its_own(codes):
    """What several queries propose is put together; asking for more than there are gives all."""
    found = codes(unit(300))
    rows = found.search(unit(5, seed=1), 50).tolist()
    assert len(rows) == 250
    assert 50 <= len(set(rows)) <= 250
    assert set(found.search(unit(2, seed=1), 1_000).tolist()) == set(range(300))


def test_several_threads_propose_what_one_does(codes, monkeypatch):
    """How many threads look is decided by how much there is to look at, and changes nothing."""
    found, queries = codes(unit(500)), unit(9, seed=1)
    alone = sorted(found.search(queries, 20).tolist())
    monkeypatch.setattr("retrieval.index.quantization._COMPARISONS_PER_THREAD", 1)
    assert sorted(found.search(queries, 20).tolist()) == alone


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 3_000), st.integers(0, 2**32 - 1), st.integers(1, 40), st.booleans())
def test_the_best_are_the_best_whatever_the_sample_shows(rows, seed, k, ties):
    """Judging by a sample saves work and changes nothing, also where few differ or most are excluded."""
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal(rows).astype(np.float32)
    scores = np.round(scores) if ties else scores
    scores[rng.random(rows) < 0.3] = -np.inf
    k = min(k, rows - 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("retrieval.ranking.retriever._SAMPLE", 200)
        found = best_rows(scores, k)
    assert len(set(found.tolist())) == k
    assert np.array_equal(np.sort(scores[found]), np.sort(scores)[-k:])


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.integers(1, 9))
def test_few_vectors(tmp_path_factory, rows, dims):
    """Fewer vectors than a code has values, of any length, are coded; a row that is proposed is one of them."""
    path = tmp_path_factory.mktemp("codes") / "quantized.faiss"
    write_quantized(path, unit(rows, dims))
    assert set(open_quantized(path, rows).search(unit(2, dims, seed=1), 5).tolist()) <= set(range(rows))


def book(n, topic):
    return Item(domain="books", id=f"{n}", title=f"book {n}", description=f"{topic} {topic} word{n % 40}")


def asking(*films, **fields):
    liked = (HistoryEntry(item=Item(domain="films", id=id_, title="film")) for id_ in films or ("f0",))
    return Query(history=History(entries=tuple(liked)), target="books", **({"k": 10} | fields))


@pytest.fixture
def library(store, open_index):
    """Twelve hundred books of four topics and films of them, indexed with codes."""
    films = [Item(domain="films", id=f"f{n}", title="film", description=TOPICS[n % 4]) for n in range(12)]
    store.upsert_items([*(book(n, TOPICS[n % 4]) for n in range(1_200)), *films], "run")
    index = open_index(exact_limit=LIMIT)
    for domain in ("books", "films"):
        index.build(store, domain)
    assert index.snapshot("books").quantized is not None
    assert index.snapshot("films").quantized is None
    return index


@pytest.fixture
def searches(monkeypatch):
    """How many rows each search by codes was asked for."""
    asked, near = [], QuantizedVectors.search
    monkeypatch.setattr(
        QuantizedVectors, "search", lambda codes, queries, k: asked.append(k) or near(codes, queries, k)
    )
    return asked


def test_a_search_by_codes_is_about_as_good(store, library, searches):
    """What is found is of the liked topic and scores hardly less than the best of everything."""
    retriever = Retriever(store, library, RetrieverSettings(signals=("text",)))
    _, scores = retriever.scores(asking())
    found = retriever.rank(asking(k=5))
    assert len(searches) == 1
    assert {int(item_id) % 4 for item_id in found.ids} == {0}
    assert [c.score for c in found.candidates] == pytest.approx(np.sort(scores)[:-6:-1].tolist(), abs=0.02)


def test_an_item_that_is_added_is_found(store, library, searches):
    """What joins the index between two runs has no code and is looked at all the same."""
    store.upsert_items([Item(domain="books", id="new", title="film", description=TOPICS[0])], "later")
    assert library.add(store, "books", 10).added == 1
    assert library.snapshot("books").quantized is not None
    assert "new" in Retriever(store, library, RetrieverSettings()).rank(asking()).ids
    assert len(searches) == 1


def test_few_that_are_eligible_are_all_scored(store, library, searches):
    """QuantizedVectors are not asked for more rows than a filter leaves."""
    old = [Item(domain="books", id=f"old {n}", title=TOPICS[2], year=1900) for n in range(300)]
    store.upsert_items(old, "later")
    library.build(store, "books")
    found = Retriever(store, library, RetrieverSettings()).rank(asking(filter=Filter(year_to=1950)))
    assert len(found.ids) == 10
    assert not searches


def test_a_filter_far_from_what_is_liked(store, library):
    """A filter that keeps nothing near is fulfilled all the same, by all that it keeps."""
    old = [Item(domain="books", id=f"old {n}", title=TOPICS[2], year=1900) for n in range(2 * LIMIT)]
    store.upsert_items(old, "later")
    library.build(store, "books")
    retriever = Retriever(store, library, RetrieverSettings())
    assert len(retriever.rank(asking(k=400, filter=Filter(year_to=1950))).ids) == 2 * LIMIT
    assert len(retriever.rank(asking(k=10, filter=Filter(year_to=1950))).ids) == 10


def test_a_run_follows_the_limit(store, library, open_index):
    """Another limit makes the next run write codes or leave them out, without embedding anything."""
    large = open_index(exact_limit=10_000)
    assert large.build(store, "books").embedded == 0
    assert large.snapshot("books").quantized is None
    small = open_index(exact_limit=LIMIT)
    assert small.build(store, "books").embedded == 0
    before = small.snapshot("books")
    assert before.quantized is not None
    small.build(store, "books")
    assert small.snapshot("books") is before


@pytest.mark.parametrize("damage", [b"", b"IxPf", None])
def test_damaged_codes_name_the_command(library, open_index, damage):
    """QuantizedVectors that are empty, cut off or gone are an index that cannot be read."""
    path = library.snapshot("books").folder / "quantized.faiss"
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
    with pytest.raises(IndexMissing) as caught:
        open_index(exact_limit=LIMIT).snapshot("books")
    assert caught.value.hint == "xdrec index books"


def test_codes_of_another_number_of_rows_are_refused(tmp_path):
    """QuantizedVectors that do not belong to the snapshot's rows are not searched."""
    write_quantized(tmp_path / "quantized.faiss", unit(40))
    with pytest.raises(ValueError, match="40 codes for 41 rows"):
        open_quantized(tmp_path / "quantized.faiss", 41)
