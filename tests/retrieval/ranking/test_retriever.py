"""Retrieval over real stores, indexes and Chroma, with a little encoder in which shared words mean nearness."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from word_encoder import WordEncoder

from retrieval.errors import IndexMismatch, IndexMissing, UsageError
from retrieval.index.quantization import QuantizedVectors
from retrieval.ranking import Retriever, fusion_fit
from retrieval.ranking.query import HistoryProfile
from retrieval.ranking.signals import log_sum_exp_pooling
from retrieval.settings import RetrieverSettings
from retrieval.types import Filter, History, HistoryEntry, Item, Query

TOPICS = {
    "space": "star ship planet orbit galaxy",
    "crime": "murder detective police clue heist",
    "love": "wedding kiss romance heart letters",
    "war": "soldier battle trench general front",
}
DAY = 86_400


def item(domain, id_, **fields):
    return Item(domain=domain, id=id_, title=fields.pop("title", id_), **fields)


def topical(domain, topic, count):
    """Items `space-0`, `space-1` … whose texts share the topic's words."""
    return [item(domain, f"{topic}-{n}", description=f"{TOPICS[topic]} {topic}{n}") for n in range(count)]


def liked(*ids, domain="films", preference=1.0, timestamp=None):
    return tuple(HistoryEntry(item=item(domain, i), preference=preference, timestamp=timestamp) for i in ids)


def query(*entries, **fields):
    return Query(history=History(entries=tuple(entries)), target="books", **({"k": 5} | fields))


def topics(ranking):
    return [i.split("-")[0] for i in ranking.ids]


@pytest.fixture
def world(store, open_index):
    """Makes a retriever over four topics of films and books, and over whatever else is given."""

    def made(*extra, encoder=None, exact_limit=200_000, **settings):
        catalogue = [i for topic in TOPICS for i in (*topical("films", topic, 3), *topical("books", topic, 8))]
        items = {(i.domain, i.id): i for i in (*catalogue, *extra)}
        store.upsert_items(list(items.values()), "run")
        index = open_index(encoder, exact_limit=exact_limit)
        for summary in store.domains():
            index.build(store, summary.domain)
        return Retriever(store, index, RetrieverSettings(**settings))

    return made


unit_rows = hnp.arrays(np.float32, st.tuples(st.integers(1, 6), st.just(4)), elements=st.floats(-1, 1, width=32)).map(
    lambda m: m / np.maximum(np.linalg.norm(m, axis=1, keepdims=True), 1)
)


def profile_of(rows, weights):
    w = np.asarray(weights, dtype=np.float32)
    names = tuple(("films", str(n)) for n in range(len(rows)))
    return HistoryProfile(names, rows, w / w.sum(), np.ones(len(rows), dtype=bool), {}, ())


class TestSoftMaximum:
    @given(unit_rows, unit_rows, st.floats(0.03, 10), st.lists(st.floats(0.01, 1), min_size=6, max_size=6))
    def test_is_the_formula(self, candidates, rows, temperature, weights):
        """Equals T log sum w exp(x·h / T) computed in float64, for any weights and temperature that can be set."""
        profile = profile_of(rows, weights[: len(rows)])
        dots = candidates.astype(np.float64) @ rows.T.astype(np.float64)
        exact = temperature * np.log(np.exp(dots / temperature) @ profile.weights.astype(np.float64))
        np.testing.assert_allclose(
            log_sum_exp_pooling(candidates, profile, temperature), exact, atol=1e-4 * max(1, temperature)
        )

    @given(unit_rows, unit_rows, st.randoms(use_true_random=False))
    def test_order_of_the_history_does_not_matter(self, candidates, rows, random):
        """A shuffled history gives the same scores."""
        order = random.sample(range(len(rows)), len(rows))
        weights = np.arange(1, len(rows) + 1)
        np.testing.assert_allclose(
            log_sum_exp_pooling(candidates, profile_of(rows, weights), 0.1),
            log_sum_exp_pooling(candidates, profile_of(rows[order], weights[order]), 0.1),
            atol=1e-5,
        )

    def test_lies_between_mean_and_maximum(self):
        """Towards low temperatures the best match counts, towards high ones the mean."""
        rng = np.random.default_rng(0)
        candidates, rows = rng.standard_normal((50, 8)), rng.standard_normal((7, 8))
        candidates, rows = (
            (m / np.linalg.norm(m, axis=1, keepdims=True)).astype(np.float32) for m in (candidates, rows)
        )
        dots, profile = candidates @ rows.T, profile_of(rows, np.ones(7))
        np.testing.assert_allclose(log_sum_exp_pooling(candidates, profile, 100), dots.mean(axis=1), atol=0.01)
        cold = log_sum_exp_pooling(candidates, profile, 0.03)
        assert (cold <= dots.max(axis=1) + 1e-5).all()
        np.testing.assert_allclose(cold, dots.max(axis=1), atol=0.03 * np.log(7) + 1e-5)

    def test_more_rows_than_a_block(self):
        """Rows beyond the first block are scored like the first."""
        rows = np.eye(2, 4, dtype=np.float32)
        candidates = np.tile(np.eye(4, dtype=np.float32), (5_000, 1))
        scores = log_sum_exp_pooling(candidates, profile_of(rows, [1, 1]), 0.1).reshape(5_000, 4)
        np.testing.assert_allclose(scores, scores[:1].repeat(5_000, axis=0), atol=1e-6)


