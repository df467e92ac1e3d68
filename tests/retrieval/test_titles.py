"""Titles: keys that do not depend on spelling habits, and titles that name one item or none."""

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from retrieval.errors import AmbiguousTitle, UnknownTitle
from retrieval.store import Store
from retrieval.titles import label, normalise, resolve_title, split_year
from retrieval.types import Item

SAME = [
    ("The Godfather", "Godfather, The"),
    ("The Godfather", "godfather, the (1972)"),
    ("The Godfather", "  THE   GODFATHER "),
    ("Amélie", "Amelie"),
    ("Amélie", "Ame\u0301lie"),
    ("Les Misérables", "les miserables"),
    ("Æon Flux", "Aeon Flux"),
    ("Straße", "STRASSE"),
    ("Schindler's List", "Schindler’s List"),
    ("Schindler's List", "Schindlers List"),
    ("Fast & Furious", "Fast and Furious"),
    ("E.T. the Extra-Terrestrial", "ET: The Extra Terrestrial"),
    ("Blade Runner", "Blade-Runner"),
    ("三体（2008）", "三体 (2008)"),
    ("ＡＫＩＲＡ", "Akira"),
]
DIFFERENT = [
    ("й", "и"),  # another letter, not an accent
    ("が", "か"),
    ("हिन्दी", "हनद"),
    ("三体", "三体 2"),
    ("Alien", "Aliens"),
    ("Rocky II", "Rocky III"),
    ("It", "It Follows"),
    ("A.I.", "I"),
    ("Over the", "Over"),
]
KEPT = [("It", "it"), ("The", "the"), ("A", "a"), ("M", "m"), ("1984", "1984"), ("1984 (1984)", "1984")]
KEPT += [
    ("(1999)", "1999"),
    ("!!!", "!!!"),
    ("The The", "the"),
    ("三体", "三体"),
    ("2001: A Space Odyssey", "2001 a space odyssey"),
]

titles = st.text(st.characters(codec="utf-8"), max_size=30) | st.lists(
    st.sampled_from(["the", "A", "an", ",", "(1999)", "[2001]", " ", ".", "&", "é", "三", "!", "x", "ø\u0301"]),
    max_size=8,
).map("".join)


