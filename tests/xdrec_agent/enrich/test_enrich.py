"""Promises of enrichment: agreement, resuming, and that what is generated stays apart from what is known."""

from __future__ import annotations

import asyncio
import json
import sys

import httpx2
import pytest
from fake_llm import FakeLLM, raises
from hypothesis import given
from hypothesis import strategies as st
from prompt_breaches import breaches
from word_encoder import WordEncoder

from eval.studies.attacks import attacked, load_attacks
from retrieval.errors import IndexMismatch, UsageError, XDRecError
from retrieval.index import Facets, Index
from retrieval.settings import IndexSettings
from retrieval.store import Store
from retrieval.templates import load_template
from retrieval.types import Candidate, History, HistoryEntry, Item, Match
from xdrec_agent import app as assembly
from xdrec_agent import cli
from xdrec_agent.enrich import Enrichment, FacetStore, load_wordings
from xdrec_agent.enrich.enrichment import AT_ONCE
from xdrec_agent.enrich.facet_questions import FacetReply, agreed, ask_twice
from xdrec_agent.enrich.facet_store import MadeBy
from xdrec_agent.errors import LLMUnreachable
from xdrec_agent.grounding import gather
from xdrec_agent.llm import LLMClient, ResponseCache
from xdrec_agent.settings import LLMSettings

FIRST, SECOND = load_wordings()
ITEMS = AT_ONCE + 3
SEA = {
    "known": True,
    "themes": ["The Sea", "revenge"],
    "mood": ["dark"],
    "setting": "the ocean",
    "period": "19th century",
}


def book(n, **fields):
    return Item(domain="books", id=f"b{n:03}", title=f"Book {n}", **fields)


def of_second(body):
    """Whether a request is in the second wording."""
    return "reader asks you" in body["messages"][0]["content"]


def model(first=SEA, second=SEA, **options):
    """A model with an answer to each wording."""
    return FakeLLM(text=lambda body: json.dumps(second if of_second(body) else first), **options)


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'store.sqlite'}"


@pytest.fixture
def store(url):
    with Store.open(url) as store:
        store.upsert_items([book(n) for n in range(ITEMS)], "run")
        yield store


@pytest.fixture
def kept(store, url):
    with FacetStore.open(url) as kept:
        yield kept


def client_of(fake, cache=None):
    settings = LLMSettings(attempts=1)
    return LLMClient(fake.endpoint(), settings, http_client=fake.http_client(), cache=cache)


async def run(fake, store, kept, domain="books", limit=None, cache=None, progress=None):
    async with client_of(fake, cache) as client:
        return await Enrichment(store, kept, client, (FIRST, SECOND), domain, limit).run(progress)


# Agreement


async def test_what_the_two_answers_do_not_share_is_dropped():
    """Asked once in each wording; themes, moods, setting, period and audience count only where both say them."""
    other = SEA | {"themes": ["sea", "whales"], "mood": ["funny"], "setting": "Ocean.", "period": "ancient"}
    fake = model(SEA | {"audience": "adults"}, other | {"audience": "adults"})
    async with client_of(fake) as client:
        answer = await ask_twice(client, (FIRST, SECOND), book(1))
    assert answer.facets == Facets(themes=("the sea",), setting="the ocean", audience="adults")
    assert answer.usage.requests == len(fake.calls) == 2
    assert sorted(map(of_second, fake.calls)) == [False, True]


async def test_an_unknown_item_comes_back_empty():
    """One "not known" is enough; so are two answers that share only what two guesses share."""
    for second in (SEA | {"known": False}, SEA | {"themes": ["love"], "setting": "Paris"}, {"known": True}):
        async with client_of(model(SEA, second)) as client:
            assert (await ask_twice(client, (FIRST, SECOND), book(1))).facets.empty


async def test_an_unreadable_reply_is_no_knowledge():
    """Text that is no JSON, or of another shape, leaves the item empty and is counted."""
    for text in ("I love it", '{"known": "perhaps so"}', json.dumps(SEA | {"mood": ["odd"]})):
        async with client_of(FakeLLM(text=lambda body, text=text: text)) as client:
            answer = await ask_twice(client, (FIRST, SECOND), book(1))
        assert (answer.facets.empty, answer.unreadable) == (True, True)


SAID = st.builds(
    FacetReply,
    known=st.booleans(),
    themes=st.lists(st.text(max_size=80), max_size=5),
    mood=st.lists(st.sampled_from(["dark", "light", "sad"]), max_size=2),
    setting=st.text(max_size=80),
    period=st.sampled_from(["", "ancient", "future"]),
)


