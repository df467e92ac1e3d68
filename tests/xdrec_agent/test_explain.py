"""Promises of evidence and explanations."""

from __future__ import annotations

import asyncio
import json
import re

import fake_llm
import pytest
from fake_llm import FakeLLM, Hangs
from pydantic import ValidationError

from retrieval.errors import UsageError
from retrieval.templates import languages
from retrieval.types import Candidate, Entity, History, HistoryEntry, Item, Match, Path, Query, Relation
from xdrec_agent.explain import ExplainContext, explain_candidate, load_locale, plain_explanation
from xdrec_agent.explain.constrained_output import reply_schema
from xdrec_agent.explain.realisation import styles
from xdrec_agent.grounding import Scope, check, cited, foreign, gather
from xdrec_agent.llm import LLMClient, Usage
from xdrec_agent.settings import ExplainSettings, LLMSettings

ALIEN = Item(
    domain="films",
    id="alien",
    title="Alien",
    aliases=("异形",),
    creators=("Ridley Scott",),
    year=1979,
    categories=("science fiction", "horror"),
    attributes={"themes": ("alien life", "survival"), "people": ("Sigourney Weaver",)},
)
HEAT = Item(domain="films", id="heat", title="Heat", creators=("Michael Mann",), year=1995, categories=("crime",))
MIRROR = Item(domain="films", id="solaris-1972", title="Solaris", aliases=("飞向太空",), creators=("Andrei Tarkovsky",))
SOLARIS = Item(
    domain="books",
    id="solaris",
    title="Solaris",
    aliases=("索拉里斯星",),
    creators=("Stanisław Lem",),
    year=1961,
    categories=("science fiction",),
    attributes={"themes": ("alien life", "memory")},
    description="A psychologist meets his dead wife on a station above a thinking ocean.",
)


def match(item, share):
    return Match(domain="films", item=item.id, similarity=share, share=share)


HISTORY = History(user="u", entries=tuple(HistoryEntry(item=i) for i in (HEAT, ALIEN)))
CANDIDATE = Candidate(item=SOLARIS, score=0.5, matches=(match(HEAT, 0.6), match(ALIEN, 0.4)))
QUERY = Query(history=HISTORY, target="books")
EVIDENCE = gather(CANDIDATE, HISTORY, None, 3)
EN = load_locale("en", "short")
GOOD = "Because you liked Alien, try Solaris for its alien life."
BAD = "You liked Alien, and this was written by Arthur C. Clarke."


def entity(item):
    return Entity(domain=item.domain, id=item.id, name=item.title)


def graph(starts, end):
    """Heat is based on Solaris, to have a path from what shares nothing."""
    relation = Relation(subject=entity(HEAT), predicate="based_on", object=entity(SOLARIS))
    return [Path(start=entity(HEAT), end=entity(end), relations=(relation,))]


def saying(*sentences, facts=("F1",)):
    """A model that gives these reasons one after the other, and answers the client's probes properly."""
    left = list(sentences)

    def text(body):
        if "Recommended" not in str(body["messages"]) and "推荐" not in str(body["messages"]):
            return "Hello there"
        return json.dumps({"facts": facts, "text": left.pop(0) if len(left) > 1 else left[0]})

    return FakeLLM(text=text)


async def no_nap(_seconds):
    """Retries at once."""


async def explain(fake, query=QUERY, candidates=(CANDIDATE,), paths=None, **settings):
    client = LLMClient(fake.endpoint(), LLMSettings(attempts=1), http_client=fake.http_client(), sleep=no_nap)
    async with client:
        context = ExplainContext(ExplainSettings(**settings), None, client, paths)
        reasons = await asyncio.gather(*(explain_candidate(context, query, candidate) for candidate in candidates))
    return reasons, sum((reason.usage for reason in reasons), Usage())


# Evidence


def test_items_that_share_something_lead_the_evidence():
    """A film with a trait in common says more than a nearer one without."""
    assert [k.item.title for k in EVIDENCE.known] == ["Alien", "Heat"]
    assert EVIDENCE.traits == ("alien life", "science fiction")