def test_ranks_what_fits(world):
    """Books of the liked film's topic come first, with scores that fall and the film as the match."""
    ranking = world(signals=("text",)).rank(query(*liked("space-0"), k=8))
    assert topics(ranking) == ["space"] * 8
    scores = [c.score for c in ranking.candidates]
    assert scores == sorted(scores, reverse=True)
    assert (ranking.source, ranking.degraded) == ("retrieval", False)
    for candidate in ranking.candidates:
        (match,) = candidate.matches
        assert (match.domain, match.item, match.share) == ("films", "space-0", pytest.approx(1))
        weight = fusion_fit("any").weights_for(1, ("text",), 1)["text"]
        assert candidate.stages == {"text": pytest.approx(candidate.score)}
        assert match.similarity == pytest.approx(candidate.score / weight, abs=1e-3)


def test_one_good_match_beats_a_mean(world):
    """With tastes in two topics, books of either come before a book that is a little like both."""
    both = item("books", "both", description=f"{TOPICS['space']} {TOPICS['love']}")
    entries = (*liked("space-0"), *liked("love-0"))
    found = world(both, temperature=0.03, signals=("text",)).rank(query(*entries, k=10))
    assert set(topics(found)) == {"space", "love"}
    assert world(both, temperature=50, signals=("text",)).rank(query(*entries)).ids[0] == "both"


def test_matches_explain_the_score(world):
    """Shares of the history sum to 1 and the best match leads; at most five are named."""
    entries = (*liked("space-0", "space-1", "space-2"), *liked("crime-0", "crime-1", "love-0"))
    candidate = world().rank(query(*entries)).candidates[0]
    shares = [m.share for m in candidate.matches]
    assert len(shares) == 5
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1, abs=0.05)
    assert candidate.matches[0].item.startswith(candidate.item.id.split("-")[0])


def test_dislikes_push_away(world):
    """A disliked topic falls behind, in proportion to the weight; with weight 0 it does nothing."""
    entries = (*liked("space-0"), *liked("crime-0"), *liked("crime-1", preference=-1))
    scores = {}
    for weight in (0, 0.1, 1):
        ranking = world(dislike_weight=weight).rank(query(*entries, k=32))
        scores[weight] = {c.item.id: c.score for c in ranking.candidates}
        if weight == 1:
            assert topics(ranking)[:8] == ["space"] * 8
    assert scores[0]["crime-0"] > scores[0.1]["crime-0"] > scores[1]["crime-0"]
    without = world().rank(query(*entries[:2], k=32))
    assert scores[0] == {c.item.id: c.score for c in without.candidates}


