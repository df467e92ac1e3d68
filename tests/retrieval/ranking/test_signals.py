"""Promises of the collaborative signals: each is its formula, is 0 without interactions, and follows the snapshots."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.index import InteractionTable, Snapshot
from retrieval.index.snapshot import Manifest
from retrieval.ranking import CollaborativeSignals
from retrieval.types import LIKED

SIZES = {"films": 5, "music": 3, "books": 6}
PEOPLE = [f"p{n}" for n in range(8)]


def snapshot(domain, seed=0):
    """A domain with random unit vectors, items `domain0`, `domain1` …"""
    size = SIZES[domain]
    rows = np.random.default_rng([seed, size]).standard_normal((size, 4)).astype(np.float32)
    vectors = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    metadata = pa.table({"id": [f"{domain}{n}" for n in range(size)]})
    manifest = Manifest(
        domain=domain,
        encoder="e",
        encoder_fingerprint="e",
        template_fingerprint="t",
        items=size,
        dims=4,
        generation=seed,
    )
    return Snapshot(manifest, vectors, np.zeros(4, dtype=np.float32), metadata, Path())


FILMS, MUSIC, BOOKS = map(snapshot, SIZES)

preferences = st.dictionaries(
    st.tuples(
        st.sampled_from(PEOPLE),
        st.sampled_from(sorted(SIZES)).flatmap(lambda d: st.tuples(st.just(d), st.integers(0, SIZES[d] - 1))),
    ),
    st.sampled_from([-1.0, 0.25, 0.5, 1.0]),
    max_size=60,
).map(lambda found: sorted((user, domain, f"{domain}{n}", value, None) for (user, (domain, n)), value in found.items()))
rows_of_films = st.lists(st.integers(0, SIZES["films"] - 1), min_size=1, max_size=3, unique=True)
rows_of_music = st.lists(st.integers(0, SIZES["music"] - 1), max_size=2, unique=True)


def history(films, music=()):
    """Liked rows by snapshot, without domains in which nothing was liked."""
    liked = {FILMS: np.array(films, dtype=np.int64), MUSIC: np.array(music, dtype=np.int64)}
    return {source: rows for source, rows in liked.items() if len(rows)}


def who_likes(rows, domain, n):
    return {
        user for user, where, item, value, _ in rows if (where, item) == (domain, f"{domain}{n}") and value >= LIKED
    }


def reliability(rows):
    people = len({row[0] for row in rows})
    return people / (people + 500)


@given(preferences)
def test_popularity_is_the_logarithm_of_the_people(rows):
    """The share of the most popular item's log(1 + people), disliked ones too, times the reliability."""
    found = CollaborativeSignals(InteractionTable.of(rows)).popularity(BOOKS, None)
    touched = np.array([len({r[0] for r in rows if r[2] == f"books{n}"}) for n in range(SIZES["books"])])
    expected = reliability(rows) * np.log1p(touched) / max(np.log1p(touched).max(), 1e-9)
    assert ((found >= 0) & (found <= reliability(rows) + 1e-6)).all()
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert (found[touched == 0] == 0).all()


@given(preferences, rows_of_films, rows_of_music)
def test_cooccurrence_is_the_logarithm_of_summed_cosines(rows, films, music):
    """log(1 + 100 Σ cosine over people) with every liked item, of all source domains together."""
    found = CollaborativeSignals(InteractionTable.of(rows)).cooccurrence(history(films, music), BOOKS)
    for n in range(SIZES["books"]):
        them, total = who_likes(rows, "books", n), 0.0
        for domain, numbers in (("films", films), ("music", music)):
            for m in numbers:
                others = who_likes(rows, domain, m)
                total += len(them & others) / max(np.sqrt(len(them) * len(others)), 1)
        assert found[n] == pytest.approx(reliability(rows) * np.log1p(100 * total), abs=1e-4)
        assert (found[n] == 0) == (total == 0)


def expected_neighbours(rows, liked, user):
    """The formula, person by person: softmax of the similarity of tastes, then everybody's likes by it."""
    people = list(dict.fromkeys(row[0] for row in rows))
    sources = {source.manifest.domain: source for source in liked}

    def direction(total):
        norm = np.linalg.norm(total)
        return total / norm if norm > 1e-9 else None

    wish = direction(sum(source.vectors[some].astype(np.float64).sum(axis=0) for source, some in liked.items()))
    near = {}
    for person in people:
        mine = [(d, i) for u, d, i, v, _ in rows if u == person and v >= LIKED and d in sources]
        total = sum((sources[d].vectors[sources[d].positions[i]].astype(np.float64) for d, i in mine), np.zeros(4))
        taste = direction(total)
        if taste is not None and person != user:
            near[person] = np.exp(taste @ wish / 0.1)
    share = np.zeros(SIZES["books"])
    for person, weight in near.items():
        theirs = [i for u, d, i, v, _ in rows if u == person and d == "books" and v >= LIKED]
        for item in theirs:
            share[BOOKS.positions[item]] += weight / sum(near.values()) / np.sqrt(len(theirs))
    return reliability(rows) * (np.log(share + 1e-6) - np.log(1e-6))


@given(preferences, rows_of_films, rows_of_music, st.sampled_from([None, "p0", "stranger"]))
def test_neighbours_are_the_softmax_over_similar_people(rows, films, music, user):
    """The share of the likes of people with a similar taste, without the person's own, as the formula says."""
    liked = history(films, music)
    found = CollaborativeSignals(InteractionTable.of(rows)).neighbours(liked, BOOKS, user)
    expected = expected_neighbours(rows, liked, user)
    np.testing.assert_allclose(found, expected, atol=2e-3 * max(reliability(rows), 1e-3))
    assert (found[expected == 0] == 0).all()


