"""Promises of recommending while the model's server fails: every request ends, complete, marked, and unmarked after."""

from __future__ import annotations

import asyncio
import json
import re

import fake_llm
import httpx2
import pytest
from fake_llm import FakeLLM

from retrieval.templates import load_template
from retrieval.types import Candidate, History, HistoryEntry, Item, Query, Ranking
from xdrec_agent.llm import LLMClient
from xdrec_agent.recommend import Recommender
from xdrec_agent.rerank import JUDGES
from xdrec_agent.settings import ExplainSettings, LLMSettings, RerankSettings

pytestmark = pytest.mark.timeout(300)

BOOKS = tuple(Candidate(item=Item(domain="books", id=f"b{i}", title=f"Book {i}"), score=1 - i / 100) for i in range(8))
IDS = [c.item.id for c in BOOKS]
ALIEN = HistoryEntry(item=Item(domain="films", id="alien", title="Alien"))
WAYS = [*({"strategy": judge} for judge in JUDGES), *({"strategy": "hybrid", "judge": judge} for judge in JUDGES)]
USERS = 6


class Retrieved:
    """A retriever of always the same books."""

    store = None
    graph = None

    def rank(self, query):
        return Ranking(candidates=BOOKS, source="retrieval")

    def popularity_percentile(self, domain, ids):
        return 0.0


async def hangs(response):
    await asyncio.Event().wait()


async def slow(response):
    raise httpx2.ReadTimeout("slow")


async def too_many(response):
    return fake_llm.refusal(429, "scripted")


async def broken(response):
    return fake_llm.refusal(500, "scripted")


async def garbage(response):
    return httpx2.Response(200, content=b"\xff\xfe<html>")


async def truncated(response):
    return httpx2.Response(200, content=response.content[: len(response.content) // 2])


async def hollow(response):
    """Without what the order is read from: log-probabilities, scores, text."""
    body = json.loads(response.content)
    for choice in body.get("choices", ()):
        choice |= {"logprobs": None, "message": {"content": None}}
    body.pop("data", None)
    return httpx2.Response(200, json=body)


async def another_model(response):
    return httpx2.Response(200, json=json.loads(response.content) | {"model": "other"})


async def reset(response):
    raise httpx2.ReadError("connection reset")


TROUBLES = [slow, too_many, broken, garbage, truncated, hollow, another_model, reset]


class Sick(FakeLLM):
    """From its `spared`th request on everything meets `trouble`."""

    def __init__(self, **options):
        super().__init__(**options)
        self.trouble = None
        self.spared = 0

    async def handle(self, request):
        response = await super().handle(request)
        if self.trouble is None:
            return response
        self.spared -= 1
        return response if self.spared >= 0 else await self.trouble(response)


def written(body):
    """The permutation that the model writes: the labels as they are shown."""
    labels = re.findall(r"^\[(\w)\] ", body["messages"][-1]["content"], re.M)
    return json.dumps({"order": " > ".join(f"[{label}]" for label in labels)} if labels else {"ok": True})


async def no_nap(_seconds):
    """Retries at once."""


def sick():
    return Sick(text=written, labels=lambda body: fake_llm.uniform(body) | {"Yes": -0.5, "No": -1.0})


def connect(fake, **settings):
    settings = {"attempts": 2, "timeout_s": 60, "recovery_s": 1e-9} | settings
    return LLMClient(fake.endpoint(), LLMSettings(**settings), http_client=fake.http_client(), sleep=no_nap)


def recommender(client, explain_s=60, **rerank):
    return Recommender(
        Retrieved(),
        client,
        rerank=RerankSettings(**{"weight": 0.5} | rerank),
        explain=ExplainSettings(deadline_s=explain_s),
        templates={task: load_template(task) for task in ("rerank", "judge", "explain")},
    )


def query(user="ada"):
    return Query(history=History(user=user, entries=(ALIEN,)), target="books", k=len(BOOKS))


async def many(made):
    return await asyncio.gather(*(made.recommend(query(str(n)), explain=False) for n in range(USERS)))


def name_of(way):
    return "-".join(way.values())


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("way", WAYS, ids=name_of)
async def test_every_request_ends_complete_and_marked(way, trouble):
    """In the middle of many users' run the server falls ill: nobody waits for ever, everybody gets all candidates, who
    got no order is told why and has the retriever's, and after the recovery nobody is marked.
    """
    fake = sick()
    async with connect(fake) as client:
        made = recommender(client, **way)
        before = await made.recommend(query(), explain=False)
        assert not before.degraded, before.reason
        fake.trouble, fake.spared = trouble, 1
        ill = await many(made)
        fake.trouble = None
        # What was on trial lets all in once one has asked.
        await made.recommend(query(), explain=False)
        after = await many(made)
    assert all(sorted(r.item.id for r in answer.items) == IDS for answer in (*ill, *after))
    marked = [answer for answer in ill if answer.degraded]
    assert len(marked) >= USERS - 1
    assert all(answer.reason and answer.source == "retrieval" for answer in marked)
    assert all([r.item.id for r in answer.items] == IDS for answer in marked)
    assert not any(answer.degraded for answer in after)


@pytest.mark.parametrize("trouble", [slow, broken, garbage, another_model, reset])
@pytest.mark.parametrize("way", WAYS, ids=name_of)
async def test_a_server_that_was_never_well_is_the_same(way, trouble):
    """Trouble from the first question on, what the model can do, is marked too, and is not remembered."""
    fake = sick()
    fake.trouble = trouble
    async with connect(fake) as client:
        made = recommender(client, **way)
        ill = await many(made)
        fake.trouble = None
        await made.recommend(query(), explain=False)
        after = await many(made)
    assert all(answer.degraded and answer.reason for answer in ill)
    assert all([r.item.id for r in answer.items] == IDS for answer in ill)
    assert not any(answer.degraded for answer in after)


@pytest.mark.parametrize("way", WAYS, ids=name_of)
async def test_the_deadline_of_reranking_ends_what_the_server_does_not(way):
    """A server that is slow for longer than anybody waits costs `rerank.deadline_s`."""
    fake = sick()
    async with connect(fake) as client:
        await client.capabilities()
        fake.trouble = hangs
        ill = await many(recommender(client, deadline_s=0.05, **way))
        fake.trouble = None
        after = await recommender(client, **way).recommend(query(), explain=False)
    assert not after.degraded
    assert all(answer.degraded and "within 0.05 s" in answer.reason for answer in ill)
    assert all([r.item.id for r in answer.items] == IDS for answer in ill)


async def test_the_deadline_of_a_request_ends_what_the_server_does_not():
    """`llm.timeout_s` bounds every request, the first questions to an unknown server too."""
    fake = sick()
    fake.trouble = hangs
    async with connect(fake, timeout_s=0.05) as client:
        ill = await many(recommender(client, strategy="listwise-logprob"))
    assert all(answer.degraded and answer.reason for answer in ill)


async def test_the_deadline_of_explaining_leaves_the_plain_reasons():
    """After `explain.deadline_s` each item has the reason from the catalogue, marked; the order is not affected."""
    fake = sick()
    async with connect(fake) as client:
        await client.capabilities()
        fake.trouble = hangs
        answer = await recommender(client, explain_s=0.05, strategy="identity").recommend(query())
    assert not answer.degraded
    assert [r.item.id for r in answer.items] == IDS
    assert {r.explanation.source for r in answer.items} == {"evidence"}
    assert all("within 0.05 s" in r.explanation.reason for r in answer.items)
