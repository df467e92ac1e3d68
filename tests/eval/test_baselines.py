"""Promises of the baselines: one contract for all of them, and what each one is there to find."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest
from word_encoder import WordEncoder

from eval.data import Case, Dataset, cases, fold
from eval.systems import BASELINES, cross_fitted
from eval.systems.baselines import Chance, Popularity, UnseenFirst
from eval.systems.collaborative_baselines import EMCDR, ItemKNN, MatrixFactorisation
from eval.systems.text_baselines import BM25Text, MeanEmbedding
from retrieval.errors import SetupError
from retrieval.index import Index
from retrieval.settings import IndexSettings
from retrieval.store import Store
from retrieval.templates import load_template
from retrieval.types import History, HistoryEntry, Item

DOMAINS = ("books", "films", "music")
TASTES = ("space", "crime", "love", "war")
EACH = 6
"""Items of one taste in one domain."""
FOLDS = 3


def item(domain, id_):
    return Item(domain=domain, id=id_, title=f"{id_.split('-')[0]} {domain} {id_.replace('-', '')}")


def entry(domain, id_, timestamp=1, preference=1.0):
    return HistoryEntry(item=item(domain, id_), preference=preference, timestamp=timestamp)


def person(user, *entries):
    return History(user=user, entries=tuple(entries))


def likes(domain, taste, numbers, timestamp=1):
    return [entry(domain, f"{taste}-{n}", timestamp) for n in numbers]


def asked(*entries, user="asked", source="films", target="books", truth=()):
    return Case(user, source, target, person(user, *entries), tuple(truth), 100)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Four tastes with six items each in each domain; items of one taste share a word."""
    home = tmp_path_factory.mktemp("baselines")
    items = [item(domain, f"{taste}-{n}") for domain in DOMAINS for taste in TASTES for n in range(EACH)]
    with (
        Store.open(f"sqlite:///{home / 'store.sqlite'}") as store,
        Index(home / "index", WordEncoder(), load_template("item"), IndexSettings()) as index,
    ):
        store.upsert_items(items, "run")
        for domain in DOMAINS:
            index.build(store, domain)
        yield Dataset(store, index, home, DOMAINS)


@pytest.fixture(scope="module")
def people():
    """Forty people of one taste each, who like most of its films and books."""
    rng = np.random.default_rng(7)

    def somebody(n):
        films, books = (sorted(rng.choice(EACH, 4, replace=False).tolist()) for _ in range(2))
        taste = TASTES[n % len(TASTES)]
        return person(f"user {n}", *likes("films", taste, films, 1), *likes("books", taste, books, 2))

    return [somebody(n) for n in range(40)]


def fitted(baseline, training, seed=0):
    return baseline.fit(training, np.random.default_rng(seed))


def by_id(data, scores, domain="books"):
    return dict(zip(data.index.snapshot(domain).positions, scores.tolist(), strict=True))


def best(data, scores, n, domain="books"):
    scored = by_id(data, scores, domain)
    return sorted(scored, key=scored.__getitem__, reverse=True)[:n]


class BaselineContract:
    """What every baseline promises; a subclass names it."""

    name: str

    @pytest.fixture
    def baseline(self, data):
        return BASELINES[self.name](data)

    @pytest.fixture
    def mine(self, people):
        return [case for somebody in people[:8] for case in cases(somebody, DOMAINS)]

    def test_every_row_of_the_target_gets_a_finite_score(self, data, baseline, people):
        """One number an item, whatever the direction and however little is known."""
        score = fitted(baseline, people)
        for source, target in (("films", "books"), ("books", "films"), ("music", "films")):
            for entries in (likes(source, "war", range(3)), likes(source, "war", [0]), [entry(source, "not-there")]):
                scores = score(asked(*entries, source=source, target=target))
                assert scores.dtype == np.float32
                assert scores.shape == (len(data.index.snapshot(target).positions),)
                assert np.isfinite(scores).all()

    def test_a_seed_gives_one_result(self, baseline, people, mine):
        """Two fits of the same people and seed score alike to the last bit."""
        first, second = (cross_fitted(baseline, people, FOLDS, np.random.default_rng(3)) for _ in range(2))
        for case in mine:
            np.testing.assert_array_equal(first(case), second(case))

    def test_the_answer_is_not_looked_at(self, baseline, people, mine):
        """A case with another truth and cut is scored the same."""
        score = fitted(baseline, people)
        for case in mine:
            other = dataclasses.replace(case, truth=("crime-0",), cut=5)
            np.testing.assert_array_equal(score(case), score(other))

    def test_what_a_user_did_never_reaches_their_own_scores(self, baseline, people, mine):
        """Somebody's whole target history may change, and those of their fold with it, without a trace."""
        score = cross_fitted(baseline, people, FOLDS, np.random.default_rng(3))
        for case in mine[:4]:
            own = fold(case.user, FOLDS)
            changed = [
                person(p.user, *p.within("films").entries, *likes("books", "love", range(EACH), 9))
                if fold(p.user, FOLDS) == own
                else p
                for p in people
            ]
            again = cross_fitted(baseline, changed, FOLDS, np.random.default_rng(3))
            np.testing.assert_array_equal(score(case), again(case))


class TestChance(BaselineContract):
    name = "random"

    def test_all_candidates_are_alike(self, data, people):
        """Ties are expectations for the metrics: equal scores are exactly chance."""
        assert set(fitted(Chance(data), people)(asked(*likes("films", "war", [0])))) == {0}


