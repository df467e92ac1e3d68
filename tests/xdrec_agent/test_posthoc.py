"""Promises of explanations after the fact: each is computed, and says in its language what was computed."""

from __future__ import annotations

import re

import pytest
from word_encoder import WordEncoder

from retrieval.errors import UnknownTitle, UsageError
from retrieval.index import Index
from retrieval.ranking import Retriever
from retrieval.settings import ExclusionSettings, IndexSettings, RetrieverSettings
from retrieval.store import Store
from retrieval.templates import languages, load_template
from retrieval.types import Entity, Filter, History, HistoryEntry, Item, Match, Path, Query, Relation
from xdrec_agent.posthoc import contrastive, counterfactual, load_posthoc_locale, markdown, why, why_not
from xdrec_agent.recommend import LoggedAnswer
from xdrec_agent.types import Explanation, Recommendation, Recommendations

EN, ZH = load_posthoc_locale("en"), load_posthoc_locale("zh")
WORDS = ("space", "love", "crime", "war", "sea")


def film(id_, *themes, **more):
    return Item(domain="films", id=id_, title=id_.title(), attributes={"themes": themes}, **more)


def book(id_, *themes, **more):
    attributes = {"themes": themes, **more.pop("attributes", {})}
    return Item(domain="books", id=id_, title=more.pop("title", id_.title()), attributes=attributes, **more)


FILMS = [film(f"{word} film", word) for word in WORDS]
BOOKS = [
    *(book(f"{word} book {n}", word, year=1990 + n, categories=("novel",)) for word in WORDS for n in range(4)),
    book("space paperback", "space", edition_of="space book 0"),
    book("gone", "space", available=False),
    book("cycle 1", "crime", series="Cycle", volume=1),
    book("cycle 2", "crime", series="Cycle", volume=2),
    book("essay", "war", categories=("essay",), attributes={"bars": ("space film",)}),
]


