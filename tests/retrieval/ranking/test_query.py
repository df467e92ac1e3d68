"""Filters against a plain reading of what `Filter` promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retrieval.index.snapshot import Manifest, open_snapshot, write_snapshot
from retrieval.ranking import Retriever, eligible
from retrieval.settings import RetrieverSettings
from retrieval.types import Filter, History, HistoryEntry, Item, Query

WORDS = ["War", "war", "Ёлка", "ёлка", "straße", "STRASSE", "Love", "a=b", ""]
word = st.sampled_from(WORDS)
words = st.lists(word, max_size=2).map(tuple)
years = st.none() | st.integers(1990, 1994)
items = st.lists(
    st.builds(
        dict,
        year=years,
        language=st.none() | word,
        categories=words,
        creators=words,
        available=st.booleans(),
        attributes=st.dictionaries(st.sampled_from(["themes", "seen"]), words | word | st.booleans()),
    ),
    min_size=1,
    max_size=6,
)
tags_asked = st.dictionaries(st.sampled_from(["themes", "seen", "other"]), words, max_size=2)
filters = st.builds(
    Filter,
    year_from=years,
    year_to=years,
    categories=words,
    not_categories=words,
    creators=words,
    languages=words,
    attributes=tags_asked,
    not_attributes=tags_asked,
    within_attributes=tags_asked,
)


def snapshot_of(folder, catalogue):
    manifest = Manifest(
        domain="books",
        encoder="e",
        encoder_fingerprint="e",
        template_fingerprint="t",
        items=len(catalogue),
        dims=2,
        generation=1,
    )
    vectors = np.ones((len(catalogue), 2), dtype=np.float32)
    write_snapshot(folder, manifest, iter(catalogue), vectors, lambda item: f"book {item.title}")
    return open_snapshot(folder, "books")


def fits(item, wanted):
    """The promise of `Filter`, item by item."""

    def has(have, asked):
        return bool({str(v).casefold() for v in have} & {v.casefold() for v in asked})

    def tags(name):
        value = item.attributes.get(name, ())
        return value if isinstance(value, tuple) else (value,)

    return (
        item.available
        and (wanted.year_from is None or (item.year is not None and item.year >= wanted.year_from))
        and (wanted.year_to is None or (item.year is not None and item.year <= wanted.year_to))
        and (not wanted.languages or (bool(item.language) and has([item.language], wanted.languages)))
        and (not wanted.categories or has(item.categories, wanted.categories))
        and not has(item.categories, wanted.not_categories)
        and (not wanted.creators or has(item.creators, wanted.creators))
        and all(has(tags(name), values) for name, values in wanted.attributes.items())
        and not any(has(tags(name), values) for name, values in wanted.not_attributes.items())
        and all(has([tag], values) for name, values in wanted.within_attributes.items() for tag in tags(name))
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(items, filters)
def test_filters_do_what_they_promise(tmp_path, fields, wanted):
    """A row is eligible exactly if the item is available and fulfils every given field, without regard to case."""
    catalogue = [Item(domain="books", id=str(n), title="Book", **f) for n, f in enumerate(fields)]
    mask = eligible(snapshot_of(tmp_path, catalogue), wanted)
    assert mask.tolist() == [fits(item, wanted) for item in catalogue]


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        (Filter(), "abd"),
        (Filter(year_from=2000), "b"),
        (Filter(year_to=2000), "a"),
        (Filter(categories=("FANTASY", "crime")), "ab"),
        (Filter(not_categories=("Crime",)), "ad"),
        (Filter(creators=("le guin",)), "a"),
        (Filter(languages=("DE",)), "b"),
        (Filter(attributes={"themes": ("Dragons",)}), "a"),
        (Filter(attributes={"pages": ("300",)}), "b"),
        (Filter(attributes={"pages": ()}), ""),
        (Filter(not_attributes={"themes": ("NAMES", "war")}), "bd"),
        (Filter(not_attributes={"pages": ("300",)}), "ad"),
        (Filter(not_attributes={"themes": ()}), "abd"),
        (Filter(within_attributes={"themes": ("dragons",)}), "bd"),
        (Filter(within_attributes={"themes": ("Dragons", "Names", "war")}), "abd"),
        (Filter(within_attributes={"themes": (), "pages": ()}), "d"),
        (Filter(year_from=1, categories=("Crime",), languages=("de", "en")), "b"),
        (Filter(categories=("Nothing",)), ""),
    ],
)
def test_each_kind_of_filter(tmp_path, wanted, ids):
    """Examples of every field; an item without a year fails any year limit, a withdrawn one (c) everything."""
    catalogue = [
        Item(domain="books", id="a", title="A", year=1968, creators=("Le Guin",), categories=("Fantasy",)),
        Item(domain="books", id="b", title="B", year=2004, language="de", categories=("Thriller", "Crime")),
        Item(domain="books", id="c", title="C", year=2004, available=False, categories=("Crime",)),
        Item(domain="books", id="d", title="D"),
    ]
    catalogue[0] = catalogue[0].model_copy(update={"attributes": {"themes": ("dragons", "names")}})
    catalogue[1] = catalogue[1].model_copy(update={"attributes": {"pages": 300}})
    snapshot = snapshot_of(tmp_path, catalogue)
    assert "".join(snapshot.ids(np.flatnonzero(eligible(snapshot, wanted)))) == ids


def test_mask_is_the_callers_own(tmp_path):
    """Changing a mask does not change the next one."""
    snapshot = snapshot_of(tmp_path, [Item(domain="books", id="a", title="A")])
    eligible(snapshot, Filter())[:] = False
    assert eligible(snapshot, Filter()).all()


@pytest.fixture
def shelf(store, open_index):
    """Ranks books for somebody who likes space, of whom the best-fitting ones are forbidden to some people."""
    space = "star ship planet orbit galaxy"
    fields = {
        "best": {"attributes": {"bad_for": "ann"}},
        "both": {"attributes": {"bad_for": ("bob", "Ann")}},
        "first": {"series": "Saga", "volume": 1, "attributes": {"bad_for": ("ann",)}},
        "second": {"series": "Saga", "volume": 2},
        "third": {"series": "Saga", "volume": 3, "attributes": {"bad_for": ("bob",)}},
        "paper": {"edition_of": "work", "attributes": {"bad_for": ("ann",)}},
        "sound": {"edition_of": "work"},
        "only-volume": {"series": "Cycle", "volume": 1, "attributes": {"bad_for": ("ann", "bob")}},
        "weak": {"description": "wedding kiss romance"},
    }
    books = [Item(domain="books", id=i, title=i, **({"description": space} | f)) for i, f in fields.items()]
    film = Item(domain="films", id="film", title="film", description=space)
    store.upsert_items([*books, film], "run")
    index = open_index()
    for domain in ("books", "films"):
        index.build(store, domain)
    retriever = Retriever(store, index, RetrieverSettings())
    history = History(entries=(HistoryEntry(item=film),))
    return lambda wanted, k: retriever.rank(Query(history=history, target="books", filter=wanted, k=k)).ids


@pytest.mark.parametrize("k", [1, 3, 20])
@pytest.mark.parametrize(
    ("who", "left"),
    [
        (("ann",), {"second", "sound", "weak"}),
        (("bob",), {"best", "first", "paper", "sound", "weak"}),
        (("ANN", "bob"), {"second", "sound", "weak"}),
    ],
)
def test_what_is_forbidden_is_never_chosen(shelf, who, left, k):
    """Not for its score, not as the first volume of a series that fits, not as an edition of a work that may come."""
    ids = shelf(Filter(not_attributes={"bad_for": who}), k)
    assert set(ids) <= left
    assert len(ids) == min(k, 4 if who == ("bob",) else 3)


def test_what_is_forbidden_is_what_fitted_best(shelf):
    """The test above is none if the forbidden ones would not have come anyway."""
    assert {"best", "both", "first"} <= set(shelf(Filter(), 20))
    assert "second" not in shelf(Filter(), 20)