def test_a_middling_item_tells_where_somebody_looks(world):
    """It draws its kind up, beside a liked one, and is no reason; with weight 0 it changes nothing."""
    asked = query(*liked("space-0"), *liked("love-0", preference=0), k=20)
    found = world().rank(asked)
    assert {"space", "love"} <= set(topics(found)[:16])
    assert {match.item for candidate in found.candidates for match in candidate.matches} == {"space-0"}
    without = world(neutral_weight=0)
    assert without.rank(asked) == without.rank(query(*liked("space-0"), k=20))


def test_recent_likes_count_more(world):
    """With a half-life the newer topic wins, with none age does not matter; an item without a time is as new."""
    old, new = liked("love-0", timestamp=0), liked("crime-0", timestamp=3_650 * DAY)
    aged = world(half_life_days=365)
    assert topics(aged.rank(query(*old, *new, k=8))) == ["crime"] * 8
    assert set(topics(aged.rank(query(*liked("love-0"), *new, k=16)))) == {"love", "crime"}
    assert world().rank(query(*old, *new)).candidates[0].score == pytest.approx(
        world().rank(query(*liked("love-0"), *liked("crime-0"))).candidates[0].score
    )


def test_age_counts_from_what_has_a_vector(world, store):
    """A newest like that is not indexed yet does not age the rest into nothing."""
    retriever = world(half_life_days=1)
    entries = (*liked("space-0", timestamp=0), *liked("not-indexed", timestamp=36_500 * DAY))
    ranking = retriever.rank(query(*entries))
    assert topics(ranking) == ["space"] * 5
    assert np.isfinite([c.score for c in ranking.candidates]).all()


def test_text_alone(world):
    """Words are enough to go by; then no history item is named as a match."""
    ranking = world().rank(query(text="detective murder clue police heist", k=8))
    assert topics(ranking) == ["crime"] * 8
    assert all(c.matches == () for c in ranking.candidates)


def test_text_beside_a_history(world):
    """Words lead beside a long history of something else; without weight they do nothing."""
    entries = liked("space-0", "space-1", "space-2")
    wish = {"text": "wedding kiss romance heart letters love0", "k": 16}
    ranking = world().rank(query(*entries, **wish))
    assert set(topics(ranking)) == {"space", "love"}
    assert {m.item for c in ranking.candidates for m in c.matches} == {"space-0", "space-1", "space-2"}
    assert world(text_weight=0).rank(query(*entries, **wish)) == world().rank(query(*entries, k=16))
    with pytest.raises(UsageError, match="nothing to go by"):
        world(text_weight=0).rank(query(text="love"))


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        (Filter(year_from=2000), {"new"}),
        (Filter(year_to=1999), {"old"}),
        (Filter(categories=("classic",)), {"old"}),
        (Filter(categories=("Classic", "Modern"), not_categories=("classic",)), {"new"}),
        (Filter(creators=("ann",)), {"old"}),
        (Filter(languages=("DE",)), {"new"}),
        (Filter(attributes={"themes": ("hope",)}), {"new"}),
        (Filter(creators=("nobody",)), set()),
    ],
)
def test_filters_hold(world, wanted, ids):
    """Only what fulfils the filter is ranked, however badly it fits; nothing fitting gives an empty ranking."""
    old = item("books", "old", year=1950, categories=("Classic",), creators=("Ann",), description="tea")
    new = item("books", "new", year=2020, categories=("Modern",), language="de", attributes={"themes": ("hope", "tea")})
    ranking = world(old, new).rank(query(*liked("space-0"), filter=wanted))
    assert set(ranking.ids) == ids
    assert ranking.source == "retrieval"


def test_known_items_and_their_editions_are_left_out(world):
    """What the person knows in the target domain, liked or not, is not shown, nor is any other edition of it."""
    first = item("books", "first", description=TOPICS["space"])
    second = item("books", "second", description=TOPICS["space"], edition_of="first")
    third = item("books", "third", description=TOPICS["space"], edition_of="first")
    retriever = world(first, second, third)
    known = (*liked("second", domain="books", preference=0.0), *liked("space-3", domain="books"))
    ids = retriever.rank(query(*liked("space-0"), *known, k=100)).ids
    assert not {"first", "second", "third", "space-3"} & set(ids)
    assert len(ids) == 4 * 8 - 1
    unknown = liked("not-in-the-index", domain="books")
    assert len(retriever.rank(query(*liked("space-0"), *unknown, k=100)).ids) == 4 * 8 + 1


