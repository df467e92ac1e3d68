"""Promises of reranking that only a real vLLM can keep."""

from __future__ import annotations

import numpy as np
import pytest

from retrieval.templates import load_template
from retrieval.types import Candidate, History, HistoryEntry, Item, Query, Ranking
from xdrec_agent.llm import NO, YES, LLMClient, log_odds, resolve_endpoint
from xdrec_agent.rerank import JUDGES, LABELS, RERANKERS, RerankContext, single_prompt
from xdrec_agent.rerank.context import origin_of
from xdrec_agent.settings import RerankSettings

pytestmark = pytest.mark.integration

TEMPLATES = {task: load_template(task) for task in ("rerank", "judge")}
FILMS = [Item(domain="films", id=f"f{n}", title=f"The film of the long winter, part {n}") for n in range(8)]
BOOKS = [Item(domain="books", id=f"b{n}", title=f"A book about the sea, volume {n}") for n in range(30)]


def query(user="ada"):
    return Query(history=History(user=user, entries=tuple(HistoryEntry(item=f) for f in FILMS)), target="books")


def ranking(n):
    return Ranking(candidates=tuple(Candidate(item=b, score=1 - i / 99) for i, b in enumerate(BOOKS[:n])), source="r")


@pytest.fixture
async def client(vllm_server):
    llm = vllm_server.llm.model_copy(update={"timeout_s": 300.0})
    async with LLMClient(resolve_endpoint(vllm_server), llm) as client:
        yield client


def context(client, **options):
    return RerankContext(RerankSettings(**options), TEMPLATES, client)


@pytest.mark.parametrize("strategy", list(JUDGES))
async def test_every_judge_orders_all_candidates(client, strategy):
    """A permutation, at the cost of one generated token a prompt where log-probabilities rank."""
    found = await RERANKERS[strategy](context(client, max_shuffles=1), query(), ranking(6))
    assert sorted(found.ranking.ids) == sorted(ranking(6).ids)
    assert found.ranking.source == strategy
    if strategy != "listwise-generate":
        assert found.usage.completion_tokens == (1 if strategy == "listwise-logprob" else 6)


async def test_labels_are_single_tokens_for_two_alphabets(client):
    """At least 26 candidates fit into one prompt."""
    ids = await client.label_ids(LABELS)
    assert len(set(ids.values())) == len(LABELS) == 52


async def test_shuffles_of_a_person_share_the_history_in_the_servers_prefix_cache(client):
    """Later shuffles find the instructions and the history computed: all blocks before the first candidate."""
    asked = context(client, min_shuffles=1, max_shuffles=1)
    first = await JUDGES["listwise-logprob"](asked, query("prefix"), ranking(12).candidates)
    later = await JUDGES["listwise-logprob"](
        context(client, max_shuffles=1, seed=5), query("prefix"), ranking(12).candidates
    )
    history = sum(len(f.title) for f in FILMS) // 6
    assert later.usage.cached_tokens >= max(32, history // 32 * 32) > 0
    assert later.usage.prompt_tokens == first.usage.prompt_tokens


async def test_the_scoring_route_and_plain_chat_give_the_same_log_odds(client):
    """Pointwise judging does not depend on which of the two an endpoint has."""
    prompts = [single_prompt(context(client), query(), book) for book in BOOKS[:4]]
    origin = origin_of(TEMPLATES["judge"], query())
    odds, _ = await log_odds(client, prompts, origin)
    plain = [(await client.label_logprobs(p, (YES, NO)))[0] for p in prompts]
    assert odds == pytest.approx([one[YES] - one[NO] for one in plain], abs=0.05)


@pytest.mark.parametrize("scheme", ["windows", "tournament"])
async def test_more_candidates_than_a_window_are_all_ordered(client, scheme):
    """Thirty by ten at a time."""
    asked = context(client, max_shuffles=1, window=10, candidates=30, scheme=scheme)
    found = await RERANKERS["listwise-logprob"](asked, query(), ranking(30))
    assert sorted(found.ranking.ids) == sorted(ranking(30).ids)
    assert found.usage.requests == {"windows": 5, "tournament": 6}[scheme]


async def test_a_confidence_of_the_shipped_fit_is_a_share(client):
    """The default strategy with the default model says how sure it is, and costs nothing."""
    found = await RERANKERS["hybrid"](context(client), query(), ranking(20))
    assert found.usage.requests == 0
    confidence = np.array([c.confidence for c in found.ranking.candidates])
    assert ((confidence >= 0) & (confidence <= 1)).all()
    assert (np.diff(confidence) <= 0).all()