def test_a_person_is_no_neighbour_of_themselves():
    """What the person alone likes is not said by the neighbours; asked by somebody else, it is."""
    signals = CollaborativeSignals(
        InteractionTable.of([("ada", "books", "books0", 1.0, None), ("ada", "films", "films0", 1.0, None)])
    )
    assert not signals.neighbours(history([0]), BOOKS, "ada").any()
    assert signals.neighbours(history([0]), BOOKS, None)[0] > 0
    assert signals.neighbours(history([0]), BOOKS, "bob")[0] > 0


def test_similar_people_count_more():
    """A book of somebody whose films are the person's own comes before one of somebody with other films."""
    vectors = FILMS.vectors @ FILMS.vectors[0]
    far = int(vectors.argmin())
    rows = [("a", "books", "books0", 1.0, None), ("a", "films", "films0", 1.0, None)]
    rows += [("b", "books", "books1", 1.0, None), ("b", "films", f"films{far}", 1.0, None)]
    found = CollaborativeSignals(InteractionTable.of(rows)).neighbours(history([0]), BOOKS, None)
    assert found[0] > found[1] >= 0
    assert not found[2:].any()


def test_nobody_at_all_says_nothing():
    """Without any interaction every source gives zeros, in the shape of the target."""
    signals = CollaborativeSignals(InteractionTable.of([]))
    assert signals.reliability == 0
    for said in (
        signals.popularity(BOOKS, None),
        signals.cooccurrence(history([0, 1], [0]), BOOKS),
        signals.neighbours(history([0, 1], [0]), BOOKS, "ada"),
        signals.neighbours({}, BOOKS, None),
        signals.cooccurrence({}, BOOKS),
    ):
        assert said.tolist() == [0] * SIZES["books"]
        assert said.dtype == np.float32
    assert signals.popularity_percentile(BOOKS, np.array([0])) == 0


def test_the_weight_grows_with_the_number_of_users():
    """A handful of people hardly count; so many as half the limit have half the say; never the whole."""

    def said(people):
        rows = [(f"u{n:05}", d, f"{d}0", 1.0, None) for n in range(people) for d in ("books", "films")]
        signals = CollaborativeSignals(InteractionTable.of(rows))
        scores = signals.popularity(BOOKS, None), signals.cooccurrence(history([0]), BOOKS)
        return signals.reliability, *(float(voice[0]) for voice in scores)

    few, half, many = said(5), said(500), said(5_000)
    assert few[0] < 0.01
    assert half[0] == 0.5
    assert half[1] == pytest.approx(0.5)
    assert all(a < b < c for a, b, c in zip(few, half, many, strict=True))
    assert many[0] < 1


def test_another_snapshot_is_noticed():
    """After an index run rows mean other items: likes and tastes are computed anew, of source and target alike."""
    rows = [
        ("a", "books", "books5", 1.0, None),
        ("a", "films", "films0", 1.0, None),
        ("b", "films", "films3", 1.0, None),
    ]
    rows += [("b", "books", "books1", 1.0, None)]
    turned = BOOKS.metadata.take(list(range(5, -1, -1)))
    new_books = Snapshot(BOOKS.manifest, BOOKS.vectors, BOOKS.mean, turned, BOOKS.folder)
    new_films = snapshot("films", seed=1)
    used, fresh = (CollaborativeSignals(InteractionTable.of(rows)) for _ in range(2))
    before = used.neighbours(history([0]), BOOKS, None)
    assert used.popularity(BOOKS, None)[5] > 0
    assert used.popularity(new_books, None)[5] == 0
    assert used.popularity(new_books, None)[0] > 0
    moved = {new_films: np.array([0], dtype=np.int64)}
    after = used.neighbours(moved, new_books, None)
    np.testing.assert_array_equal(after, fresh.neighbours(moved, new_books, None))
    assert not np.array_equal(after, before)


def test_many_users_are_sampled(monkeypatch):
    """Beyond the limit only a sample is compared; what it says is of the same size, and stays the same."""
    rows = [(f"u{n:03}", d, f"{d}{n % 5}", 1.0, None) for n in range(200) for d in ("books", "films")]
    every = CollaborativeSignals(InteractionTable.of(rows)).neighbours(history([0]), BOOKS, "u000")
    monkeypatch.setattr("retrieval.ranking.signals._SAMPLED_USERS", 100)
    some = [CollaborativeSignals(InteractionTable.of(rows)).neighbours(history([0]), BOOKS, "u000") for _ in range(2)]
    np.testing.assert_array_equal(*some)
    np.testing.assert_allclose(some[0], every, atol=0.5)
    assert (some[0] > 0).tolist() == (every > 0).tolist()


def test_above_is_the_share_of_less_popular_items():
    """Of six books with 0, 1 … 5 people the most popular one is above five sixths; of several the median counts."""
    rows = sorted((f"u{m}", "books", f"books{n}", -1.0, None) for n in range(6) for m in range(n))
    signals = CollaborativeSignals(InteractionTable.of(rows))
    assert signals.popularity_percentile(BOOKS, np.array([5])) == pytest.approx(5 / 6)
    assert signals.popularity_percentile(BOOKS, np.array([0])) == 0
    assert signals.popularity_percentile(BOOKS, np.array([0, 3, 5])) == pytest.approx(3 / 6)
    assert signals.popularity_percentile(BOOKS, np.array([], dtype=np.int64)) == 0