@given(SAID, SAID)
def test_agreement_is_symmetric_and_harmless(one, other):
    """Whether something is known does not depend on which answer comes first; facets are short single lines."""
    found = agreed(one, other)
    assert found.empty == agreed(other, one).empty
    assert not (found.empty is False and not (one.known and other.known))
    for text in (*found.themes, found.setting or "x"):
        assert text.isprintable()
        assert 0 < len(text.split()) <= 3
        assert len(text) <= 60
        assert not set(text) & set("[]<>{}|")


@given(SAID)
def test_an_answer_agrees_with_itself(said):
    """Whoever says the same twice keeps every tidy theme, once."""
    found = agreed(said, said)
    assert len(set(found.themes)) == len(found.themes)


# Keeping


async def test_facets_are_kept_apart_and_marked(store, kept):
    """Model, templates and time stand beside them, and the catalogue's own items do not change."""
    before = list(store.iter_items("books"))
    report = await run(model(), store, kept, limit=2)
    assert (report.asked, report.known, report.unreadable) == (2, 2, 0)
    found = kept.get("books", "b000")
    assert found.facets.themes == ("the sea", "revenge")
    assert found.made_by == MadeBy(model="fake", templates=f"{FIRST.fingerprint} {SECOND.fingerprint}")
    assert found.made_at.tzinfo
    assert list(store.iter_items("books")) == before
    assert kept.facets("books", ["b000", "b001", "b002"]).keys() == {"b000", "b001"}


async def test_generated_facets_are_never_evidence(store, kept):
    """A reason built for an enriched item knows nothing of what the model said."""
    await run(model(), store, kept)
    item = store.items("books", ["b000"])["b000"]
    match = Match(domain="books", item="b001", similarity=0.5, share=1)
    history = History(entries=(HistoryEntry(item=store.items("books", ["b001"])["b001"]),))
    evidence = gather(Candidate(item=item, score=1, matches=(match,)), history, None, 3)
    assert "sea" not in repr(evidence).casefold()
    assert "revenge" not in repr(evidence)


async def test_a_killed_run_goes_on_without_asking_again(store, kept):
    """What is kept is not asked about again; a third run asks nothing at all, empty items included."""

    class Killed(XDRecError):
        pass

    told = []

    def kill(done, total):
        told.append(done)
        if done >= 5:
            raise Killed("by somebody")

    fake = model(SEA, SEA | {"known": False})
    with pytest.raises(Killed):
        await run(fake, store, kept, progress=kill)
    before, left = len(fake.calls), ITEMS - told[-1]
    assert left > 0
    report = await run(fake, store, kept)
    assert (report.asked, len(fake.calls) - before) == (left, 2 * left)
    assert (await run(fake, store, kept)).asked == 0
    assert len(fake.calls) - before == 2 * left


async def test_a_server_that_goes_down_leaves_nothing_half_written(store, kept):
    """The error is the client's own; what was answered before is kept, of the rest nothing."""
    fake, told = model(), []

    def down(done, total):
        told.append(done)
        fake.then(*[raises(httpx2.ConnectError("refused"))] * 2 * ITEMS)

    with pytest.raises(LLMUnreachable):
        await run(fake, store, kept, progress=down)
    assert 0 < len(kept.marks("books")) == told[-1] < ITEMS
    with pytest.raises(LLMUnreachable):
        await run(fake, store, kept)
    assert len(kept.marks("books")) == told[-1]


async def test_one_long_answer_keeps_nobody_waiting(store, kept):
    """Others are asked about and kept while the model still writes about the first."""
    slow, told = asyncio.Event(), []

    class Slow(FakeLLM):
        async def handle(self, request):
            if "Book 0\n" in json.loads(request.content)["messages"][-1]["content"]:
                await slow.wait()
            return await super().handle(request)

    def progress(done, total):
        told.append(done)
        if done == total - 1:
            assert "b000" not in kept.marks("books")
            slow.set()

    await run(Slow(text=lambda body: json.dumps(SEA)), store, kept, progress=progress)
    assert told == list(range(1, ITEMS + 1))


async def test_what_has_changed_is_asked_about_again(store, kept):
    """Facets hold for the item as it was, for this model and these words; a deleted item's go with it."""
    await run(model(), store, kept)
    made_by = MadeBy(model="fake", templates=f"{FIRST.fingerprint} {SECOND.fingerprint}")
    store.upsert_items([book(0, description="new")], "again")
    assert kept.pending("books", made_by) == ("b000",)
    assert "b000" not in kept.marks("books")
    assert not kept.facets("books", ["b000"])
    assert len(kept.pending("books", made_by.model_copy(update={"model": "other"}))) == ITEMS
    store.delete_items("books", ["b001"])
    assert kept.get("books", "b001") is None


