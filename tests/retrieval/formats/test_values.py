"""Titles as data sets write them: years, series, articles and other titles find their places, the rest stays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.formats.values import TitleParts, clean, parse_title

TITLES = [
    ("Heat (1995)", TitleParts("Heat", 1995)),
    ("Matrix, The (1999)", TitleParts("The Matrix", 1999)),
    ("Avventura, L' (1960)", TitleParts("L'Avventura", 1960)),
    ("Fullmetal Alchemist (2003–2004)", TitleParts("Fullmetal Alchemist", 2003)),
    ("Fargo (2014- )", TitleParts("Fargo", 2014)),
    ("1984", TitleParts("1984")),
    ("(1984)", TitleParts("(1984)")),
    ("2001: A Space Odyssey (1968)", TitleParts("2001: A Space Odyssey", 1968)),
    ("Dune (Dune, #1)", TitleParts("Dune", series="Dune", volume=1)),
    ("Dune (Dune Chronicles #1)", TitleParts("Dune", series="Dune Chronicles", volume=1)),
    ("Dune (Dune, #0.5) (1965)", TitleParts("Dune", 1965, "Dune", 0.5)),
    (
        "Angelology: A Novel (Angelology Series Book 1)",
        TitleParts("Angelology: A Novel", series="Angelology Series", volume=1),
    ),
    ("All Three (The Lot, #1-3)", TitleParts("All Three", series="The Lot")),
    ("Good Omens (Discworld, #9; Other, #2)", TitleParts("Good Omens", series="Discworld", volume=9)),
    ("三体（地球往事，#1）", TitleParts("三体", series="地球往事", volume=1)),
    ("Heat [DVD] (1995)", TitleParts("Heat", 1995)),
    ("Heat [Blu-ray + Digital]", TitleParts("Heat")),
    ("Tom &amp;amp; Jerry&#39;s", TitleParts("Tom & Jerry's")),
    ("Me, You, Them", TitleParts("Me, You, Them")),
    ("Brazil (Criterion)", TitleParts("Brazil (Criterion)")),
    ("Face/Off", TitleParts("Face/Off")),
    ("Volume #1", TitleParts("Volume #1")),
]


@pytest.mark.parametrize(("written", "name"), TITLES)
def test_titles(written, name):
    """Each part goes where it belongs; what is not recognised stays in the title."""
    assert parse_title(written) == name


BRACKETED = [
    ("City of Lost Children, The (Cité des enfants perdus, La) (1995)", "La Cité des enfants perdus"),
    ("Seven (a.k.a. Se7en) (1995)", "Se7en"),
    ("Chungking Express (Chung Hing sam lam) (1994)", "Chung Hing sam lam"),
]


@pytest.mark.parametrize(("written", "alias"), BRACKETED)
def test_brackets_can_hold_another_title(written, alias):
    """As in MovieLens, with its article in front."""
    assert parse_title(written, bracketed_alias=True).aliases == (alias,)


def test_slashes_can_divide_titles():
    """As in Douban; a slash without spaces is part of a title."""
    name = parse_title("变脸 / Face/Off / 夺面双雄", slashed_alias=True)
    assert (name.title, name.aliases) == ("变脸", ("Face/Off", "夺面双雄"))


@given(st.text(min_size=1), st.booleans(), st.booleans())
def test_no_title_is_lost(text, bracketed, slashed):
    """Whatever is written there, something is left, and it is clean."""
    if clean(text):
        name = parse_title(text, bracketed_alias=bracketed, slashed_alias=slashed)
        assert name.title
        assert all(name.aliases)


@given(st.from_regex(r"[A-Za-z]{2,12}( [A-Za-z]{2,12}){0,3}", fullmatch=True), st.integers(1900, 2030))
def test_a_year_is_found_behind_any_title(title, year):
    """And the title is as it was."""
    assert parse_title(f"{title} ({year})") == TitleParts(title, year)
