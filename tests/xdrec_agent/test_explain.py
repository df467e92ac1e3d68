"""Promises of evidence, grounding and explanations."""

from __future__ import annotations

import json
import re

import fake_llm
import pytest
from fake_llm import FakeLLM
from pydantic import ValidationError

from retrieval.templates import load_template
from retrieval.types import Candidate, History, HistoryEntry, Item, Match, Query
from xdrec_agent.evidence import gather, shared_traits
from xdrec_agent.explain import ExplainContext, explain_all, plain_explanation, reason_schema
from xdrec_agent.grounding import cited, objection
from xdrec_agent.llm import LLMClient
from xdrec_agent.settings import ExplainSettings, LLMSettings

ALIEN = Item(
    domain="films",
    id="alien",
    title="Alien",
    creators=("Ridley Scott",),
    year=1979,
    categories=("science fiction", "horror"),
    attributes={"themes": ("alien life", "survival")},
)
HEAT = Item(domain="films", id="heat", title="Heat", creators=("Michael Mann",), year=1995, categories=("crime",))
SOLARIS = Item(
    domain="books",
    id="solaris",
    title="Solaris",
    creators=("Stanisław Lem",),
    year=1961,
    categories=("science fiction",),
    attributes={"themes": ("alien life", "memory")},
    description="A psychologist meets his dead wife on a station above a thinking ocean.",
)
HISTORY = History(user="u", entries=(HistoryEntry(item=HEAT), HistoryEntry(item=ALIEN)))
CANDIDATE = Candidate(
    item=SOLARIS,
    score=0.5,
    matches=(
        Match(domain="films", item="heat", similarity=0.5, share=0.6),
        Match(domain="films", item="alien", similarity=0.4, share=0.4),
    ),
)
QUERY = Query(history=HISTORY, target="books")
EVIDENCE = gather(CANDIDATE, HISTORY, None, 3)


def saying(sentence, liked=("L1",), traits=()):
    """A model that answers with this reason, and properly to the client's probes."""

    def text(body):
        asked = "Recommended" in str(body["messages"])
        return json.dumps({"liked": liked, "traits": traits, "text": sentence}) if asked else "Hello there"

    return FakeLLM(text=text)


async def no_nap(_seconds):
    """Retries at once."""


async def explain(fake, query=QUERY, candidates=(CANDIDATE,)):
    client = LLMClient(fake.endpoint(), LLMSettings(attempts=1), http_client=fake.http_client(), sleep=no_nap)
    async with client:
        return await explain_all(ExplainContext(ExplainSettings(), load_template("explain"), client), query, candidates)


def test_items_that_share_something_lead_the_evidence():
    """A film with a trait in common says more than a nearer one without."""
    assert [k.item.title for k in EVIDENCE.known] == ["Alien", "Heat"]
    assert EVIDENCE.traits == ("alien life", "science fiction")


def test_shared_traits_ignore_case_and_keep_the_candidates_spelling():
    """Catalogues differ in capitals."""
    other = SOLARIS.model_copy(update={"categories": ("Science Fiction",)})
    assert "Science Fiction" in shared_traits(other, ALIEN)


def test_matches_that_are_not_liked_are_no_evidence():
    """Only what the person liked may be cited."""
    disliked = History(entries=(HistoryEntry(item=ALIEN, preference=-1),))
    assert gather(CANDIDATE, disliked, None, 3).known == ()


@pytest.mark.parametrize(
    "text",
    [
        "Because you liked Alien, you may enjoy this story of alien life by Stanisław Lem.",
        "Like Alien, Solaris is science fiction.",
        "Solaris (1961) shares alien life with Alien. It is by Lem.",
        "You liked Alien's science fiction, and I think it fits.",
    ],
)
def test_sentences_that_keep_to_the_evidence_pass(text):
    """Titles, creators, years and traits of the given items may be named."""
    assert objection(text, EVIDENCE) is None