def test_items_that_a_path_leads_from_come_first():
    """That a film is based on the book says more than a theme."""
    evidence = gather(CANDIDATE, HISTORY, None, 3, graph)
    assert [k.item.title for k in evidence.known] == ["Heat", "Alien"]
    assert evidence.facts[0].kind == "relation"
    assert evidence.paths[0].relations[0].predicate == "based_on"


def test_facts_have_ids_and_say_what_is_shared_with_whom():
    """Each kind is a fact of its own: themes, categories, decade, creators and people; one says which is closest."""
    sequel = ALIEN.model_copy(update={"id": "book", "domain": "books", "year": 1975, "creators": ("Sigourney Weaver",)})
    evidence = gather(CANDIDATE.model_copy(update={"item": sequel}), HISTORY, "survival in space", 2)
    alien = {f.kind: f.values for f in evidence.facts if f.label == "L1"}
    assert alien["person"] == ("Sigourney Weaver",)
    assert alien["period"] == ("1970",)
    assert [(f.label, f.values) for f in evidence.facts if f.kind == "similar"] == [("L2", ("60",))]
    assert alien["theme"] == ("alien life", "survival")
    assert [f.id for f in evidence.facts] == [f"F{n}" for n in range(1, len(evidence.facts) + 1)]
    assert evidence.facts[-1].kind == "asked"
    assert evidence.facts[-1].values == ("survival",)


def test_shared_traits_ignore_case_and_keep_the_candidates_spelling():
    """Catalogues differ in capitals."""
    other = SOLARIS.model_copy(update={"categories": ("Science Fiction",)})
    assert "Science Fiction" in gather(CANDIDATE.model_copy(update={"item": other}), HISTORY, None, 3).traits


def test_matches_that_are_not_liked_are_no_evidence():
    """Only what the person liked may be cited."""
    disliked = History(entries=(HistoryEntry(item=ALIEN, preference=-1),))
    assert gather(CANDIDATE, disliked, None, 3).known == ()


# The way of a reason


async def test_a_checked_sentence_of_the_model_is_used_with_its_citations_and_claims():
    """`source` is llm, the cited matches are history items, and every claim says what bears it out."""
    (explanation,), usage = await explain(saying(GOOD))
    assert explanation.source == "llm"
    assert [m.item for m in explanation.cites] == ["alien"]
    assert explanation.traits == ("alien life",)
    assert {c.kind for c in explanation.claims} == {"liked", "title", "category"}
    assert all(c.supported and c.support is not None for c in explanation.claims)
    assert usage.requests == 1


async def test_what_is_not_supported_is_written_once_more_and_told_why():
    """The second request names what was wrong; its sentence is constrained, whatever the first one was."""
    fake = saying(BAD, GOOD)
    (explanation,), usage = await explain(fake)
    assert (explanation.source, explanation.text) == ("repaired", GOOD)
    assert "Arthur" in explanation.reason
    asked = [b for b in fake.calls if "Recommended" in str(b["messages"])]
    assert "Arthur" in str(asked[1]["messages"])
    patterns = ["pattern" in str(b["response_format"]) for b in asked]
    assert patterns == [False, True]
    assert usage.requests == 2


async def test_then_the_unsupported_sentence_goes():
    """What is left must still be a reason."""
    both = f"{GOOD} It is a heartbreaking tale of a lonely robot."
    (explanation,), _ = await explain(saying(both))
    assert (explanation.source, explanation.text) == ("repaired", GOOD)


@pytest.mark.parametrize(
    ("fake", "because"),
    [
        (saying(BAD), "Arthur"),
        (saying("Because you liked Alien and Predator, read it."), "Predator"),
        (saying("It is science fiction."), "none of the liked"),
        (saying("You liked Alien alien life and alien life and alien life."), "repeats"),
        (saying(" ".join([GOOD] * 3)), "3 sentences"),
        (saying("Alien " * 1000), "characters"),
        (saying("因为你喜欢异形，你也许会喜欢索拉里斯。"), "wanted is en"),
        (saying(" "), "empty"),
        (saying("Like Alien.", facts=("F99",)), "no Reason"),
        (FakeLLM(text=lambda body: "no JSON at all"), "no Reason"),
    ],
)
async def test_if_nothing_can_stand_the_plain_sentence_does_and_says_why(fake, because):
    """Invented names and films, no liked title, too long, the wrong language, an unknown fact or no JSON."""
    (explanation,), _ = await explain(fake)
    assert explanation.source == "evidence"
    assert because in explanation.reason
    assert "“Alien”" in explanation.text
    assert [m.item for m in explanation.cites] == ["alien"]
    assert all(c.supported for c in explanation.claims)


