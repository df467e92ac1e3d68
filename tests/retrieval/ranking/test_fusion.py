"""Promises of the fusion: what each signal weighs, and that a score is the sum of the weighted signals."""

from __future__ import annotations

from math import inf, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from word_encoder import WordEncoder

from retrieval.errors import DataError, UsageError
from retrieval.index import Index, InteractionTable
from retrieval.index.interactions import delete_user
from retrieval.index.quantization import QuantizedVectors
from retrieval.ingest import IngestRequest, ingest
from retrieval.ranking import (
    SIGNALS,
    UNFITTED_WEIGHTS,
    CollaborativeSignals,
    FusionFit,
    Retriever,
    SignalWeight,
    fusion_fit,
    save_fusion,
)
from retrieval.relations import RelationGraph
from retrieval.settings import EncoderSettings, IndexSettings, RetrieverSettings
from retrieval.store import RelationStore, Store
from retrieval.templates import load_template
from retrieval.types import Filter, History, HistoryEntry, Interaction, Item, Query

TOPICS = {
    "space": "star ship planet orbit",
    "crime": "murder detective clue heist",
    "love": "wedding kiss heart letters",
}
TWINS = ("twin0", "twin1", "twin2")
"""Books with the same text; all people of the world like the last one."""


def fit(**weights):
    made = {name: SignalWeight(base=base) for name, base in weights.items()}
    return FusionFit(made_by="test", data="", encoder="", users=0, picks=0, weights=made)


EVEN = fit(text=1, bm25=1, popularity=1, cooccurrence=1, neighbours=1)


def catalogue():
    for topic, text in TOPICS.items():
        yield from (Item(domain="films", id=f"{topic}-{n}", title=f"{topic} {n}", description=text) for n in range(3))
        for n in range(30):
            words = f"{text} {topic}{n} {topic}{n % 7}"
            yield Item(domain="books", id=f"{topic}-{n}", title=f"{topic} {n}", description=words, year=1980 + n)
    yield from (Item(domain="books", id=id_, title="Twin", description=TOPICS["space"]) for id_ in TWINS)
    yield Item(domain="books", id="far", title="Gardening", description="soil roses spade compost")
    for n, text in enumerate(["mud and rain", "wind and hail", TOPICS["space"]], 1):
        title = f"space {n}" if n == 3 else "Weather"
        yield Item(domain="books", id=f"saga-{n}", title=title, description=text, series="Saga", volume=n)


def interactions(people=30):
    """Everybody likes three books: the last twin, the one far from all, and one that depends; and films of a topic."""
    topics = list(TOPICS)
    for n in range(people):
        topic = topics[n % 3]
        for domain, id_ in (
            ("films", f"{topic}-0"),
            ("films", f"{topic}-{1 + n % 2}"),
            ("books", "twin2"),
            ("books", "far"),
            ("books", f"{topic}-{n % 5}"),
        ):
            yield Interaction(user=f"u{n:02}", domain=domain, item=id_, value=5)


def opened(folder, **settings):
    return Index(folder, WordEncoder(), load_template("item"), IndexSettings(**settings))