@pytest.fixture(scope="module")
def retriever(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    with Store.open(f"sqlite:///{folder}/store.sqlite") as store:
        store.upsert_items([*FILMS, *BOOKS], "run")
        with Index(folder / "index", WordEncoder(), load_template("item"), IndexSettings()) as index:
            for domain in ("films", "books"):
                index.build(store, domain)
            store.upsert_items([book("newcomer", "space")], "later")
            yield Retriever(store, index, RetrieverSettings())


def kept(retriever, *liked, disliked=(), known=(), k=3, reranked=False, **query):
    """An answer of the retriever's, as it would have been kept."""
    entries = [
        HistoryEntry(item=item, preference=preference)
        for items, preference in ((liked, 1.0), (disliked, -1.0), (known, 1.0))
        for item in items
    ]
    asked = Query(history=History(user="ada", entries=tuple(entries)), target="books", k=k, **query)
    found = list(enumerate(retriever.rank(asked.model_copy(update={"k": 2 * k})).candidates, 1))
    shown = found[k:] if reranked else found[:k]
    items = tuple(
        Recommendation(rank=n, item=c.item, score=c.score, retrieval_rank=was, matches=c.matches)
        for n, (was, c) in enumerate(shown, 1)
    )
    answer = Recommendations(
        user="ada", sources=("films",), target="books", items=items, source="hybrid" if reranked else "retrieval"
    )
    return LoggedAnswer(id="a1", user="ada", created_at=0, arm="", query=asked, answer=answer)


def ids(answer):
    return [one.item.id for one in answer.answer.items]


def test_why_not_says_what_rules_an_item_out(retriever):
    """Each verdict comes with what it rests on, and its sentence names both."""
    by_title = {item.id: item for item in BOOKS}
    answer = kept(retriever, FILMS[0], FILMS[2], known=[by_title["space book 0"]], filter=Filter(categories=("novel",)))
    verdicts = {
        title: why_not(retriever, answer, title, EN)
        for title in ("Space Book 0", "space paperback", "Gone", "Newcomer", "Essay", ids(answer)[0])
    }
    assert [found.verdict for found in verdicts.values()] == [
        "known",
        "same_work",
        "withdrawn",
        "not_indexed",
        "filtered",
        "listed",
    ]
    assert verdicts["space paperback"].other.id == "space book 0"
    assert "“Space Book 0”" in verdicts["space paperback"].text
    assert [(c.field, c.values) for c in verdicts["Essay"].conditions] == [("categories", ("novel",))]
    assert "only novel" in verdicts["Essay"].text
    assert verdicts[ids(answer)[0]].rank == 1


def test_why_not_tells_every_condition_that_is_not_met(retriever):
    """Years, categories and attributes each by itself, as the retriever tests them."""
    wanted = Filter(year_from=1993, not_categories=("novel",), attributes={"themes": ("crime",)})
    answer = kept(retriever, FILMS[0], filter=wanted)
    found = why_not(retriever, answer, "Space Book 1", EN)
    assert [(c.field, c.name) for c in found.conditions] == [
        ("year_from", ""),
        ("not_categories", ""),
        ("attributes", "themes"),
    ]
    assert "1993" in found.text


def test_why_not_knows_what_a_person_is_excluded_from(retriever):
    """A rule is told apart from what was asked for."""
    rule = ExclusionSettings(target="books", source="films", attribute="bars")
    found = why_not(retriever, kept(retriever, FILMS[0]), "Essay", EN, [rule])
    assert (found.verdict, found.conditions[0].field) == ("excluded", "not_attributes")


def test_why_not_of_series_and_editions(retriever):
    """A later volume waits for the first unread one; an edition is stood for by the one in the list."""
    answer = kept(retriever, FILMS[0], k=1)
    assert (why_not(retriever, answer, "Cycle 2", EN).other.id) == "cycle 1"
    known = kept(retriever, FILMS[0], known=[next(item for item in BOOKS if item.id == "cycle 1")])
    assert why_not(retriever, known, "Cycle 2", EN).verdict == "ranked"
    listed = kept(retriever, FILMS[0], k=6)
    shown = next(id_ for id_ in ids(listed) if id_ in {"space book 0", "space paperback"})
    other = "space paperback" if shown == "space book 0" else "space book 0"
    found = why_not(retriever, listed, other, EN)
    assert (found.verdict, found.other.id) == ("other_edition", shown)


def test_a_low_rank_is_the_retrievers_own_and_its_lifts_hold(retriever):
    """Rank and number are those of a list without end, and going by what is said to lift puts it at the rank told."""
    answer = kept(retriever, FILMS[0], FILMS[1], disliked=[FILMS[3]], k=2)
    whole = [c.item.id for c in retriever.rank(answer.query.model_copy(update={"k": 100})).candidates]
    found = why_not(retriever, answer, "War Book 1", EN)
    assert (found.verdict, found.rank, found.total) == ("ranked", whole.index("war book 1") + 1, len(whole))
    assert f"place {found.rank} of {found.total}" in found.text
    assert {lift.kind for lift in found.lifts} >= {"trait"}
    assert [lift.rank for lift in found.lifts] == sorted(lift.rank for lift in found.lifts)
    trait = next(lift for lift in found.lifts if lift.kind == "trait")
    again = retriever.rank(answer.query.model_copy(update={"text": trait.trait, "k": 100})).candidates
    assert [c.item.id for c in again].index("war book 1") + 1 == trait.rank
    assert f"If {trait.trait} were asked for as well, it would be at place {trait.rank}." in found.text
    by_item = why_not(retriever, answer, "Love Book 1", EN)
    alone = [lift for lift in by_item.lifts if lift.kind == "item"]
    assert all(lift.item.id == "love film" for lift in alone)


def test_a_title_that_the_model_put_down_is_told_so(retriever):
    """Where the retriever had it within the list, the order's source is named."""
    answer = kept(retriever, FILMS[0], k=2, reranked=True)
    first = retriever.rank(answer.query).candidates[0].item
    found = why_not(retriever, answer, first.title, EN)
    assert (found.verdict, found.rank) == ("reranked", 1)
    assert "hybrid" in found.text


def test_an_unknown_title_is_an_error(retriever):
    """It names what comes close."""
    with pytest.raises(UnknownTitle) as caught:
        why_not(retriever, kept(retriever, FILMS[0]), "Spice Book", EN)
    assert caught.value.nearest


def test_counterfactual_is_what_the_retriever_says_without_the_item(retriever):
    """Items that leave, enter and move are the differences of two lists that can be asked for."""
    answer = kept(retriever, FILMS[0], FILMS[1], k=4)
    told = counterfactual(retriever, answer, "Love Film", EN)
    less = answer.query.model_copy(update={"history": History(user="ada", entries=answer.query.history.entries[:1])})
    after = [c.item.id for c in retriever.rank(less).candidates]
    assert {m.item.id for m in told.leaves} == set(ids(answer)) - set(after)
    assert {m.item.id for m in told.enters} == set(after) - set(ids(answer))
    for moved in told.moves:
        assert (moved.before, moved.after) == (ids(answer).index(moved.item.id) + 1, after.index(moved.item.id) + 1)
    assert told.changed
    assert 0 < told.share < 1
    for moved in (*told.leaves, *told.enters):
        assert f"“{moved.item.title}”" in told.text


def test_counterfactual_nothing_changes(retriever):
    """What says nothing for the list can be left out without effect; by id as well as by title."""
    answer = kept(retriever, FILMS[0], disliked=[FILMS[4]], k=2)
    told = counterfactual(retriever, answer, "sea film", EN)
    assert (told.changed, told.share) == ((), 0.0)
    assert "same order" in told.text
    assert "顺序也一样" in counterfactual(retriever, answer, "sea film", ZH).text


def test_counterfactual_needs_something_to_go_by(retriever):
    """The only liked item cannot be left out, and what is not in the history neither."""
    answer = kept(retriever, FILMS[0])
    with pytest.raises(UsageError, match="all there is"):
        counterfactual(retriever, answer, "Space Film", EN)
    with pytest.raises(UnknownTitle) as caught:
        counterfactual(retriever, answer, "Casablanca", EN)
    assert caught.value.nearest == ("Space Film",)


def path_to(end):
    """A path from the space film to an item."""
    start = Entity(domain="films", id="space film", name="Space Film")
    found = Entity(domain=end.domain, id=end.id, name=end.title)
    return Path(start=start, end=found, relations=(Relation(subject=start, predicate="based_on", object=found),))


def test_contrastive_compares_what_the_answer_holds(retriever):
    """Scores, shares, traits and paths of both; whichever rank is named first, the upper one is told of."""
    answer = kept(retriever, FILMS[0], FILMS[1], k=6)
    one, other = (next(r for r in answer.answer.items if r.item.id.startswith(word)) for word in ("space", "love"))
    low, high = sorted((one.rank, other.rank))
    told = contrastive(answer, high, low, EN, lambda _liked, item: [path_to(item)] if item.id == one.item.id else [])
    assert told.ranks == (low, high)
    assert told.difference == pytest.approx(told.scores[0] - told.scores[1])
    space_first = one.rank == low
    assert (told.only_first if space_first else told.only_second) == ("space",)
    assert len(told.first_paths if space_first else told.second_paths) == 1
    assert "is based on" in told.text
    shares = {lean.item.id: (lean.first, lean.second) for lean in told.leans}
    upper = one if space_first else other
    assert shares["space film"][0] == next(m.share for m in upper.matches if m.item == "space film")
    with pytest.raises(UsageError):
        contrastive(answer, 1, 1, EN)
    with pytest.raises(UsageError, match="no rank 99"):
        contrastive(answer, 1, 99, EN)


def test_contrastive_says_when_the_model_turned_them_round(retriever):
    """The retriever's ranks are held against the final ones."""
    answer = kept(retriever, FILMS[0], FILMS[1])
    turned = answer.answer.model_copy(
        update={
            "source": "hybrid",
            "items": tuple(
                one.model_copy(update={"retrieval_rank": 4 - one.retrieval_rank}) for one in answer.answer.items
            ),
        }
    )
    told = contrastive(answer.model_copy(update={"answer": turned}), 1, 3, EN)
    assert "hybrid put" in told.text


def test_why_keeps_the_reason_as_it_was_given(retriever):
    """In its language; in another one it is told from the facts, and says so."""
    answer = kept(retriever, FILMS[0])
    given = Explanation(text="As it was.", source="llm", language="en")
    items = tuple(one.model_copy(update={"explanation": given}) for one in answer.answer.items)
    answer = answer.model_copy(update={"answer": answer.answer.model_copy(update={"items": items})})
    told = why(answer, 1, EN, lambda _liked, item: [path_to(item)])
    assert (told.text, told.source) == ("As it was.", "llm")
    assert [(s.item.id, s.shared) for s in told.supporters] == [("space film", ("space",))]
    assert "is based on" in told.paths_told[0]
    told = why(answer, 1, ZH)
    assert told.source == "evidence"
    assert "喜欢" in told.text
    with pytest.raises(UsageError, match="no rank 9"):
        why(answer, 9, EN)


@pytest.mark.parametrize("language", languages())
def test_titles_are_text_in_every_form(retriever, language):
    """Control characters go, Markdown is escaped, and braces in a title are no format."""
    told_in = load_posthoc_locale(language)
    evil = "{0}\u202e # <b>*x*</b> [l](http://e) `{item}`\n## head"
    item = Item(domain="books", id="evil", title=evil)
    match = Match(domain="films", item="space film", similarity=0.5, share=1.0)
    answer = kept(retriever, FILMS[0], FILMS[1], k=2)
    one = answer.answer.items[0].model_copy(update={"item": item, "matches": (match,)})
    answer = answer.model_copy(
        update={"answer": answer.answer.model_copy(update={"items": (one, *answer.answer.items[1:])})}
    )
    for reason in (why(answer, 1, told_in), contrastive(answer, 1, 2, told_in)):
        text = markdown(reason, told_in)
        assert "\u202e" not in text + reason.text
        assert "<b>" not in text
        assert "\n## head" not in text
        assert "[l](" not in text
    assert "{0} # <b>*x*</b>" in contrastive(answer, 1, 2, told_in).text


@pytest.mark.parametrize("language", languages())
def test_every_language_names_all_that_english_does(language):
    """Every format takes the same names in each language; only what is named already may be left out."""

    def names(value):
        if isinstance(value, dict):
            return {key: names(inner) for key, inner in value.items()}
        return set(re.findall(r"{(\w+)}", value))

    english, other = (names(locale.posthoc.model_dump()) for locale in (EN, load_posthoc_locale(language)))
    assert english.keys() == other.keys()
    for group, sentences in english.items():
        if isinstance(sentences, dict):
            for key, wanted in sentences.items():
                assert wanted - other[group][key] <= {"first", "second"}
