"""Promises of asking yes or no about many candidates, through vLLM's scoring route and through plain chat."""

from __future__ import annotations

import asyncio
import math
import re

import numpy as np
import pytest
from fake_llm import FakeLLM, answer

from xdrec_agent.errors import LLMReplyInvalid
from xdrec_agent.llm import LLMClient, Origin, log_odds
from xdrec_agent.settings import LLMSettings

SYSTEM = {"role": "system", "content": "You know books."}
SHARED = "They liked Alien.\nWill they like this?\n"
CHANCES = {"Dune": 0.9, "Emma": 0.2, "Ulysses": 0.5, "Solaris": 0.99}
NOBODY = Origin(template="t")


async def no_nap(_seconds):
    """Retries at once."""


def prompts(titles=CHANCES, shared=SHARED):
    return [[SYSTEM, {"role": "user", "content": shared + title}] for title in titles]


def chance(text):
    """How likely the fake says yes to a text that ends with a title."""
    found = re.findall("|".join(CHANCES), text)
    return CHANCES[found[-1]] if found else 0.5


def scores(body):
    return [chance(item) for item in body["items"]]


def labels(body):
    yes = chance(body["messages"][-1]["content"])
    return {"Yes": math.log(yes), "No": math.log(1 - yes)}


def connect(fake):
    return LLMClient(fake.endpoint(), LLMSettings(attempts=1), http_client=fake.http_client(), sleep=no_nap)


async def asked(fake, conversations):
    async with connect(fake) as client:
        return await log_odds(client, conversations, NOBODY)


@pytest.mark.parametrize("vllm", [True, False])
async def test_the_odds_are_the_models(vllm):
    """Both ways give ln P(yes) / P(no) of each conversation, in order, so that they agree."""
    odds, _ = await asked(FakeLLM(scores=scores, labels=labels, vllm=vllm), prompts())
    np.testing.assert_allclose(odds, [math.log(p / (1 - p)) for p in CHANCES.values()])


async def test_many_conversations_are_two_scoring_requests():
    """The first goes ahead alone, so that the shared beginning is computed once; the others follow together."""
    seen = []

    def noted(body):
        seen.append(body)
        return scores(body)

    fake = FakeLLM(scores=noted)
    async with connect(fake) as client:
        await client.capabilities()
        seen.clear()
        _, usage = await log_odds(client, prompts(), NOBODY)
    assert [len(body["items"]) for body in seen] == [1, 3]
    assert usage.requests == 2
    assert {body["query"] for body in seen} == {f"<s>You know books.</><u>{SHARED}"}
    assert seen[1]["items"] == ["Emma</><a>", "Ulysses</><a>", "Solaris</><a>"]
    assert not seen[0]["add_special_tokens"]


async def test_without_scoring_the_first_conversation_goes_ahead_alone():
    """The others are asked together, once it is answered."""
    begun, go = asyncio.Event(), asyncio.Event()

    async def first(fake, body):
        begun.set()
        await go.wait()
        return answer(fake, body)

    fake = FakeLLM(labels=labels, vllm=False)
    async with connect(fake) as client:
        await client.capabilities()
        before = len(fake.calls)
        fake.then(first)
        call = asyncio.create_task(log_odds(client, prompts(), NOBODY))
        await begun.wait()
        assert len(fake.calls) == before + 1
        go.set()
        _, usage = await call
    assert len(fake.calls) == before + 4
    assert usage.requests == 4


@pytest.mark.parametrize(
    "spoiled",
    [
        lambda right: right[:-1],
        lambda right: [*right, 0.5],
        lambda right: [math.nan] * len(right),
        lambda right: [math.inf] * len(right),
        lambda right: [1.5] * len(right),
        lambda right: [-0.1] * len(right),
        lambda right: [None] * len(right),
    ],
)
async def test_scores_that_are_no_probabilities_are_an_error(spoiled):
    """A missing or superfluous score, or one outside 0 to 1, never becomes an order."""
    healthy = True
    fake = FakeLLM(scores=lambda body: scores(body) if healthy else spoiled(scores(body)))
    async with connect(fake) as client:
        await client.capabilities()
        healthy = False
        with pytest.raises(LLMReplyInvalid):
            await log_odds(client, prompts(), NOBODY)


async def test_scores_of_another_model_are_an_error():
    """Whatever answers at the address must be the model that was asked."""
    fake = FakeLLM(scores=scores)
    async with connect(fake) as client:
        await client.label_ids(("Yes", "No"))

        def from_another(body):
            fake.model = "other"
            return scores(body)

        fake.scores = from_another
        with pytest.raises(LLMReplyInvalid, match="answered with other"):
            await log_odds(client, prompts(), NOBODY)


@pytest.mark.parametrize("certain", [0.0, 1.0])
async def test_certainty_has_finite_odds(certain):
    """A probability of exactly 0 or 1 is a large number, so that scores can be averaged and fused."""
    odds, _ = await asked(FakeLLM(scores=lambda body: [certain] * len(body["items"])), prompts())
    assert np.isfinite(odds).all()
    assert (np.sign(odds) == (1 if certain else -1)).all()


@pytest.mark.parametrize(("absent", "sign"), [("Yes", -1), ("No", 1)])
async def test_an_absent_answer_counts_as_less_likely_than_the_other(absent, sign):
    """Where only the most probable tokens are reported, one answer of the two is enough."""

    def one_only(body):
        return {name: -0.1 for name in ("Yes", "No") if name != absent} | {"x": -3.0}

    odds, _ = await asked(FakeLLM(labels=one_only, vllm=False), prompts())
    assert (np.sign(odds) == sign).all()
    assert np.isfinite(odds).all()


@pytest.mark.parametrize(
    "conversations",
    [
        prompts(shared=""),
        [[{"role": "system", "content": f"You are {i}."}, p[-1]] for i, p in enumerate(prompts())],
        prompts(["Dune"]),
    ],
    ids=["no shared beginning", "other system turns", "one alone"],
)
async def test_what_cannot_be_scored_together_is_asked_one_by_one(conversations):
    """Conversations without a shared beginning get the same odds, a request each."""
    fake = FakeLLM(scores=scores, labels=labels)
    odds, usage = await asked(fake, conversations)
    expected = [chance(c[-1]["content"]) for c in conversations]
    np.testing.assert_allclose(odds, [math.log(p / (1 - p)) for p in expected])
    assert usage.requests == len(conversations)


async def test_a_place_that_a_person_writes_does_not_move_the_cut():
    """The marker of where candidates begin may stand in a history or a title."""
    shared = "They liked CANDIDATE.\nWill they like this?\n"
    odds, usage = await asked(
        FakeLLM(scores=scores, labels=labels), prompts(["CANDIDATE Dune", "CANDIDATE Emma"], shared)
    )
    np.testing.assert_allclose(odds, [math.log(9), -math.log(4)])
    assert usage.requests == 2
