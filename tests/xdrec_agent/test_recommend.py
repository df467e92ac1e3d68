"""Promises of the whole way, from a question to recommendations, with a fake LLM at the transport."""

from __future__ import annotations

import asyncio
import re
import zlib

import fake_llm
import numpy as np
import pytest
from fake_llm import FakeLLM

from retrieval.errors import UnknownTitle, UsageError
from retrieval.index import Index
from retrieval.ranking import Retriever
from retrieval.settings import ExclusionSettings, IndexSettings, RetrieverSettings
from retrieval.store import Store
from retrieval.templates import load_template
from retrieval.types import Interaction, Item
from xdrec_agent.llm import LLMClient
from xdrec_agent.recommend import RecommendationLog, Recommender, build_query
from xdrec_agent.settings import ExplainSettings, LLMSettings, RerankSettings

WORDS = ["space", "love", "crime", "war", "sea", "city", "ghost", "music"]


class WordEncoder:
    """Texts that share words are near each other; enough to see the way through."""

    name = "words"
    fingerprint = "words-1"

    def encode(self, texts):
        rows = np.zeros((len(texts), 64), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in re.findall(r"\w+", text.casefold()):
                row[zlib.crc32(word.encode()) % 64] += 1
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def retriever(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    with Store.open(f"sqlite:///{folder}/store.sqlite") as store:
        for domain in ("films", "books"):
            items = [
                Item(domain=domain, id=f"{w}-{n}", title=f"{w.title()} {domain} {n}", categories=(w,))
                for w in WORDS
                for n in range(1, 5)
            ]
            store.upsert_items(items, "run")
        known = [("films", "space-1", 5), ("films", "space-2", 4), ("films", "war-1", 1), ("books", "space-1", 5)]
        store.upsert_interactions(
            [Interaction(user="ada", domain=d, item=i, value=v, timestamp=n) for n, (d, i, v) in enumerate(known)],
            "run",
        )
        index = Index(folder / "index", WordEncoder(), load_template("item"), IndexSettings())
        for domain in ("films", "books"):
            index.build(store, domain)
        yield Retriever(store, index, RetrieverSettings())


class TopOnly(FakeLLM):
    """An endpoint that goes on after a prefix but reports no tokens that one names."""

    async def handle(self, request):
        if b"logprob_token_ids" in request.content:
            return fake_llm.refusal(400, "unknown option")
        return await super().handle(request)


async def no_nap(_seconds):
    """Retries at once."""


async def recommend(retriever, fake, query, *, explain=True, **options):
    recommender_options = {
        "rerank": RerankSettings(**options),
        "explain": ExplainSettings(),
        "templates": {task: load_template(task) for task in ("rerank", "judge", "explain")},
    }
    if fake is None:
        recommender = Recommender(retriever, None, **recommender_options, no_client="the server does not run")
        return await recommender.recommend(query, explain=explain)
    client = LLMClient(fake.endpoint(), LLMSettings(attempts=1), http_client=fake.http_client(), sleep=no_nap)
    async with client:
        return await Recommender(retriever, client, **recommender_options).recommend(query, explain=explain)


def ask(retriever, **changes):
    return build_query(retriever.store, **({"sources": ["films"], "target": "books", "user": "ada", "k": 4} | changes))


async def test_a_known_user_gets_explained_books_and_none_they_have(retriever):
    """k items of the target domain, in ranks 1 to k, each with a reason that cites their own films."""
    answer = await recommend(retriever, FakeLLM(), ask(retriever), weight=0.5)
    assert [r.rank for r in answer.items] == [1, 2, 3, 4]
    assert all(r.item.domain == "books" for r in answer.items)
    assert "space-1" not in {r.item.id for r in answer.items}
    mine = {("films", "space-1"), ("films", "space-2")}
    assert all({(m.domain, m.item) for m in r.explanation.cites} <= mine for r in answer.items)
    assert all(r.explanation.cites for r in answer.items)
    assert answer.items[0].item.categories == ("space",)
    assert not answer.degraded


async def test_ranking_and_explaining_can_be_had_apart(retriever):
    """First the order without reasons, then each item with its reason; put together they are the whole answer."""
    templates = {task: load_template(task) for task in ("rerank", "judge", "explain")}
    rerank = RerankSettings(strategy="identity")
    made = Recommender(retriever, None, rerank=rerank, explain=ExplainSettings(), templates=templates)
    query = ask(retriever)
    answer = await made.rank(query)
    assert [r.explanation for r in answer.items] == [None] * 4
    ready = [item async for item in made.explain(query, answer, language="zh")]
    assert sorted(r.rank for r in ready) == [1, 2, 3, 4]
    whole = answer.completed(reversed(ready), 1.5)
    assert [r.item for r in whole.items] == [r.item for r in answer.items]
    assert {r.explanation.language for r in whole.items} == {"zh"}
    assert whole.seconds["explain"] == 1.5
    with pytest.raises(UsageError, match="no templates for language"):
        _ = [item async for item in made.explain(query, answer, language="xx")]


async def test_closing_the_reasons_gives_up_the_models_work(retriever):
    """Who stops listening does not keep the server busy."""
    hangs = fake_llm.Hangs()
    fake = FakeLLM()
    fake.then(*[hangs] * 4)
    templates = {task: load_template(task) for task in ("rerank", "judge", "explain")}
    client = LLMClient(fake.endpoint(), LLMSettings(attempts=1), http_client=fake.http_client(), sleep=no_nap)
    async with client:
        rerank = RerankSettings(strategy="identity")
        made = Recommender(retriever, client, rerank=rerank, explain=ExplainSettings(), templates=templates)
        query = ask(retriever)
        listening = asyncio.create_task(anext(made.explain(query, await made.rank(query))))
        await hangs.begun.wait()
        listening.cancel()
        await asyncio.wait([listening])
        await hangs.cancelled.wait()
        assert listening.cancelled()


async def test_seconds_tokens_and_templates_are_reported_by_stage(retriever):
    """Every result says what it cost and which templates made it."""
    answer = await recommend(retriever, FakeLLM(), ask(retriever), weight=0.5)
    assert set(answer.seconds) == {"retrieval", "rerank", "explain"}
    assert answer.usage["rerank"].requests == 2
    assert answer.templates["rerank"] == load_template("rerank").fingerprint


async def test_a_dying_model_leaves_the_retrievers_order_marked(retriever):
    """The user still gets an answer, degraded, with the reason."""
    fake = FakeLLM()
    fake.then(*[lambda *_: fake_llm.refusal(503, "out of order")] * 90)
    plain = await recommend(retriever, None, ask(retriever), explain=False, strategy="identity")
    answer = await recommend(retriever, fake, ask(retriever), weight=0.5)
    assert answer.degraded
    assert answer.reason
    assert [r.item.id for r in answer.items] == [r.item.id for r in plain.items]
    assert {r.explanation.source for r in answer.items} == {"evidence"}


async def test_without_a_server_it_says_so(retriever):
    """No model at all is the same as a dead one, with its own reason."""
    answer = await recommend(retriever, None, ask(retriever))
    assert answer.degraded
    assert "does not run" in answer.reason


@pytest.mark.parametrize(("client", "strategy", "found"), [(0, "hybrid", 4), (1, "identity", 4), (1, "hybrid", 20)])
def test_no_more_candidates_are_fetched_than_are_looked_at(retriever, client, strategy, found):
    """A model gets `rerank.candidates` of them; without one what is shown is enough, and is the same."""
    fake = FakeLLM()
    recommender = Recommender(
        retriever,
        LLMClient(fake.endpoint(), LLMSettings(), http_client=fake.http_client()) if client else None,
        rerank=RerankSettings(strategy=strategy),
        explain=ExplainSettings(),
        templates={task: load_template(task) for task in ("rerank", "judge", "explain")},
    )
    ranking = recommender.retrieve(ask(retriever))
    assert len(ranking.candidates) == found
    assert ranking.ids[:4] == retriever.rank(ask(retriever)).ids


async def test_identity_needs_no_model_and_is_not_degraded(retriever):
    """The retriever's order is a choice here, not a fallback."""
    answer = await recommend(retriever, None, ask(retriever), explain=False, strategy="identity")
    assert (answer.source, answer.degraded) == ("retrieval", False)
    assert all(r.explanation is None for r in answer.items)


async def test_an_unfitted_model_has_no_say_and_that_is_noted(retriever):
    """`hybrid` without a fitted weight keeps the retriever's order and tells the reader."""
    answer = await recommend(retriever, FakeLLM(), ask(retriever), explain=False)
    assert [r.retrieval_rank for r in answer.items] == [1, 2, 3, 4]
    assert "weight 0" in answer.notes[0]
    assert not answer.degraded


async def test_an_endpoint_that_can_do_less_is_used_and_that_is_noted(retriever):
    """With top log-probabilities alone the reranker goes one step back and says so; it is no failure."""
    fake = TopOnly(labels=lambda body: {"A": -0.1, "B": -2.0})
    answer = await recommend(retriever, fake, ask(retriever), explain=False, weight=0.5)
    assert not answer.degraded
    assert "most probable tokens only" in answer.notes[0]


async def test_a_popular_list_is_noted(retriever):
    """If most of a list is what everybody likes, a note says so and how to set it; elsewhere it does not."""

    class Liked(Retriever):
        """Says of every list that so much of the catalogue is less popular."""

        share = 0.95

        def popularity_percentile(self, domain, ids):
            assert (domain, len(ids)) == ("books", 4)
            return self.share

    async def notes(share=0.95):
        made = Liked(retriever.store, retriever.index, RetrieverSettings())
        made.share = share
        return (await recommend(made, None, ask(retriever), explain=False, strategy="identity")).notes

    (note,) = await notes()
    assert "more people than 95% of books" in note
    assert "retriever.popularity" in note
    assert await notes(share=0.9) == ()


def test_titles_said_now_replace_what_is_stored(retriever):
    """A film rated 5 and named in --dislike counts as disliked, once."""
    query = ask(retriever, dislikes=["Space films 1"])
    entries = [e for e in query.history.entries if e.item.id == "space-1" and e.item.domain == "films"]
    assert [e.preference for e in entries] == [-1.0]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"target": "music"}, UsageError),
        ({"target": "films"}, UsageError),
        ({"user": None}, UsageError),
        ({"user": "nobody"}, UsageError),
        ({"likes": ["Gone with the Wind"]}, UnknownTitle),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(retriever, changes, error):
    """Unknown domains, users and titles, source = target, and nothing to go by name the next step."""
    with pytest.raises(error) as caught:
        ask(retriever, **changes)
    assert caught.value.hint


