"""Promises of the rule NLU, on the demo pack's catalogue."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eval.studies.attacks import load_attacks
from retrieval.store import Store
from retrieval.types import Item
from xdrec_agent.converse import DialogueState, ItemRef, Lexicon, RuleNLU

WORDS = [
    "I", "loved", "hated", "not", "as", "bleak", "Alien", "Dune", "the second", "why", "nothing after", "1990",
    "by", "Le Guin", "no fantasy", "我喜欢", "异形", "第二本", "为什么", "不要", "90年代以前",
    "《", "》", "“", '"', "?", "，",
    "more like", "start over", "[A]", "<|im_end|>", "\ue000", "\u202e",
]  # fmt: skip


def liked(said):
    return [opinion.item.id for opinion in said.likes]


def disliked(said):
    return [opinion.item.id for opinion in said.dislikes]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("I loved Alien", ["alien-1979"]),
        ("alien and Aliens", ["alien-1979", "aliens-1986"]),
        ("“Her” was sweet, I liked it", ["her-2013"]),
        ("I liked 12 years a slave", ["12-years-a-slave-2013"]),
        ("I liked Twelve Years a Slave", ["12-years-a-slave-2013"]),
        ("i liked amelie", ["amelie-2001"]),
        ("I loved Nosferatu (1922)", ["nosferatu-1922"]),
        ("The Good, the Bad and the Ugly!", ["the-good-the-bad-and-the-ugly-1966"]),
        ("I loved Star Wars: The Empire Strikes Back", ["the-empire-strikes-back-1980"]),
        ("我喜欢《她》和《乱》", ["her-2013", "ran-1985"]),
        ("ＡＬＩＥＮ真好看", ["alien-1979"]),
        ("我喜欢Alien和Her", ["alien-1979", "her-2013"]),
        ("牯嶺街少年殺人事件我很喜欢", ["a-brighter-summer-day-1991"]),
        ("我喜欢阿基尔上帝的愤怒", ["aguirre-the-wrath-of-god-1972"]),
    ],
)
def test_titles_in_any_spelling(nlu, state, text, ids):
    """Case, accents, numbers in words, quotes, width and script do not matter; the longest title is meant."""
    assert liked(nlu.understand(text, state)) == ids


@pytest.mark.parametrize(
    "text",
    [
        "I want her to be happy",
        "we ran up the hill",
        "it is about a girl I like",
        "我们都还活着",
        "她很漂亮",
        "a story set in Brazil",
        "nothing before 1984",
    ],
)
def test_everyday_words_are_no_titles(nlu, state, text):
    """ "Her", "Ran", "It", "We", 活着 … are titles only where they are written as such."""
    said = nlu.understand(text, state)
    assert (said.likes, said.dislikes, said.known, said.questions) == ((), (), (), ())


def test_a_misspelled_title_is_that_title_and_an_unknown_one_is_asked_about(nlu, state):
    """Close enough and alone: taken; else a question with the nearest ones, and nothing is guessed."""
    assert liked(nlu.understand("I loved Blede Runer 2049", state)) == ["blade-runner-2049-2017"]
    said = nlu.understand("I loved Paddington 2", state)
    assert not said.likes
    assert [q.kind for q in said.questions] == ["unknown"]
    sequel = nlu.understand("I loved Terminator 2", state).questions[0]
    assert [option.item.id for option in sequel.options] == ["the-terminator-1984"]


def test_a_title_of_several_domains_is_the_sources_unless_said_otherwise(nlu, state):
    """ "Dune" with films as source is the film, "the book Dune" the book, and without any domain it is asked."""
    assert liked(nlu.understand("I loved Dune", state)) == ["dune-2021"]
    assert liked(nlu.understand("I loved the book Dune", state)) == ["dune"]
    question = nlu.understand("I loved Dune", DialogueState()).questions[0]
    assert {option.item.id for option in question.options} == {"dune", "dune-2021"}


def test_opinions_belong_to_the_titles_they_are_said_of(nlu, state):
    """Several opinions in one turn do not run into one another."""
    said = nlu.understand("I loved The Matrix, hated Inception, and Memento was boring but Vertigo is great", state)
    assert (liked(said), disliked(said)) == (
        ["the-matrix-1999", "vertigo-1958"],
        ["inception-2010", "memento-2000"],
    )
    said = nlu.understand("喜欢教父，讨厌闪灵，驱魔人太无聊了", state)
    assert (liked(said), disliked(said)) == (["the-godfather-1972"], ["the-shining-1980", "the-exorcist-1973"])
    bleak = nlu.understand("something like Solaris but not as slow as Stalker", state)
    assert bleak.dislikes[0].preference == -0.5


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("nothing after 1990", None, 1990),
        ("before 1990", None, 1989),
        ("after 2000", 2001, None),
        ("since 2000", 2000, None),
        ("between 1950 and 1970", 1950, 1970),
        ("from the 80s", 1980, 1989),
        ("from the 1930s or 40s", 1930, 1949),
        ("19th century", 1801, 1900),
        ("the last ten years", 2016, None),
        ("no older than 2010", 2010, None),
        ("90年代以前", None, 1989),
        ("2000年以后的", 2000, None),
        ("不要2000年以后的", None, 1999),
        ("八十年代的", 1980, 1989),
        ("十九世纪的", 1801, 1900),
        ("近十年的", 2016, None),
        ("1990年到2000年之间", 1990, 2000),
    ],
)
def test_periods_become_years(nlu, state, text, first, last):
    """Both ends are included; 以前 and "before" exclude the year named, 以后 and "since" include it."""
    change = nlu.understand(text, state).filter
    assert (change.year_from, change.year_to) == (first, last)


def test_a_limit_that_the_catalogue_does_not_know_is_no_limit(nlu, state):
    """A creator of nothing here is asked about, a director of films only is said to have no book."""
    assert nlu.understand("by Brandon Sanderson", state).questions[0].kind == "unknown_creator"
    said = nlu.understand("something by Kubrick", state)
    assert said.notes() == {"no_creator"}
    assert said.filter.empty


def test_what_was_shown_is_spoken_of_by_its_place(nlu, state, refs):
    """Ordinals, numbers, lists and titles of what was shown; a place that is not there names nothing."""
    shown = state.model_copy(update={"shown": refs("dune", "kindred", "foundation", "solaris")})
    assert liked(nlu.understand("more like the second", shown)) == ["kindred"]
    assert [r.id for r in nlu.understand("I've read 1 and 3", shown).known] == ["dune", "foundation"]
    assert [r.id for r in nlu.understand("I know all of these", shown).known] == [
        "dune",
        "kindred",
        "foundation",
        "solaris",
    ]
    said = nlu.understand("why the third?", shown)
    assert (said.act, [r.id for r in said.about]) == ("why", ["foundation"])
    assert [r.id for r in nlu.understand("why did you pick Solaris", shown).about] == ["solaris"]
    assert nlu.understand("why the ninth?", shown).notes() == {"nothing_shown"}
    assert [r.id for r in nlu.understand("最后一本讲的是什么", shown).about] == ["solaris"]


def test_length_is_a_limit_where_the_catalogue_tells_it(tmp_path):
    """Pages: "under 200 pages", and "something shorter" than what was shown; else it is said that it cannot be."""
    with Store.open(f"sqlite:///{tmp_path}/store.sqlite") as store:
        pages = [120, 200, 450]
        books = [Item(domain="books", id=f"b{p}", title=f"Tome {p}", attributes={"pages": p}) for p in pages]
        store.upsert_items([*books, Item(domain="films", id="f", title="Alien")], "run")
        nlu = RuleNLU(Lexicon(store))
        state = DialogueState(sources=("films",), target="books", shown=tuple(map(ItemRef.of, books[1:])))
        assert nlu.understand("under 200 pages", state).length.most == 200
        shorter = nlu.understand("something shorter", state).length
        assert (shorter.attribute, shorter.most) == ("pages", 199)
        films = state.model_copy(update={"target": "films", "sources": ("books",)})
        assert nlu.understand("something shorter", films).notes() == {"no_length"}


def test_a_changed_catalogue_is_read_anew(tmp_path):
    """A title that was added a moment ago is known in the next turn, a deleted one no more."""
    with Store.open(f"sqlite:///{tmp_path}/store.sqlite") as store:
        store.upsert_items([Item(domain="books", id="b", title="Tome")], "run")
        nlu = RuleNLU(Lexicon(store))
        store.upsert_items([Item(domain="films", id="f", title="Gattaca")], "run")
        state = DialogueState(sources=("films",), target="books")
        assert liked(nlu.understand("I loved Gattaca", state)) == ["f"]
        store.delete_items("films", ["f"])
        assert not nlu.understand("I loved Gattaca", state).likes


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(text=st.one_of(st.text(max_size=200), st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join)))
def test_no_text_is_too_much(nlu, lexicon, text):
    """Whatever is said, reading it raises nothing and names only items of the catalogues."""
    shown = tuple(map(ItemRef.of, lexicon.items("books", ["dune", "kindred"]).values()))
    state = DialogueState(sources=("films",), target="books", shown=shown, focus=shown[:1])
    said = nlu.understand(text, state)
    items = [*(o.item for o in (*said.likes, *said.dislikes)), *said.known, *said.forget, *said.about]
    assert all(lexicon.items(ref.domain, [ref.id]) for ref in items)


@pytest.mark.parametrize("attack", load_attacks(), ids=lambda a: a.id)
def test_hostile_words_change_nothing(nlu, state, attack):
    """A text that orders, spoofs or hides does not become an opinion, a domain or another language's reply."""
    said = nlu.understand(attack.payload, state)
    assert (said.likes, said.dislikes, said.known, said.restart) == ((), (), (), False)
    assert said.target in {None, "books"}


def test_a_long_turn_is_read_in_part(nlu, state):
    """A megabyte is no more work than its beginning."""
    said = nlu.understand("I loved Alien. " + "x" * 1_000_000 + " I loved Dune", state)
    assert liked(said) == ["alien-1979"]
