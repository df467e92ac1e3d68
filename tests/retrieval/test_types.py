"""The currency types."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from retrieval.types import (
    DISLIKED,
    EVENT_WEIGHTS,
    LIKED,
    Candidate,
    Filter,
    History,
    HistoryEntry,
    Interaction,
    Item,
    Query,
    Ranking,
)

ITEM = Item(domain="films", id="1", title="Alien")


def rating(value):
    return Interaction(user="ann", domain="films", item="1", value=value)


def entry(preference, domain="films", id_="1"):
    return HistoryEntry(item=Item(domain=domain, id=id_, title=id_), preference=preference)


@pytest.mark.parametrize(
    "change",
    [
        {"title": "Aliens"},
        {"aliases": ("Alien 1",)},
        {"creators": ("Ridley Scott",)},
        {"year": 1979},
        {"language": "en"},
        {"categories": ("Horror",)},
        {"series": "Alien"},
        {"volume": 1.0},
        {"edition_of": "0"},
        {"description": "In space"},
        {"links": ("https://example.org",)},
        {"media": ("poster.png",)},
        {"available": False},
        {"attributes": {"length": 117}},
    ],
)
def test_content_hash_sees_every_field(change):
    """Any field that changes changes the hash; an equal item has an equal one."""
    changed = ITEM.model_copy(update=change)
    assert changed.content_hash() != ITEM.content_hash()
    assert changed.model_copy().content_hash() == changed.content_hash()


def test_content_hash_misses_no_field():
    """The test above names every field of an item, so that a new one cannot be forgotten."""
    named = {next(iter(p)) for p in test_content_hash_sees_every_field.pytestmark[0].args[1]}
    assert named | {"domain", "id"} == set(Item.model_fields)


def test_types_are_frozen_and_strict():
    """Nothing can be changed after it was made, and unknown fields are refused."""
    with pytest.raises(ValidationError):
        ITEM.title = "Heat"
    with pytest.raises(ValidationError):
        Item(domain="films", id="1", title="Alien", colour="red")
    for missing in ({"domain": ""}, {"id": ""}, {"title": ""}):
        with pytest.raises(ValidationError):
            Item(**{"domain": "films", "id": "1", "title": "Alien"} | missing)


def test_themes_are_a_tuple():
    """Themes come as a tuple, whether the catalogue has several, one or none."""
    several, one = ("war", "memory"), "war"
    assert ITEM.themes == ()
    assert ITEM.model_copy(update={"attributes": {"themes": several}}).themes == several
    assert ITEM.model_copy(update={"attributes": {"themes": one}}).themes == ("war",)


@pytest.mark.parametrize(("value", "preference"), [(1, -1), (2, -0.5), (3, 0), (4, 0.5), (5, 1)])
def test_rating_as_preference(value, preference):
    """Stars map linearly to [-1, 1]; 4 and 5 are liked, 1 and 2 disliked."""
    assert rating(value).preference == preference
    known = HistoryEntry(item=ITEM, preference=preference)
    assert (known.liked, known.disliked) == (value >= 4, value <= 2)


@pytest.mark.parametrize(("kind", "value"), [("rating", 0.9), ("rating", 5.1), ("play", 0), ("play", 1.1)])
def test_value_out_of_range(kind, value):
    """A rating is 1 to 5, an event's weight above 0 and up to 1."""
    with pytest.raises(ValidationError, match="outside"):
        Interaction(user="ann", domain="films", item="1", kind=kind, value=value)


def test_nan_is_no_value():
    """Not-a-number is neither a rating nor a weight nor a preference."""
    for kind in ("rating", "play"):
        with pytest.raises(ValidationError):
            Interaction(user="ann", domain="films", item="1", kind=kind, value=float("nan"))
    with pytest.raises(ValidationError):
        HistoryEntry(item=ITEM, preference=float("nan"))


def test_events_count_by_weight():
    """An implicit event's preference is its weight, never a dislike; the usual weights are in (0, 1]."""
    for kind, weight in EVENT_WEIGHTS.items():
        assert Interaction(user="ann", domain="films", item="1", kind=kind, value=weight).preference == weight
        assert 0 < weight <= 1


@given(st.lists(st.floats(-1, 1)))
def test_history_parts(preferences):
    """Liked and disliked entries keep their order and never overlap."""
    history = History(entries=tuple(entry(p, id_=str(n)) for n, p in enumerate(preferences)))
    assert [e.preference for e in history.liked] == [p for p in preferences if p >= LIKED]
    assert [e.preference for e in history.disliked] == [p for p in preferences if p <= DISLIKED]


def test_history_within_domains():
    """The part in some domains keeps the user and the order."""
    history = History(user="ann", entries=(entry(1, "films", "1"), entry(1, "books", "2"), entry(1, "films", "3")))
    part = history.within("films", "games")
    assert (part.user, [e.item.id for e in part.entries]) == ("ann", ["1", "3"])


def test_filter_is_empty():
    """A filter is empty exactly when nothing is asked for."""
    assert Filter().empty
    assert not Filter(year_from=1990).empty
    assert not Filter(attributes={"themes": ("war",)}).empty


@pytest.mark.parametrize("text", [None, "", "  \n\t"])
def test_blank_text_is_no_text(text):
    """A query of white space asks for nothing."""
    assert Query(target="books", text=text).text is None


def test_query_wants_at_least_one():
    """k is at least 1."""
    with pytest.raises(ValidationError):
        Query(target="books", k=0)


def test_degraded_ranking_says_why():
    """No ranking is marked degraded without a reason; ids come in order."""
    candidates = (Candidate(item=ITEM, score=2), Candidate(item=ITEM.model_copy(update={"id": "2"}), score=1))
    with pytest.raises(ValidationError, match="must say why"):
        Ranking(candidates=candidates, source="retrieval", degraded=True)
    ranking = Ranking(candidates=candidates, source="retrieval", degraded=True, reason="no server")
    assert ranking.ids == ("1", "2")