def build(folder, *, people):
    store = Store.open(f"sqlite:///{folder / 'store.sqlite'}")
    store.upsert_items(list(catalogue()), "run")
    store.upsert_interactions(list(interactions(people)), "run")
    with opened(folder / "index", exact_limit=20) as index:  # of more than 20 items there are codes
        for domain in ("films", "books"):
            index.build(store, domain)
    return store


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A store and an index with people in them."""
    folder = tmp_path_factory.mktemp("peopled")
    with build(folder, people=30) as store:
        yield folder, store


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """The same catalogue without people."""
    folder = tmp_path_factory.mktemp("empty")
    with build(folder, people=0) as store:
        yield folder, store


@pytest.fixture
def retriever():
    """Makes a retriever over a home; closes its index at the end."""
    indexes = []

    def made(home, fusion=None, exact_limit=200_000, collaborative=None, **settings):
        folder, store = home
        indexes.append(opened(folder / "index", exact_limit=exact_limit))
        return Retriever(store, indexes[-1], RetrieverSettings(**settings), collaborative, fusion)

    yield made
    for index in indexes:
        index.close()


def asking(*films, user=None, at=None, **fields):
    entries = tuple(HistoryEntry(item=Item(domain="films", id=i, title=i), timestamp=at) for i in films)
    return Query(history=History(user=user, entries=entries), target="books", **({"k": 10} | fields))


weights = st.builds(SignalWeight, base=st.floats(-10, 10), slope=st.floats(-5, 5))


@given(weights, st.integers(0, 10_000))
def test_a_weight_is_a_line_in_the_logarithm_of_the_history_and_never_negative(weight, liked):
    """base + slope · log n, at least 0; a history of text alone counts like one of one item."""
    assert weight.at(liked) == max(0, weight.base + weight.slope * log(max(liked, 1)))
    assert weight.at(liked) >= 0


def test_ten_times_the_history_adds_the_same_each_time():
    """The slope works on the logarithm, of base e."""
    weight = SignalWeight(base=1, slope=2)
    assert [weight.at(n) for n in (0, 1)] == [1, 1]
    assert weight.at(100) - weight.at(10) == pytest.approx(2 * log(10))
    assert weight.at(1_000) - weight.at(100) == pytest.approx(2 * log(10))


def test_which_signals_count():
    """Only the named signals, popularity by its factor; a weight of 0 leaves a signal out."""
    fitted = fit(text=2, bm25=1, popularity=4, neighbours=-1)
    assert fitted.weights_for(5, None, 1) == {"text": 2, "bm25": 1, "popularity": 4}
    assert fitted.weights_for(5, None, 0.25) == {"text": 2, "bm25": 1, "popularity": 1}
    assert fitted.weights_for(5, None, 0) == {"text": 2, "bm25": 1}
    assert fitted.weights_for(5, ("text", "popularity", "cooccurrence"), 1) == {"text": 2, "popularity": 4}


def test_the_shipped_weights_are_of_the_known_signals():
    """The file loads, has every signal and no other, and every signal can count."""
    for encoder in ("minilm-taste", "all-MiniLM-L6-v2"):
        shipped = fusion_fit(encoder)
        assert shipped.encoder == encoder
        assert set(shipped.weights) == set(SIGNALS)
        assert all(weight.at(n) < inf for weight in shipped.weights.values() for n in (1, 1_000))
        assert shipped.weights["text"].at(1) > 0
    with pytest.raises(ValidationError):
        fit(**{"astrology": 1})


def test_an_encoder_of_ones_own_gets_the_defaults_weights():
    """Until somebody fits them."""
    assert fusion_fit("my-own") == fusion_fit(EncoderSettings().model)


def test_a_homes_weights_go_before_the_shipped_ones(tmp_path):
    """By encoder; the shipped ones stand for all others, and an own encoder gets the home's defaults."""
    default = EncoderSettings().model
    mine = fit(text=2).model_copy(update={"encoder": "my-own"})
    file = save_fusion(mine, tmp_path / "fits")
    assert (file.parent, fusion_fit("my-own", tmp_path / "fits")) == (tmp_path / "fits", mine)
    assert fusion_fit(default, tmp_path / "fits") == fusion_fit(default)
    newer = mine.model_copy(update={"picks": 7})
    ours = mine.model_copy(update={"encoder": default})
    for one in (newer, ours):
        save_fusion(one, tmp_path / "fits")
    assert fusion_fit("my-own", tmp_path / "fits") == newer
    assert fusion_fit("another", tmp_path / "fits") == ours
    assert fusion_fit("another") != ours


def test_a_damaged_file_of_weights_is_an_error_with_a_way_out(tmp_path):
    """Recommendations never go on by other weights than those that were fitted, in silence."""
    (tmp_path / "fusion.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read") as damaged:
        fusion_fit("any", tmp_path)
    assert "xdrec-eval fit fusion --write" in damaged.value.hint


def test_every_signal_can_count(home, retriever):
    """`signal_scores` has each signal asked for, for every row, times its weight."""
    asked = asking("space-0", "space-1")
    once, thrice = (retriever(home).signal_scores(asked, dict.fromkeys(SIGNALS, w)) for w in (1.0, 3.0))
    assert set(once) == set(SIGNALS)
    for signal, scores in once.items():
        assert scores.shape == (sum(item.domain == "books" for item in catalogue()),)
        np.testing.assert_allclose(thrice[signal], 3 * scores, rtol=1e-5)
        assert scores.std() > 0 or signal == "relations"  # there is no graph; test_relations_propose has one


@pytest.mark.parametrize("exact_limit", [200_000, 20])
@pytest.mark.parametrize("diversity", [0.0, 0.5])
def test_stages_sum_to_the_score(home, retriever, exact_limit, diversity, monkeypatch):
    """The weighted signals add up to each candidate's score, also of a series, whose first volume is shown."""
    monkeypatch.setattr("retrieval.ranking.retriever._LEAST_K", 1)  # else all of so few are scored
    searches, near = [], QuantizedVectors.search
    monkeypatch.setattr(
        QuantizedVectors, "search", lambda codes, queries, k: searches.append(k) or near(codes, queries, k)
    )
    asked = asking("space-0", "space-2", k=4)
    ranking = retriever(home, fit(text=1, bm25=1, popularity=1e-3), exact_limit, diversity=diversity).rank(asked)
    assert len(searches) == (exact_limit == 20)
    assert "saga-1" in ranking.ids  # far from what was asked; its third volume is not
    for candidate in ranking.candidates:
        assert set(candidate.stages) == {"text", "bm25", "popularity"}
        assert sum(candidate.stages.values()) == pytest.approx(candidate.score, abs=1e-4)