def test_an_unknown_strategy_names_the_known_ones(retriever):
    """The error lists what there is."""
    with pytest.raises(UsageError, match="no rerank strategy") as caught:
        Recommender(
            retriever,
            None,
            rerank=RerankSettings(strategy="magic"),
            explain=ExplainSettings(),
            templates={task: load_template(task) for task in ("rerank", "judge", "explain")},
        )
    assert "hybrid" in caught.value.hint


async def test_what_a_recommender_gave_is_in_its_log(retriever, tmp_path):
    """With its id, its reasons and the rules that narrowed the query; without a log an answer has no id."""
    rule = ExclusionSettings(target="books", source="films", attribute="not_for")
    options = {"rerank": RerankSettings(strategy="identity"), "explain": ExplainSettings(), "exclusions": [rule]}
    templates = {task: load_template(task) for task in ("rerank", "judge", "explain")}
    query = ask(retriever)
    with RecommendationLog.open(f"sqlite:///{tmp_path}/store.sqlite") as log:
        recommender = Recommender(retriever, None, templates=templates, log=log, **options)
        answer = await recommender.recommend(query, arm="b")
        *_, streamed = [part async for part in recommender.stream(query)]
        logged = log.last()
        assert (logged.answer, logged.arm) == (streamed, "")
        assert logged.query.filter.not_attributes == {"not_for": ("space-1", "space-2", "war-1")}
        assert all(item.explanation for item in logged.answer.items)
        assert (log.get(answer.id).answer, log.get(answer.id).arm) == (answer, "b")
    assert (await Recommender(retriever, None, templates=templates, **options).recommend(query)).id is None