def test_one_edition_of_a_work(world):
    """Of several editions the best-fitting one is shown, once."""
    editions = [
        item("books", f"e{n}", description=f"{TOPICS['space']} {'filler ' * n}", edition_of="work") for n in range(3)
    ]
    ids = world(*editions).rank(query(*liked("space-0"), k=100)).ids
    assert [i for i in ids if i.startswith("e")] == ["e0"]


def test_withdrawn_items_are_never_shown(world, store):
    """An item that is not available is not ranked, also when it was withdrawn or deleted after the last index run."""
    retriever = world(item("books", "gone", description=TOPICS["space"], available=False))
    assert "gone" not in retriever.rank(query(*liked("space-0"), k=100)).ids
    store.upsert_items([item("books", "space-0", available=False)], "later")
    store.delete_items("books", ["space-1"])
    assert not {"space-0", "space-1"} & set(retriever.rank(query(*liked("space-0"), k=100)).ids)


def test_a_withdrawn_source_item_still_speaks(world):
    """What is withdrawn from the source domain stays a reason."""
    gone = item("films", "gone", description=TOPICS["war"], available=False)
    assert topics(world(gone).rank(query(*liked("gone"), k=8))) == ["war"] * 8


def test_a_series_begins_with_its_first_unread_volume(world):
    """A series is shown once: by its first volume, or the first after those that are known."""
    volumes = [
        item("books", f"v{n}", series="Saga", volume=n, description=f"{TOPICS['space']} {'deep ' * (n == 3)}")
        for n in (1, 2, 3)
    ]
    retriever = world(*volumes)
    found = retriever.rank(query(*liked("space-0"), k=100)).ids
    assert [i for i in found if i.startswith("v")] == ["v1"]
    read = liked("v1", domain="books")
    found = retriever.rank(query(*liked("space-0"), *read, k=100)).ids
    assert [i for i in found if i.startswith("v")] == ["v2"]


def test_long_series_do_not_use_up_the_places(world):
    """k candidates come even if one series holds far more than k of the best-fitting books."""
    volumes = [item("books", f"v{n}", series="Saga", volume=n, description=TOPICS["space"]) for n in range(200)]
    ranking = world(*volumes).rank(query(*liked("space-0"), k=5))
    assert len(ranking.ids) == 5
    assert len({i for i in ranking.ids if i.startswith("v")}) == 1


def test_diversity_spreads_the_list(world):
    """Diversity changes the list, names no item twice, and keeps to what is eligible; the best item stays first."""
    entries = (*liked("space-0"), *liked("love-0"), *liked("war-0"))
    wanted = {"filter": Filter(), "k": 8}
    plain, spread = world(), world(diversity=0.7)
    narrow, wide = plain.rank(query(*entries[:1], **wanted)), spread.rank(query(*entries[:1], **wanted))
    assert wide.ids != narrow.ids
    assert wide.ids[0] == narrow.ids[0]
    assert len(set(wide.ids)) == 8
    assert len(set(topics(wide))) > len(set(topics(narrow)))
    every = {"k": 1_000}
    assert sorted(spread.rank(query(*entries, **every)).ids) == sorted(plain.rank(query(*entries, **every)).ids)
    nothing = query(*entries, filter=Filter(creators=("nobody",)))
    assert spread.rank(nothing).ids == ()


def test_more_than_there_is(world):
    """k beyond the catalogue gives every eligible item once, best first."""
    ranking = world().rank(query(*liked("space-0"), k=10_000))
    assert len(ranking.ids) == len(set(ranking.ids)) == 4 * 8


def test_ties_are_broken_the_same_way_every_time(world):
    """Items with the same text come in the same order, whatever k."""
    twins = [item("books", f"twin{n}", title="Twin", description=TOPICS["space"]) for n in range(20)]
    retriever = world(*twins)
    long = retriever.rank(query(*liked("space-0"), k=30)).ids
    for k in (1, 3, 7, 19):
        assert retriever.rank(query(*liked("space-0"), k=k)).ids == long[:k]