@pytest.mark.parametrize(("one", "other"), SAME)
def test_spelling_habits_do_not_count(one, other):
    """Case, accents, punctuation, articles, width and a trailing year do not make another title."""
    assert normalise(one) == normalise(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_other_titles_stay_apart(one, other):
    """What makes another title, or another word in another script, makes another key."""
    assert normalise(one) != normalise(other)


@pytest.mark.parametrize(("title", "key"), KEPT)
def test_short_titles_keep_what_they_have(title, key):
    """A title made of an article, number or punctuation alone is not normalised away."""
    assert normalise(title) == key


@given(titles)
@example("The A. The (1999), the")
@example("ǽ")
def test_key_of_a_key_is_the_key(title):
    """Normalising is idempotent."""
    assert normalise(normalise(title)) == normalise(title)


@given(titles)
@example("\u200b")
@example("(1999)")
def test_no_title_becomes_empty(title):
    """Only blank text has the empty key."""
    assert bool(normalise(title)) == bool(title.strip())


@given(titles, st.integers(1000, 2999))
def test_year_is_split_off(title, year):
    """A trailing year in brackets is split off, and the rest is the title."""
    assume(title.strip())
    assert split_year(f"{title} ({year})") == (title.strip(), year)


def film(id_, title, year=None, **more):
    return Item(domain="films", id=id_, title=title, year=year, **more)


FILMS = [
    film("it", "It", 2017),
    film("alien", "Alien", 1979),
    film("blade", "Blade Runner", 1982),
    film("blade2", "Blade Runner 2049", 2017),
    film("heat95", "Heat", 1995),
    film("heat86", "Heat", 1986),
    film("ran", "Ran (1985)"),
    film("rocky3", "Rocky III", 1982),
    film("toy3", "Toy Story 3", 2010),
    film("three", "三体", 2023),
    film("dune", "Dune (Dune Chronicles #1)", 2021, aliases=("沙丘",)),
    film("hamlet", "Hamlet", 1948),
    film("hamlet-dvd", "Hamlet", 1948, edition_of="hamlet"),
    film("kill1", "Kill Bill: The Bride One", 2003),
    film("kill2", "Kill Bill: The Bride Two", 2004),
    film("cs", "C# in Depth"),
    film("cpp", "C++ in Depth"),
]
BOOKS = [
    Item(domain="books", id="it", title="It", year=1986),
    Item(domain="books", id="emma", title="Emma"),
    Item(domain="books", id="bladed", title="Blade Runners"),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with Store.open(f"sqlite:///{tmp_path_factory.mktemp('store')}/store.sqlite") as store:
        store.upsert_items([*FILMS, *BOOKS], "run")
        yield store


FOUND = [
    ("it", "it"),
    ("ALIEN", "alien"),
    ("Alien (1979)", "alien"),
    ("Blade Runner", "blade"),
    ("Bladerunner", "blade"),
    ("Blade Runer", "blade"),
    ("Runner Blade", "blade"),
    ("Blade Runer 2049", "blade2"),
    ("Heat (1995)", "heat95"),
    ("Heat [1986]", "heat86"),
    ("Ran", "ran"),
    ("Ran (1985)", "ran"),
    ("三体", "three"),
    ("沙丘", "dune"),
    ("Dune", "dune"),
    ("Hamlet", "hamlet"),
    ("C# in Depth", "cs"),
    ("c++ IN depth", "cpp"),
]


@pytest.mark.parametrize(("title", "item"), FOUND)
def test_title_names_its_item(store, title, item):
    """An exact, an alias and a slightly misspelled title name the item; year, spelling and edition tell items apart."""
    assert resolve_title(store, ["films"], title).id == item


def test_year_can_be_given_apart(store):
    """The year argument does what a trailing year does."""
    assert resolve_title(store, ["films"], "Heat", year=1986).id == "heat86"


@pytest.mark.parametrize(
    "title", ["Aliens", "Rocky II", "Toy Story 4", "Blade Runner 2", "Alien (1986)", "i", "Hit", "!!!"]
)
def test_another_title_is_not_taken_for_one(store, title):
    """A sequel, a plural, another year or a short likeness is never resolved to what the catalogue happens to have."""
    with pytest.raises(UnknownTitle) as caught:
        resolve_title(store, ["films"], title)
    assert caught.value.hint


def test_short_title_does_not_match_everything(store):
    """ "It" is the film of that name, although many titles contain the letters."""
    assert resolve_title(store, ["films"], "It").id == "it"
    store_without = [i.title for i in FILMS if "it" in i.title.lower() and i.id != "it"]
    assert all(resolve_title(store, ["films"], title).id != "it" for title in store_without)


def test_unknown_title_proposes_the_nearest(store):
    """The nearest titles are given with their year, best first, at most five."""
    with pytest.raises(UnknownTitle) as caught:
        resolve_title(store, ["films"], "Blade Runner the sequel")
    assert caught.value.nearest[0] == "Blade Runner (1982)"
    assert "Blade Runner 2049 (2017)" in caught.value.nearest
    assert len(caught.value.nearest) <= 5


def test_equal_titles_are_ambiguous(store):
    """Two items of one title are both shown, and the hint says how to tell them apart."""
    with pytest.raises(AmbiguousTitle) as caught:
        resolve_title(store, ["films"], "Heat")
    assert set(caught.value.nearest) == {"Heat (1995)", "Heat (1986)"}
    assert "year" in caught.value.hint


def test_equally_close_titles_are_ambiguous(store):
    """A misspelling that is about as close to two items is not decided by chance."""
    with pytest.raises(AmbiguousTitle) as caught:
        resolve_title(store, ["films"], "Kill Bill: The Brid Oe")
    assert len(caught.value.nearest) == 2


def test_alike_labels_show_what_differs(tmp_path):
    """Items whose title and year are the same are told apart by creator and id."""
    twins = [film("a", "Emma", 1996, creators=("McGrath",)), film("b", "Emma", 1996, creators=("Lawrence",))]
    with Store.open(f"sqlite:///{tmp_path}/s.sqlite") as store:
        store.upsert_items(twins, "run")
        with pytest.raises(AmbiguousTitle) as caught:
            resolve_title(store, ["films"], "Emma")
    assert caught.value.nearest == ("Emma (1996), McGrath, id a", "Emma (1996), Lawrence, id b")


def test_exact_title_in_one_domain_wins(store):
    """Over several domains, an exact title beats a similar one elsewhere."""
    assert resolve_title(store, ("films", "books"), "Emma").domain == "books"
    assert resolve_title(store, ("books", "films"), "Blade Runner").domain == "films"


def test_same_title_in_two_domains_is_ambiguous(store):
    """A title of two domains is ambiguous, each shown with its domain, until the year decides."""
    with pytest.raises(AmbiguousTitle) as caught:
        resolve_title(store, ("films", "books"), "It")
    assert set(caught.value.nearest) == {"It (2017), films", "It (1986), books"}
    assert resolve_title(store, ("films", "books"), "It (1986)").domain == "books"


def test_empty_domain_points_to_ingest(store):
    """In a domain without items the hint names the command that brings some."""
    with pytest.raises(UnknownTitle) as caught:
        resolve_title(store, ["games"], "Portal")
    assert (caught.value.nearest, "xdrec ingest" in caught.value.hint) == ((), True)


def test_label_shows_the_year_once():
    """A year that the title already carries is not repeated."""
    assert [label(i) for i in FILMS[:1] + FILMS[6:7]] == ["It (2017)", "Ran (1985)"]