async def test_an_outage_gives_plain_sentences_for_all():
    """A dead server costs the words, not the answer."""
    fake = FakeLLM()
    fake.then(*[lambda *_: fake_llm.refusal(503, "down")] * 40)
    explanations, _ = await explain(fake, candidates=(CANDIDATE, CANDIDATE))
    assert [e.source for e in explanations] == ["evidence", "evidence"]


async def test_giving_up_cancels_the_request():
    """Nobody's model works for an answer that nobody waits for."""
    hangs = Hangs()
    fake = FakeLLM()
    fake.then(hangs)
    task = asyncio.create_task(explain(fake))
    await hangs.begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert hangs.cancelled.is_set()


# Constrained output


def test_the_schema_admits_only_real_ids():
    """The facts are a closed list in the JSON schema that constrains the model."""
    schema = reply_schema(EVIDENCE, EN)
    assert list(schema.model_fields) == ["facts", "text"]  # it chooses before it writes
    with pytest.raises(ValidationError):
        schema.model_validate({"facts": ["F99"], "text": "x"})
    assert re.search(r'"F1", ?"F2"', json.dumps(schema.model_json_schema()))


@pytest.mark.parametrize("language", languages())
@pytest.mark.parametrize("style", ["short", "detailed", "playful"])
@pytest.mark.parametrize("paths", [None, graph])
def test_every_constrained_sentence_passes_the_check(language, style, paths):
    """A small model that can only choose cannot be wrong: all that its grammar admits is supported."""
    evidence = gather(CANDIDATE, HISTORY, "something with memory", 3, paths)
    locale = load_locale(language, style)
    pattern = reply_schema(evidence, locale).model_json_schema()["properties"]["text"]["pattern"]
    for sentence in _admitted(pattern):
        assert [c for c in check(sentence, Scope(evidence, language)) if not c.supported] == [], sentence
        assert cited(sentence, Scope(evidence, language))


def _admitted(pattern):
    """All strings of a pattern of literals, groups, alternatives and an optional last group."""
    text, end = _alternatives(pattern, 0)
    assert end == len(pattern)
    return text


def _alternatives(pattern, at):
    found, rows = [], [""]
    while at < len(pattern) and pattern[at] != ")":
        if pattern[at] == "|":
            found, rows, at = found + rows, [""], at + 1
        elif pattern[at] == "(":
            inner, at = _alternatives(pattern, at + 1)
            at += 1
            if pattern[at : at + 1] == "?":
                inner, at = ["", *inner], at + 1
            rows = [a + b for a in rows for b in inner]
        else:
            at += pattern[at] == "\\"
            rows, at = [a + pattern[at] for a in rows], at + 1
    return found + rows, at


@pytest.mark.parametrize(
    ("model", "freedom", "free"),
    [
        ("smollm2-135m-instruct", "auto", False),
        ("qwen2.5-coder-1.5b-instruct", "auto", True),
        ("Qwen/Qwen2.5-0.5B-Instruct", "auto", False),
        ("gpt-large", "auto", True),
        ("qwen2.5-coder-1.5b-instruct", "pattern", False),
        ("smollm2-135m-instruct", "free", True),
    ],
)
async def test_a_small_model_chooses_and_a_larger_one_writes(model, freedom, free):
    """By the size in its name, or as set."""
    fake = saying(GOOD)
    fake.model = model
    await explain(fake, freedom=freedom)
    (asked,) = (b for b in fake.calls if "Recommended" in str(b["messages"]))
    assert ("pattern" in str(asked["response_format"])) is not free


# Languages, styles, disclaimers


