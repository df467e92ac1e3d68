"""Promises of the state: what a turn changes, and the query that it comes to."""

from __future__ import annotations

from retrieval.types import Filter, History, HistoryEntry, Item
from xdrec_agent.converse import DialogueState, ItemRef, Lexicon, Opinion, Understanding, update_state
from xdrec_agent.converse.state import MOST_ITEMS, MOST_WISH, Length
from xdrec_agent.converse.state_update import query_of
from xdrec_agent.converse.understanding import FilterChange

DOMAINS = ("films", "books")
ALIEN = ItemRef(domain="films", id="alien-1979", title="Alien")
DUNE = ItemRef(domain="books", id="dune", title="Dune")
BASE = DialogueState(sources=("films",), target="books")


def after(*turns, state=BASE):
    for said in turns:
        state = update_state(state, said, DOMAINS).state
    return state


def like(ref, preference=1.0):
    opinion = Opinion(item=ref, preference=preference)
    return Understanding(likes=(opinion,)) if preference > 0 else Understanding(dislikes=(opinion,))


def test_the_last_word_on_an_item_counts():
    """Likes, dislikes and rejections exclude one another; forgetting takes all of them away."""
    state = after(like(ALIEN), like(ALIEN, -1.0))
    assert (state.likes, [o.item for o in state.dislikes]) == ((), [ALIEN])
    state = after(like(ALIEN), state=state)
    assert ([o.item for o in state.likes], state.dislikes) == ([ALIEN], ())
    state = after(Understanding(known=(DUNE,)), like(DUNE), state=state)
    assert state.rejected == ()
    assert after(Understanding(forget=(ALIEN, DUNE)), state=state).likes == ()


def test_a_limit_replaces_or_adds_and_contradictions_give_way_to_the_newer():
    """Categories replace unless added; what is wanted is no longer refused; an impossible period loses its old end."""
    refused = Understanding(filter=FilterChange(not_categories=("horror",), add=frozenset({"not_categories"})))
    more = Understanding(filter=FilterChange(not_categories=("war",), add=frozenset({"not_categories"})))
    assert after(refused, more).filter.not_categories == ("horror", "war")
    wanted = Understanding(filter=FilterChange(categories=("horror",)))
    assert after(refused, wanted).filter == Filter(categories=("horror",))
    assert after(wanted, refused).filter == Filter(not_categories=("horror",))
    old, new = (Understanding(filter=FilterChange(**years)) for years in ({"year_to": 1950}, {"year_from": 2000}))
    assert after(old, new).filter == Filter(year_from=2000)
    cleared = Understanding(filter=FilterChange(clear=frozenset({"year_from", "year_to"})))
    assert after(old, cleared).filter.empty


def test_another_target_takes_the_place_of_the_old_one():
    """films → books and then films is books → films; what was shown is no longer spoken of."""
    state = after(Understanding(target="films"), state=BASE.model_copy(update={"shown": (DUNE,)}))
    assert (state.sources, state.target, state.shown) == (("books",), "films", ())


def test_of_two_domains_one_implies_the_other():
    """Who likes a film and has named no domain wants books; with nothing to go by one is asked."""
    state = after(like(ALIEN), state=DialogueState())
    assert (state.sources, state.target) == (("films",), "books")
    decision = update_state(DialogueState(), Understanding(), DOMAINS)
    assert (decision.act, decision.state.question.kind) == ("ask", "target")
    assert update_state(BASE, Understanding(), DOMAINS).state.question.kind == "likes"


def test_starting_over_keeps_directions_and_language_alone():
    """Likes, limits and wishes go."""
    state = after(like(ALIEN), Understanding(wish="quiet", k=3, language="zh"))
    fresh = after(Understanding(restart=True), state=state)
    assert fresh.model_copy(update={"question": None}) == BASE.model_copy(update={"language": "zh"})


def test_the_state_is_bounded():
    """However long the dialogue, items and words do not grow without end; the latest stay."""
    refs = [ItemRef(domain="films", id=str(n), title="x") for n in range(MOST_ITEMS + 50)]
    state = after(*map(like, refs), *(Understanding(wish=f"wish number {n}") for n in range(100)))
    assert (len(state.likes), state.likes[-1].item.id) == (MOST_ITEMS, str(MOST_ITEMS + 49))
    assert len(state.wish) <= MOST_WISH
    assert state.wish.endswith("number 99")


def test_the_query_holds_limits_as_filters_and_never_returns_what_was_rejected(lexicon):
    """Rejected and rated items of the target are known to the retriever; liked ones of it join the text."""
    state = after(
        like(ALIEN), like(DUNE), Understanding(known=(ItemRef(domain="books", id="kindred", title="Kindred"),), k=7)
    )
    state = after(Understanding(wish="quiet", filter=FilterChange(year_to=1990)), state=state)
    known = lexicon.items("films", ["solaris-1972"])["solaris-1972"]
    query = query_of(state, lexicon, "ada", History(entries=(HistoryEntry(item=known, preference=0.5),)))
    assert {(e.item.id, e.preference) for e in query.history.entries} == {
        ("solaris-1972", 0.5), ("alien-1979", 1.0), ("dune", 1.0), ("kindred", 0.0)
    }  # fmt: skip
    assert query.text.startswith("quiet Dune: science fiction")
    assert (query.filter, query.k, query.target, query.history.user) == (Filter(year_to=1990), 7, "books", "ada")


def test_a_limit_on_length_is_a_filter_too(tmp_path):
    """The values of the catalogue that keep to it; none keeps to it: nothing passes."""
    from retrieval.store import Store

    with Store.open(f"sqlite:///{tmp_path}/store.sqlite") as store:
        items = [Item(domain="books", id=f"b{p}", title=f"Tome {p}", attributes={"pages": p}) for p in (120, 200, 450)]
        store.upsert_items(items, "run")
        state = BASE.model_copy(update={"length": Length(attribute="pages", most=200)})
        pages = query_of(state, Lexicon(store)).filter.attributes["pages"]
        assert {"120", "200"} <= set(pages)
        assert "450" not in pages
        none = state.model_copy(update={"length": Length(attribute="pages", most=10)})
        assert query_of(none, Lexicon(store)).filter.attributes["pages"] == ("",)