def test_several_source_domains(world):
    """Likes of all other domains count at once, each centred in its own domain."""
    songs = [item("music", f"{t}-song", description=f"{TOPICS[t]} song") for t in TOPICS]
    entries = (*liked("space-0"), *liked("war-song", domain="music"))
    ranking = world(*songs).rank(query(*entries, k=16))
    assert set(topics(ranking)) == {"space", "war"}
    assert {m.domain for c in ranking.candidates for m in c.matches} == {"films", "music"}


def test_items_that_are_not_indexed_are_passed_over(world):
    """A liked item that came after the last index run is no error as long as another is known."""
    retriever = world()
    assert retriever.rank(query(*liked("space-0"), *liked("new"))) == retriever.rank(query(*liked("space-0")))


@pytest.mark.parametrize(
    "entries",
    [
        (),
        liked("space-0", domain="books"),
        liked("space-0", preference=-1),
        liked("space-0", preference=0),
        liked("new"),
    ],
)
def test_nothing_to_go_by(world, entries):
    """Without text or an indexed like outside the target there is an error that says what to give, not a guess."""
    with pytest.raises(UsageError, match="nothing to go by") as caught:
        world().rank(query(*entries))
    assert "--like" in caught.value.hint


def test_domains_that_are_not_indexed(world, store, open_index):
    """A target or source domain without an index names the command; so does an index of another encoder."""
    retriever = world()
    with pytest.raises(IndexMissing) as caught:
        retriever.rank(Query(history=History(entries=liked("space-0")), target="games"))
    assert caught.value.hint == "xdrec index games"
    with pytest.raises(IndexMissing, match="'music'"):
        retriever.rank(query(*liked("song", domain="music")))
    other = Retriever(store, open_index(WordEncoder("other")), RetrieverSettings())
    with pytest.raises(IndexMismatch):
        other.rank(query(*liked("space-0")))


def test_scores_of_all_rows_are_those_of_the_ranking(world):
    """`scores` gives every row's score and marks the eligible ones; the ranking is their order."""
    retriever = world(item("books", "gone", available=False))
    asked = query(*liked("space-0"), *liked("war-0", preference=-1), *liked("space-1", domain="books"), k=1_000)
    mask, scores = retriever.scores(asked)
    ids = retriever.index.snapshot("books").ids(np.arange(len(mask)))
    assert {i for i, open_ in zip(ids, mask, strict=True) if not open_} == {"gone", "space-1"}
    by_id = dict(zip(ids, scores.tolist(), strict=True))
    ranking = retriever.rank(asked)
    assert len(ranking.ids) == mask.sum()
    assert [c.score for c in ranking.candidates] == pytest.approx([by_id[i] for i in ranking.ids], abs=1e-5)


@pytest.mark.parametrize("wanted", [Filter(), Filter(categories=("even",))])
def test_approximate_search_finds_nearly_the_same(world, wanted, monkeypatch):
    """Above the exact limit codes propose the candidates: the top 10 is nearly the exact one."""
    rng = np.random.default_rng(0)
    words = [f"w{n}" for n in range(40)]
    many = [
        item(
            "books",
            f"b{n}",
            description=" ".join(rng.choice(words, 6)),
            categories=("even",) if n % 2 == 0 else ("odd",),
        )
        for n in range(2_000)
    ]
    films = [item("films", f"f{n}", description=" ".join(rng.choice(words, 6))) for n in range(20)]
    exact, near = world(*many, *films), world(*many, *films, exact_limit=50)
    searches, by_codes = [], QuantizedVectors.search
    monkeypatch.setattr(
        QuantizedVectors, "search", lambda codes, queries, k: searches.append(k) or by_codes(codes, queries, k)
    )
    shared = 0
    for n in range(0, 20, 4):
        asked = query(*liked(*(f"f{m}" for m in range(n, n + 4))), k=10, filter=wanted)
        found = near.rank(asked)
        assert len(found.ids) == 10
        assert near.rank(asked.model_copy(update={"k": 3})).ids == found.ids[:3]
        assert wanted.empty or all(int(i[1:]) % 2 == 0 for i in found.ids)
        shared += len(set(exact.rank(asked).ids) & set(found.ids))
    assert shared >= 45
    assert len(searches) == 10