def test_popularity_can_be_left_out(home, retriever):
    """With factor 0 nothing is said by popularity, and the order is that of weights without it."""
    asked = asking("crime-0")
    without = retriever(home, EVEN, popularity=0).rank(asked)
    assert all("popularity" not in candidate.stages for candidate in without.candidates)
    assert without == retriever(home, fit(text=1, bm25=1, cooccurrence=1, neighbours=1)).rank(asked)
    half, whole = (retriever(home, EVEN, popularity=f).rank(asking("crime-0", k=1_000)) for f in (0.5, 1))
    said = [{c.item.id: c.stages["popularity"] for c in found.candidates} for found in (half, whole)]
    assert said[1]["far"] == pytest.approx(2 * said[0]["far"])
    assert said[1]["far"] == pytest.approx(30 / 530)


@pytest.mark.parametrize(("at", "first"), [(2_000, 1), (1_000_000_000, -1), (None, 0)])
def test_popularity_is_that_of_when_the_history_ends(home, retriever, at, first):
    """Of two books touched by as many people long ago and lately, more is said for the one of the person's own time."""
    when = {"twin0": 1_000, "twin1": 1_000_000_000}
    rows = [(f"{twin}{n}", "books", twin, 1.0, time) for twin, time in when.items() for n in range(20)]
    asked = retriever(home, EVEN, collaborative=CollaborativeSignals(InteractionTable.of(rows))).rank(
        asking("crime-0", at=at, k=1_000)
    )
    said = {c.item.id: c.stages["popularity"] for c in asked.candidates}
    assert np.sign(said["twin0"] - said["twin1"]) == first


@pytest.mark.parametrize("signals", [(), ("bm25",), ("text", "astrology"), ("astrology",)])
def test_unknown_signals_are_refused(home, retriever, signals):
    """Unknown signals, or none, or not the text, are an error that lists those there are."""
    with pytest.raises(UsageError, match=r"retriever\.signals") as caught:
        retriever(home, signals=signals)
    assert all(signal in caught.value.hint for signal in SIGNALS)


@pytest.mark.parametrize(
    "fusion", [None, *(fit(text=1, **{s: 1}) for s in ("popularity", "cooccurrence", "neighbours"))]
)
def test_what_people_like_rises(home, empty, retriever, fusion):
    """Of three books with the same text the one that everybody likes comes first; without people they are equal."""

    def twins(where):
        found = retriever(where, fusion).rank(asking("space-0", k=100)).candidates
        return {c.item.id: c.score for c in found if c.item.id in TWINS}

    peopled, plain = twins(home), twins(empty)
    assert next(iter(peopled)) == "twin2"
    assert peopled["twin2"] > peopled["twin0"] + 0.01
    assert peopled["twin0"] == pytest.approx(peopled["twin1"])
    assert list(plain.values()) == pytest.approx([peopled["twin0"]] * 3)


def test_without_people_text_and_words_decide(empty, retriever):
    """Where nobody did anything, the collaborative signals change neither order nor score."""
    asked = asking("space-0", "love-2", k=200)
    everyone, texts = retriever(empty).rank(asked), retriever(empty, signals=("text", "bm25")).rank(asked)
    assert everyone.ids == texts.ids
    assert [c.score for c in everyone.candidates] == pytest.approx([c.score for c in texts.candidates])
    assert all(c.stages[s] == 0 for c in everyone.candidates for s in ("popularity", "cooccurrence", "neighbours"))


def test_what_nobody_touched_stands_on_its_texts(home, retriever):
    """An item without interactions gets nothing from other users, and loses nothing by it."""
    asked = asking("space-0", k=1_000)
    alone = {c.item.id: c.score for c in retriever(home, signals=("text", "bm25")).rank(asked).candidates}
    untouched = [c for c in retriever(home).rank(asked).candidates if c.item.id in {"space-20", "love-29", "twin0"}]
    assert len(untouched) == 3
    assert [c.score for c in untouched] == pytest.approx([alone[c.item.id] for c in untouched])


