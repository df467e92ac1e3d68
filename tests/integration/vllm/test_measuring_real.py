"""Promises of measurements that only a real vLLM can keep."""

from __future__ import annotations

import numpy as np
import pytest

from eval.studies import judge_pairs, title_log_probabilities
from eval.studies.llm_judge import Answered, Pair
from retrieval.templates import load_template
from retrieval.types import Item
from xdrec_agent.llm import LLMClient, resolve_endpoint

pytestmark = pytest.mark.integration

FILM = Item(domain="films", id="f", title="Alien")
BOOK = Item(domain="books", id="b", title="Pride and Prejudice", creators=("Jane Austen",))
GARBLED = BOOK.model_copy(update={"id": "g", "title": "Xqv Blorf Zzynt Kwpl"})


def quiet(_line):
    """Nobody listens."""


@pytest.fixture
async def client(vllm_server):
    async with LLMClient(resolve_endpoint(vllm_server), vllm_server.llm) as client:
        yield client


async def test_a_famous_title_is_expected_and_a_garbled_one_is_not(client):
    """vLLM echoes prompts with log-probabilities, and they tell the one from the other; alone or in company."""
    (both,) = await title_log_probabilities(client, [[BOOK, GARBLED]], quiet)
    assert both[0] > both[1]
    assert (both < 0).all()
    (alone,) = await title_log_probabilities(client, [[BOOK]], quiet)
    assert alone[0] == pytest.approx(both[0], abs=0.1)


async def test_a_judge_answers_first_second_or_tie(client):
    """Structured output keeps the small model to the three words, in both orders of every pair."""
    pairs = [
        Pair(f"u{n}", (FILM,), (Answered(BOOK, f"You liked Alien {n}."),), (Answered(BOOK, "It is a book."),))
        for n in range(4)
    ]
    found, failed = await judge_pairs(client, load_template("compare"), pairs, quiet)
    assert (len(found), failed) == (4, 0)
    assert {side for one in found for side in one.sides} <= {"a", "b", "tie"}
    assert np.isfinite([one.score for one in found]).all()