def test_approximate_search_fills_k_under_a_narrow_filter(world):
    """Where the filter leaves too few of what the codes propose, everything eligible is scored."""
    many = [
        item("books", f"b{n}", description=TOPICS["war"], categories=("war",) if n < 60 else ("rest",))
        for n in range(300)
    ]
    far = [m.model_copy(update={"description": TOPICS["space"]}) if m.categories == ("rest",) else m for m in many]
    retriever = world(*far, exact_limit=50)
    ranking = retriever.rank(query(*liked("space-0"), k=40, filter=Filter(categories=("war",))))
    assert len(ranking.ids) == 40


BUILD = """
import sys
from pathlib import Path
from word_encoder import WordEncoder
from retrieval.index.index import Index
from retrieval.settings import IndexSettings
from retrieval.store.store import Store
from retrieval.templates import load_template
from retrieval.types import Item

home = Path(sys.argv[1])
with Store.open(f"sqlite:///{home / 'store.sqlite'}") as store:
    new = Item(domain="books", id="new", title="New", description=sys.argv[2])
    store.upsert_items([new], "later")
    with Index(home / "index", WordEncoder(), load_template("item"), IndexSettings()) as index:
        index.build(store, "books", rebuild="rebuild" in sys.argv)
"""


def in_another_process(code, *arguments):
    paths = f"import sys; sys.path[:0] = {[p for p in sys.path if p]!r}\n"
    run = [sys.executable, "-c", paths + code, *map(str, arguments)]
    return subprocess.run(run, check=True, timeout=300, capture_output=True, text=True).stdout


@pytest.mark.parametrize("how", ["update", "rebuild"])
def test_approximate_search_follows_another_process(world, tmp_path, how):
    """A searcher finds what another process indexed meanwhile, and can build afterwards itself."""
    retriever = world(exact_limit=10)
    asked = query(*liked("space-0"), k=10)
    retriever.rank(asked)
    in_another_process(BUILD, tmp_path, TOPICS["space"], how)
    assert "new" in retriever.rank(asked).ids
    retriever.store.upsert_items([item("books", "newer", description=TOPICS["space"])], "last")
    retriever.index.build(retriever.store, "books")
    assert "newer" in retriever.rank(asked).ids


SEARCH = """
import sys
from pathlib import Path
from retrieval.encoder.sentence import SentenceEncoder
from retrieval.index.index import Index
from retrieval.ranking.retriever import Retriever
from retrieval.settings import IndexSettings, RetrieverSettings
from retrieval.store.store import Store
from retrieval.templates import load_template
from retrieval.types import History, HistoryEntry, Item, Query

class Unused:
    name = fingerprint = "words"
    def encode(self, texts):
        raise SystemExit("the encoder was called")

home = Path(sys.argv[1])
with Store.open(f"sqlite:///{home / 'store.sqlite'}") as store:
    index = Index(home / "index", Unused(), load_template("item"), IndexSettings())
    entry = HistoryEntry(item=Item(domain="films", id="space-0", title="x"))
    ranking = Retriever(store, index, RetrieverSettings()).rank(
        Query(history=History(entries=(entry,)), target="books", k=3)
    )
heavy = {"torch", "transformers", "sentence_transformers", "chromadb", "scipy.stats", "sklearn", "numba", "bm25s"}
print(len(ranking.ids), sorted(heavy & sys.modules.keys()))
"""


@pytest.mark.usefixtures("store")
def test_known_items_need_neither_encoder_nor_chroma(world, tmp_path):
    """A search from known items in a fresh process calls no encoder and imports nothing of what an index run needs."""
    world()
    assert in_another_process(SEARCH, tmp_path).split("\n")[0] == "3 []"


def test_text_is_embedded_once(world):
    """A search embeds the text and nothing else."""
    encoder = WordEncoder()
    retriever = world(encoder=encoder)
    before = len(encoder.encoded)
    retriever.rank(query(*liked("space-0"), text="a quiet war"))
    assert encoder.encoded[before:] == ["a quiet war"]