@pytest.mark.parametrize(
    ("text", "because"),
    [
        ("Because you liked Alien, you may enjoy this novel by Arthur Clarke.", "Arthur"),
        ("Because you liked Alien and Terminator, read it.", "Terminator"),
        ("Terminator fans who liked Alien will enjoy it.", "Terminator"),
        ("Like Alien, it came out in 1972.", "1972"),
        ("Solaris is science fiction.", "none of the liked"),
        ("Alien. Solaris. Heat.", "more than two"),
        ("  ", "empty"),
    ],
)
def test_sentences_that_leave_the_evidence_are_refused(text, because):
    """Other names, other years, other titles, nothing cited, too long, nothing at all."""
    assert because in objection(text, EVIDENCE)


def test_a_short_title_is_not_found_inside_a_word():
    """“Alien” is not cited by “alienation”, nor “Heat” by “theatre”."""
    assert cited("alienation in the theatre", EVIDENCE) == ()
    assert cited("Heat and Alien", EVIDENCE) == ("L1", "L2")


async def test_a_checked_sentence_of_the_model_is_used_with_its_citations():
    """`source` is llm, and the cited matches are history items."""
    fake = saying("Because you liked Alien, try Solaris for its alien life.", traits=("alien life",))
    (explanation,), usage = await explain(fake)
    assert explanation.source == "llm"
    assert [m.item for m in explanation.cites] == ["alien"]
    assert explanation.traits == ("alien life",)
    assert usage.requests >= 1


@pytest.mark.parametrize(
    ("fake", "because"),
    [
        (saying("Because you liked Alien and Predator, read it."), "Predator"),
        (saying("Like Alien.", liked=("L9",)), "no Reason"),
        (FakeLLM(text=lambda body: "no JSON at all"), "no Reason"),
    ],
)
async def test_whatever_fails_the_plain_sentence_stands_in_and_says_why(fake, because):
    """An invented film, an unknown label, or no JSON never reach the reader."""
    (explanation,), _ = await explain(fake)
    assert explanation.source == "evidence"
    assert because in explanation.reason
    assert "“Alien”" in explanation.text
    assert {m.item for m in explanation.cites} <= {"alien", "heat"}


async def test_an_outage_gives_plain_sentences_for_all():
    """A dead server costs the words, not the answer."""
    fake = FakeLLM()
    fake.then(*[lambda *_: fake_llm.refusal(503, "down")] * 40)
    explanations, _ = await explain(fake, candidates=(CANDIDATE, CANDIDATE))
    assert [e.source for e in explanations] == ["evidence", "evidence"]


def test_the_schema_admits_only_what_the_evidence_holds():
    """Labels and traits are closed lists in the JSON schema that constrains the model."""
    schema = reason_schema(EVIDENCE)
    assert list(schema.model_fields) == ["liked", "traits", "text"]  # it chooses before it writes
    with pytest.raises(ValidationError):
        schema.model_validate({"liked": ["L3"], "traits": [], "text": "x"})
    with pytest.raises(ValidationError):
        schema.model_validate({"liked": ["L1"], "traits": ["romance"], "text": "x"})
    assert re.search(r'"L1", ?"L2"', json.dumps(schema.model_json_schema()))


def test_the_plain_sentence_passes_the_same_check():
    """What stands in is held to the rule that the model is held to."""
    assert objection(plain_explanation(EVIDENCE, "r").text, EVIDENCE) is None
    far = gather(CANDIDATE, History(entries=(HistoryEntry(item=HEAT),)), None, 3)
    assert objection(plain_explanation(far, "r").text, far) is None


def test_a_query_by_text_alone_is_explained_by_the_text():
    """Without a history nothing is cited."""
    words = gather(CANDIDATE.model_copy(update={"matches": ()}), History(), "thinking oceans", 3)
    explanation = plain_explanation(words, "r")
    assert explanation.cites == ()
    assert "thinking oceans" in explanation.text