@pytest.mark.parametrize("fusion", [None, EVEN, fit(text=1, popularity=1_000)])
@pytest.mark.parametrize("wanted", [Filter(), Filter(year_to=1990)])
def test_a_large_catalogue_has_the_same_top(home, retriever, fusion, wanted):
    """Where the codes propose what is scored, what others speak for is proposed too: the top is the exact one."""
    for films in (["space-0"], ["crime-1", "love-0"]):
        asked = asking(*films, k=3, filter=wanted)
        exact, near = (retriever(home, fusion, limit).rank(asked) for limit in (200_000, 20))
        assert near.ids == exact.ids
        assert [c.score for c in near.candidates] == pytest.approx([c.score for c in exact.candidates], abs=1e-4)
        if fusion and fusion.weights["popularity"].base > 1 and wanted.empty:
            assert set(near.ids[:2]) == {"far", "twin2"}


def test_weights_without_the_text_still_rank(home, retriever):
    """If what was fitted gives the text no weight, the others decide."""
    ranking = retriever(home, fit(text=-1, popularity=1)).rank(asking("space-0", k=2))
    assert set(ranking.ids) == {"far", "twin2"}
    assert all(c.stages["text"] == 0 for c in ranking.candidates)


def test_longer_histories_use_the_weights_of_their_length(home, retriever):
    """The slope counts liked items: with a weight of log n alone one item says nothing by its words."""
    growing = fit(text=1).model_copy(
        update={"weights": {"text": SignalWeight(base=1), "bm25": SignalWeight(base=0, slope=1)}}
    )
    short, long = (retriever(home, growing).rank(asking(*films)) for films in (["space-0"], ["space-0", "space-1"]))
    assert all("bm25" not in c.stages for c in short.candidates)
    assert all(c.stages["bm25"] > 0 for c in long.candidates)


def test_a_deleted_person_no_longer_speaks(tmp_path, retriever):
    """Once a person is forgotten, a retriever that is open ranks as if they had never been there."""
    with build(tmp_path, people=2) as store:
        asking_ = asking("space-0", k=1_000)
        used = retriever((tmp_path, store), EVEN)
        said = {c.item.id: c.stages for c in used.rank(asking_).candidates}
        assert said["crime-1"]["popularity"] > 0
        assert delete_user(tmp_path / "index", "u01") == 5
        said = {c.item.id: c.stages for c in used.rank(asking_).candidates}
        assert said["crime-1"]["popularity"] == 0
        assert said["space-0"]["popularity"] > 0


def test_a_person_does_not_speak_for_themselves(home, retriever):
    """For somebody in the index the neighbours are the others."""
    asked = asking("space-0", "space-1", k=1_000)
    theirs = asked.model_copy(update={"history": asked.history.model_copy(update={"user": "u00"})})
    stranger, known = (
        {c.item.id: c.stages["neighbours"] for c in retriever(home, EVEN).rank(q).candidates} for q in (asked, theirs)
    )
    assert stranger["space-0"] > known["space-0"]


def test_how_popular_a_list_is(home, empty, retriever):
    """The share of the catalogue that fewer people touched than the list's median item; 0 where that has no say."""
    books = sum(item.domain == "books" for item in catalogue())
    assert retriever(home).popularity_percentile("books", ["far", "twin2", "space-20"]) == pytest.approx(
        (books - 2) / books
    )
    assert retriever(home).popularity_percentile("books", ["space-20", "nowhere"]) == 0
    assert retriever(empty).popularity_percentile("books", ["far"]) == 0
    assert retriever(home, popularity=0).popularity_percentile("books", ["far"]) == 0
    assert retriever(home, signals=("text", "bm25")).popularity_percentile("books", ["far"]) == 0


def test_relations_propose(home, retriever, tmp_path):
    """What the graph leads to from a liked film rises and says so; without the source it stands where it stood."""
    folder, store = home
    file = tmp_path / "facts.csv"
    file.write_text("subject,predicate,object\nfilms:space-0,based_on,books:love-7\n", encoding="utf-8")
    with RelationStore.open(f"sqlite:///{folder / 'store.sqlite'}") as relations:
        ingest(store, IngestRequest(file, kind="relations"))
        made = retriever(home)
        related = Retriever(store, made.index, made.settings, graph=RelationGraph(relations))
        asked = asking("space-0", k=1_000)
        with_graph, without = related.rank(asked), made.rank(asked)
        stages = {c.item.id: c.stages for c in with_graph.candidates}
        assert with_graph.ids.index("love-7") < without.ids.index("love-7")
        assert stages["love-7"]["relations"] == pytest.approx(UNFITTED_WEIGHTS["relations"].base)
        assert stages["space-1"]["relations"] == 0
        text = RetrieverSettings(signals=("text", "bm25"))
        alone = [Retriever(store, made.index, text, graph=g).rank(asked).ids for g in (RelationGraph(relations), None)]
        assert alone[0] == alone[1]
