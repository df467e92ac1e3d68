"""Promises of the cold starts: each is asked as it is called, and measured beside what needs to know nothing."""

from __future__ import annotations

import numpy as np
import pytest
from little_encoder import save_encoder
from three_domains import DOMAINS, TASTES, open_world

from benchmarks.retrieval.cold_start import measure_cold_start
from benchmarks.retrieval.cold_start_queries import Elsewhere, kinds_in_words, one_title, titles_in_words, two_sources
from benchmarks.retrieval.new_items import bench_at_once, copied, renew
from benchmarks.retrieval.popularity import sample_cases
from eval.data import Case, OutOfFold, cases, histories
from retrieval.encoder import SentenceEncoder
from retrieval.ranking import Retriever
from retrieval.settings import RetrieverSettings
from retrieval.types import History, HistoryEntry, Item, Query


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    with open_world(tmp_path_factory.mktemp("world")) as data:
        yield data


@pytest.fixture(scope="module")
def figures(data):
    return {f.name: f.value for f in measure_cold_start(data, 100, np.random.default_rng(0), lambda _: None)}


def film(n, preference=1.0, kinds=()):
    item = Item(domain="films", id=str(n), title=f"Film {n}", categories=kinds)
    return HistoryEntry(item=item, preference=preference, timestamp=n)


def case(*entries, source="films", target="books"):
    return Case("ada", source, target, History(user="ada", entries=entries), ("b",), 100)


# The questions


def test_one_title_is_the_last_liked_one():
    """Nothing else of the person is known, not even who they are."""
    query = one_title(case(film(1), film(2), film(3, -1.0))).query
    assert [e.item.id for e in query.history.entries] == ["2"]
    assert (query.history.user, query.text, query.target) == (None, None, "books")


def test_words_are_made_by_a_fixed_rule():
    """The most frequent kinds of what was liked, most frequent first; with titles the last three; no history."""
    known = case(film(1, kinds=("A", "B")), film(2, kinds=("B",)), film(3), film(4, -1.0, kinds=("C",)), film(5))
    assert kinds_in_words(known).query.text == "I like B and A."
    assert titles_in_words(known).query.text == "Something like Film 2, Film 3 and Film 5: B and A."
    assert kinds_in_words(known).query.history.entries == titles_in_words(known).query.history.entries == ()


def test_somebody_without_kinds_says_something_too():
    """An item need not have categories."""
    assert kinds_in_words(case(film(1))).query.text == "I like surprises."


def test_two_sources_are_asked_alone_and_together(data):
    """Of every person with two cases for a target: the same truth three times, both histories in the order of time."""
    (person,) = [h for h in histories(data.store) if h.user == "user 0"]
    (found,) = two_sources([c for c in cases(person, DOMAINS) if c.target == "books"])
    assert [q.case.source for q in found.singles] == ["films", "music"]
    assert found.singles[0].case.truth == found.singles[1].case.truth == found.both.case.truth
    times = [e.timestamp for e in found.both.query.history.entries]
    assert times == sorted(times)
    assert len(times) == sum(len(q.case.history.entries) for q in found.singles) == 7
    assert found.longer == 0  # four films, three songs


def test_a_new_domain_has_a_catalogue_and_nobody(data):
    """In the target nobody did anything; what people did elsewhere is known as before."""
    asked = next(c for c in sample_cases(data, 100, test=True) if c.target == "books")
    others, elsewhere = OutOfFold(data), Elsewhere(data, list(histories(data.store)))
    assert others.touched(asked).any()
    assert not elsewhere.touched(asked).any()
    signals = elsewhere.retriever(asked, RetrieverSettings()).collaborative()
    films = data.index.snapshot("films")
    np.testing.assert_array_equal(
        signals.in_domain(films).user_counts,
        others.retriever(asked, RetrieverSettings()).collaborative().in_domain(films).user_counts,
    )


# New items