async def test_the_estimate_keeps_nothing_and_costs_a_few_requests(store, kept, tmp_path):
    """Requests and tokens of all items from four; with the response cache those four are not asked twice."""
    fake = model()
    with ResponseCache(tmp_path / "responses", 2**20) as cache:
        async with client_of(fake, cache) as client:
            work = Enrichment(store, kept, client, (FIRST, SECOND), "books")
            estimate = await work.estimate()
            assert (estimate.items, estimate.requests, estimate.probed) == (ITEMS, 2 * ITEMS, 4)
            assert estimate.prompt_tokens > 1000
            assert estimate.seconds > 0
            assert len(fake.calls) == 8
            assert not kept.marks("books")
            await work.run()
            assert len(fake.calls) == estimate.requests
            assert (await work.estimate()).seconds is None


async def test_a_domain_without_items_is_an_error(store, kept):
    """There is nothing to ask about."""
    with pytest.raises(UsageError, match="no items"):
        await run(model(), store, kept, domain="games")


@pytest.mark.parametrize("attack", load_attacks(), ids=lambda attack: attack.id)
def test_a_hostile_item_stays_in_its_place(attack):
    """In neither wording can an item's text add a line, a turn, a delimiter, or say more than its share."""
    assert breaches(FIRST, attack) == breaches(SECOND, attack) == []


async def test_a_hostile_item_gets_through_like_any_other(store, kept):
    """Its text is data all the way; what the model makes of it is tidied before it is kept."""
    hostile = attacked(book(500), load_attacks()[0])
    store.upsert_items([hostile], "run")
    said = SEA | {"themes": ["[A] <|im_end|>", "sea"]}
    await run(model(said, said), store, kept)
    themes = kept.get("books", hostile.id).facets.themes
    assert "sea" in themes
    assert not set("".join(themes)) & set("[]<>|{}")


# In the index


async def test_facets_are_part_of_what_the_encoder_reads(store, kept, tmp_path):
    """With facets the text has them, an index without them is refused, and new facets are embedded on the next run."""
    plain = Index(tmp_path / "index", WordEncoder(), load_template("item"), IndexSettings())
    with plain:
        plain.build(store, "books")
    encoder = WordEncoder()
    with Index(tmp_path / "index", encoder, load_template("item_facets"), IndexSettings(), kept) as index:
        with pytest.raises(IndexMismatch):
            index.build(store, "books")
        assert index.build(store, "books", rebuild=True).embedded == ITEMS
        assert encoder.encoded[0] == "Book 0."
        await run(model(), store, kept, limit=2)
        assert index.build(store, "books").embedded == 2
        assert encoder.encoded[-2] == "Book 0. the sea, revenge. dark. the ocean. 19th century."
        assert index.build(store, "books").embedded == 0
        made = index.snapshot("books").manifest
        assert made.generation == index.generation("books", store.generation("books"))


def test_without_facets_the_text_is_the_plain_one():
    """An item that the model does not know reads the same in both templates."""
    item = book(1, creators=("A. Writer",), categories=("novel",), description="A year.")
    with_facets = load_template("item_facets").text(item=item, facets=Facets())
    assert with_facets == load_template("item").text(item=item)


# From the command line


@pytest.fixture
def xdrec(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["xdrec", "--home", str(tmp_path), *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code or 0, *capsys.readouterr()

    return run


def test_without_a_server_the_command_says_how_to_start_one(store, xdrec):
    """Exit code 3 and the next command; nothing is written."""
    code, out, err = xdrec("enrich", "books", "--yes")
    assert (code, out) == (3, "")
    assert "xdrec llm up" in err


def test_a_busy_server_is_waited_for(store, xdrec, monkeypatch):
    """Nobody waits for enrichment, so a server on two cores has more than the minute that a person has."""
    deadlines = []
    opened = assembly.open_client

    def seen(settings):
        deadlines.append(settings.llm.timeout_s)
        return opened(settings)

    monkeypatch.setattr(assembly, "open_client", seen)
    xdrec("enrich", "books", "--yes")
    assert deadlines == [900]


def test_json_cannot_ask(store, xdrec):
    """A program that reads JSON cannot answer a question."""
    code, out, _ = xdrec("enrich", "books", "--json")
    assert code == 2
    assert "--yes" in json.loads(out)["error"]["hint"]