class TestPopularity(BaselineContract):
    name = "popularity"

    def test_the_score_is_the_number_of_people(self, data):
        """Liked or disliked, by training users only, and only in the target domain."""
        training = [
            person("a", entry("books", "war-0"), entry("books", "war-1"), entry("films", "war-2")),
            person("b", entry("books", "war-0", preference=-1.0)),
        ]
        scored = by_id(data, fitted(Popularity(data), training)(asked()))
        assert {i: s for i, s in scored.items() if s} == {"war-0": 2, "war-1": 1}


class TestUnseenFirst(BaselineContract):
    name = "unseen-first"

    def test_what_nobody_touched_comes_first(self, data):
        """All of it alike, above all the rest alike."""
        training = [person("a", entry("books", "war-0"), entry("books", "war-1")), person("b", entry("books", "war-0"))]
        scored = by_id(data, fitted(UnseenFirst(data), training)(asked()))
        assert {i for i, s in scored.items() if s == 0} == {"war-0", "war-1"}
        assert set(scored.values()) == {0, 1}


class TestMeanEmbedding(BaselineContract):
    name = "mean-embedding"

    def test_the_score_is_the_product_with_the_mean(self, data):
        """Of the raw vectors, as the encoder gives them, of the liked entries."""
        history = [entry("films", "war-0"), entry("films", "love-1"), entry("films", "crime-2", preference=-1.0)]
        scores = by_id(data, fitted(MeanEmbedding(data), [])(asked(*history)))
        texts = [data.index.template.text(item=e.item) for e in history[:2]]
        mean = WordEncoder().encode(texts).mean(axis=0)
        book = WordEncoder().encode([data.index.template.text(item=item("books", "space-3"))])[0]
        assert scores["space-3"] == pytest.approx(float(book @ mean), abs=1e-6)


class TestWords(BaselineContract):
    name = "bm25"

    def test_shared_words_are_found(self, data):
        """Books that share a word with what was liked come first, those without score 0; dislikes are no query."""
        history = [entry("films", "crime-0"), entry("films", "war-0", preference=-1.0)]
        scored = by_id(data, fitted(BM25Text(data), [])(asked(*history)))
        assert {i.split("-")[0] for i, s in scored.items() if s > 0} == {"crime"}

    def test_a_missing_package_names_its_command(self, data, monkeypatch):
        """Without bm25s the error says what to install."""
        monkeypatch.setitem(sys.modules, "bm25s", None)
        with pytest.raises(SetupError, match="bm25") as caught:
            BM25Text(data)
        assert caught.value.hint == "pip install 'xdrec[eval]'"


class TestItemNeighbours(BaselineContract):
    name = "item-knn"

    def test_what_was_liked_together_is_found_across_domains(self, data):
        """Who liked the film also liked the book; two who did weigh more than one of two."""
        training = [
            person("a", entry("films", "war-0"), entry("books", "love-3")),
            person("b", entry("films", "war-0"), entry("books", "love-3"), entry("books", "love-4")),
            person("c", entry("films", "war-1"), entry("books", "crime-5")),
        ]
        scored = by_id(data, fitted(ItemKNN(data), training)(asked(entry("films", "war-0"))))
        assert [i for i, s in sorted(scored.items(), key=lambda pair: -pair[1]) if s > 0] == ["love-3", "love-4"]


class TestFactorisation(BaselineContract):
    name = "matrix-factorisation"

    def test_the_taste_is_found_across_domains(self, data, people):
        """A newcomer's films lead to the books of the same taste."""
        score = fitted(MatrixFactorisation(data), people)
        for taste in TASTES:
            found = best(data, score(asked(*likes("films", taste, range(3)))), 3)
            assert {i.split("-")[0] for i in found} == {taste}


class TestDomainMap(BaselineContract):
    name = "emcdr"

    def test_a_planted_map_between_tastes_is_recovered(self, data):
        """Where lovers of one taste's films like the next taste's books, a newcomer is led there."""
        following = dict(zip(TASTES, (*TASTES[1:], TASTES[0]), strict=True))
        rng = np.random.default_rng(1)

        def somebody(n, taste):
            films, books = (rng.choice(EACH, 4, replace=False).tolist() for _ in range(2))
            return person(f"{taste} {n}", *likes("films", taste, films), *likes("books", following[taste], books))

        score = fitted(EMCDR(data), [somebody(n, taste) for n in range(12) for taste in TASTES])
        for taste in TASTES:
            found = best(data, score(asked(*likes("films", taste, range(3)))), 3)
            assert {i.split("-")[0] for i in found} == {following[taste]}

    def test_domains_that_nobody_shares_have_no_map(self, data, people):
        """From music, which nobody of these likes, all books are alike."""
        scores = fitted(EMCDR(data), people)(asked(*likes("music", "war", range(3)), source="music"))
        assert set(scores) == {0}


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("item-knn", "implicit.nearest_neighbours"),
        ("matrix-factorisation", "implicit.cpu.als"),
        ("emcdr", "implicit.cpu.als"),
    ],
)
def test_a_missing_package_names_its_command(name, module, data, people, monkeypatch):
    """Without implicit the error says which baseline needs it and what to install."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SetupError, match=name) as caught:
        fitted(BASELINES[name](data), people)
    assert caught.value.hint == "pip install 'xdrec[eval]'"


def test_every_baseline_keeps_the_contract():
    """A baseline that joins the table without its promises tested is caught."""
    assert {kind.name for kind in BaselineContract.__subclasses__()} == set(BASELINES)