@pytest.mark.parametrize("paths", [None, graph])
@pytest.mark.parametrize("language", languages())
def test_the_plain_sentence_passes_the_same_check(language, paths):
    """What stands in is held to the rule that the model is held to, in its language."""
    locale = load_locale(language, "short")
    for liked in (HISTORY, History(entries=(HistoryEntry(item=HEAT),))):
        evidence = gather(CANDIDATE, liked, None, 3, paths)
        explanation = plain_explanation(evidence, "r", locale)
        assert [c for c in explanation.claims if not c.supported] == []
        assert foreign(explanation.text, Scope(evidence, language)) is None


async def test_chinese_reasons_are_chinese_and_use_chinese_titles():
    """The prompt, the traits and the sentence that stands in; an item without a Chinese name keeps its own."""
    fake = saying("因为你喜欢《异形》，你可能会喜欢《索拉里斯星》里的外星生命。")
    (explanation,), _ = await explain(fake, language="zh")
    assert (explanation.source, explanation.language) == ("llm", "zh")
    assert explanation.traits == ("alien life",)
    prompt = str(fake.calls[-1]["messages"])
    assert "《异形》" in prompt
    assert "外星生命" in prompt
    plain = plain_explanation(EVIDENCE, "r", load_locale("zh", "short")).text
    assert plain.startswith("它与你喜欢的《异形》都涉及外星生命")


async def test_the_wrong_language_is_written_again():
    """An English sentence is no Chinese reason."""
    (explanation,), _ = await explain(saying(GOOD, "因为你喜欢《异形》，你可能会喜欢它。"), language="zh")
    assert (explanation.source, explanation.text) == ("repaired", "因为你喜欢《异形》，你可能会喜欢它。")


@pytest.mark.parametrize(
    ("text", "language", "wrong"),
    [
        ("Puisque vous avez aimé Alien, vous aimerez peut-être ce livre pour la même raison.", "en", True),
        ("Because you liked Alien, you may like this book for the same reason.", "en", False),
        ("Because you liked 异形, you may like this book.", "zh", True),
        ("因为你喜欢Alien，你也许会喜欢Stanisław Lem的这本书。", "zh", False),
    ],
)
def test_the_language_is_told_by_the_prose_alone(text, language, wrong):
    """Titles and names may be in any language."""
    assert (foreign(text, Scope(EVIDENCE, language)) is not None) is wrong


@pytest.mark.parametrize("language", languages())
def test_every_language_has_every_style(language):
    """Short, detailed and playful, each with a template of its own."""
    assert set(styles(language)) == {"short", "detailed", "playful"}
    assert len({load_locale(language, style).template.fingerprint for style in styles(language)}) == 3


@pytest.mark.parametrize(("language", "style"), [("xx", "short"), ("en", "epic")])
def test_an_unknown_language_or_style_names_the_known_ones(language, style):
    """The error says what there is."""
    with pytest.raises(UsageError) as caught:
        load_locale(language, style)
    assert "one of:" in caught.value.hint


@pytest.mark.parametrize("style", ["short", "playful"])
async def test_no_template_can_leave_out_the_disclaimer(style):
    """It is added to what the model wrote and to the plain sentence, and only in its domain."""
    disclaimers = {"books": "No medical advice.", "films": "Another."}
    (written,), _ = await explain(saying(GOOD), disclaimers=disclaimers, style=style)
    (plain,), _ = await explain(saying(BAD), disclaimers=disclaimers, style=style)
    assert (written.source, plain.source) == ("llm", "evidence")
    for explanation in (written, plain):
        assert explanation.text.endswith(" No medical advice.")
        assert explanation.text.count("advice") == 1


async def test_a_query_by_text_alone_is_explained_by_the_text():
    """Without a history nothing is cited, and what the words name is a fact."""
    alone = CANDIDATE.model_copy(update={"matches": ()})
    context = ExplainContext(ExplainSettings(), None, None)
    explanation = await explain_candidate(context, Query(target="books", text="a book about memory"), alone)
    assert explanation.cites == ()
    assert "a book about memory" in explanation.text
    (written,), _ = await explain(
        saying("You may like Solaris for its memory."), Query(target="books", text="a book about memory"), (alone,)
    )
    assert written.source == "llm"