def test_a_copy_is_a_world_of_its_own(data, tmp_path):
    """What happens to the copy's items and index does not reach the original."""
    names = {"books": {"space-0", "space-1"}}
    vectors = np.array(data.index.snapshot("books").vectors)
    with copied(data, tmp_path / "copy") as copy:
        home = renew(copy, names, lambda _: None)
        made = copy.index.snapshot("books")
        assert (made.manifest.items, made.manifest.added) == (180, 2)
        assert set(made.ids(np.array([178, 179]))) == names["books"]
        assert home.new == {"books": frozenset(names["books"])}
        assert home.seconds["books"] > 0
    assert data.index.snapshot("books").manifest.added == 0
    np.testing.assert_array_equal(data.index.snapshot("books").vectors, vectors)
    assert data.store.popularity("books")["space-0"] > 0


def test_a_new_item_is_ranked_like_one_that_was_always_there(data, tmp_path):
    """By text alone, the added items stand about where they stood in the whole index."""
    names = {"books": {f"{taste}-50" for taste in TASTES}}
    liked = HistoryEntry(item=data.store.items("films", ["crime-1"])["crime-1"])
    query = Query(history=History(entries=(liked,)), target="books")
    settings = RetrieverSettings(signals=("text",))

    def place(dataset):
        scores = Retriever(dataset.store, dataset.index, settings).scores(query)[1]
        row = dataset.index.snapshot("books").positions["crime-50"]
        return int((scores > scores[row]).sum())

    with copied(data, tmp_path / "copy") as copy:
        renew(copy, names, lambda _: None)
        assert abs(place(copy) - place(data)) <= 5


# The measurement


def test_every_situation_stands_beside_its_baselines(figures):
    """Two metrics of four arms each; for two sources also what the second one adds."""
    situations = (
        "a known user",
        "one liked title",
        "words: kinds",
        "words: titles, kinds",
        "two source domains",
        "new domain",
        "new item",
        "new item, among unseen",
    )
    for situation in situations:
        for metric in ("recall@100", "ndcg@10"):
            for arm in ("retriever", "text alone", "popularity", "random"):
                assert 0 <= figures[f"{situation}, {metric}, {arm}"] <= 1
    for which in ("one of them", "the longer one"):
        both = figures["two source domains, recall@100, retriever"]
        alone = figures[f"two source domains, recall@100, {which}"]
        assert figures[f"two source domains, recall@100, both - {which}"] == pytest.approx(both - alone)


@pytest.mark.parametrize("situation", ["a known user", "one liked title", "words: kinds", "new domain"])
def test_tastes_are_found_where_little_is_known(figures, situation):
    """In a world where texts tell tastes, each cold start is far above chance."""
    assert figures[f"{situation}, ndcg@10, retriever"] > 1.5 * figures[f"{situation}, ndcg@10, random"]


def test_without_people_popularity_is_chance(figures):
    """In a new domain, and among new items, it knows nothing."""
    for situation in ("new domain", "new item, among unseen"):
        for metric in ("recall@100", "ndcg@10"):
            popular, chance = (figures[f"{situation}, {metric}, {arm}"] for arm in ("popularity", "random"))
            assert popular == pytest.approx(chance)


@pytest.mark.integration
def test_a_new_item_is_ranked_within_a_second(tmp_path, monkeypatch):
    """The command line adds it while a retriever runs, which has it in its next ranking."""
    words = {word for taste in TASTES for word in (taste, "stories", *DOMAINS)}
    save_encoder(tmp_path / "models" / "minilm-taste", words)
    monkeypatch.setenv("XDREC_MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("XDREC_DEVICE", "cpu")
    encoder = SentenceEncoder("minilm-taste", tmp_path / "models" / "minilm-taste", device="cpu")
    (tmp_path / "world").mkdir()
    with open_world(tmp_path / "world", encoder, per_taste=12) as data:
        found = bench_at_once(data, lambda _: None, commands=1)
        assert data.index.snapshot("books").manifest.added == 0
    assert [f.n for f in found] == [1, 1, 10]
    assert found[0].target == "<= 1"
    assert all(f.value > 0 for f in found)
