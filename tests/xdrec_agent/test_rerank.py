"""Promises of reranking, tested against a fake at the transport."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace

import fake_llm
import httpx2
import numpy as np
import pytest
from fake_llm import FakeLLM
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.errors import DataError
from retrieval.templates import load_template
from retrieval.types import Candidate, History, HistoryEntry, Item, Query, Ranking
from xdrec_agent.errors import LLMError
from xdrec_agent.llm import LLMClient
from xdrec_agent.rerank import (
    JUDGES,
    LABELS,
    RERANKERS,
    RerankContext,
    fit_of,
    rerank_fits,
    save_fits,
    seed_of,
    shuffles,
    standardised,
    weight_of,
)
from xdrec_agent.rerank.fits import position_bias
from xdrec_agent.settings import LLMSettings, RerankSettings

LIKED = HistoryEntry(item=Item(domain="films", id="alien", title="Alien", creators=("Ridley Scott",)))
QUERY = Query(history=History(user="u", entries=(LIKED,)), target="books")


def retrieved(n):
    """n candidates, best first, titled "Book 0" …"""
    books = [Item(domain="books", id=f"b{i}", title=f"Book {i}") for i in range(n)]
    return Ranking(
        candidates=tuple(Candidate(item=b, score=1 - i / 100) for i, b in enumerate(books)), source="retrieval"
    )


def shown(body):
    """Label → title, as the prompt of a request shows the candidates; empty for the client's probes."""
    text = "\n".join(message["content"] for message in body["messages"])
    return dict(re.findall(r"^\[(\w)\] (Book \d+)", text, re.M))


def prefers(title):
    """A model that likes one title, wherever it stands."""
    return lambda body: {label: -0.1 if t == title else -5.0 for label, t in shown(body).items()} | {"?": -9.0}


async def no_nap(_seconds):
    """Retries at once."""


TEMPLATES = {task: load_template(task) for task in ("rerank", "judge")}


async def reranked(fake, ranking, strategy="listwise-logprob", query=QUERY, **options):
    client = LLMClient(fake.endpoint(), LLMSettings(attempts=2), http_client=fake.http_client(), sleep=no_nap)
    if shown := options.pop("shuffles", None):
        options |= {"min_shuffles": shown, "max_shuffles": shown}
    async with client:
        context = RerankContext(RerankSettings(strategy=strategy, **options), TEMPLATES, client)
        return await RERANKERS[strategy](context, query, ranking)


async def rerank(fake, ranking, strategy="listwise-logprob", query=QUERY, **options):
    """The order and its cost."""
    found = await reranked(fake, ranking, strategy, query, **options)
    return found.ranking, found.usage


async def test_the_preferred_candidate_comes_first_wherever_it_stood():
    """The order is that of the labels' log-probabilities, whichever label a shuffle gave to a candidate."""
    ranking, usage = await rerank(FakeLLM(labels=prefers("Book 7")), retrieved(12), shuffles=4)
    assert ranking.ids[0] == "b7"
    assert ranking.source == "listwise-logprob"
    assert usage.requests == 4


async def test_a_homes_fits_go_before_the_shipped_ones(tmp_path):
    """By model, template and judge; the home's position bias is taken off, and its weight is that of `hybrid`."""
    async with LLMClient(FakeLLM().endpoint(), LLMSettings()) as client:
        context = RerankContext(RerankSettings(), TEMPLATES, client)
        assert (fit_of(context, "listwise-logprob"), weight_of(context)) == (None, 0)
        first = rerank_fits()[0]
        mine = first.model_copy(
            update={
                "model": client.endpoint.model,
                "template_fingerprint": TEMPLATES["rerank"].fingerprint,
                "judge": "listwise-logprob",
                "weight": 0.25,
                "position_bias": (3.0, 1.0, 0.0),
            }
        )
        file = save_fits([mine, first.model_copy(update={"users": 1})], tmp_path / "fits")
        fits = rerank_fits(tmp_path / "fits")
        context = replace(context, fits=fits)
        assert (fit_of(context, "listwise-logprob"), weight_of(context)) == (mine, 0.25)
    assert position_bias(mine, 2).tolist() == [1, -1]
    assert position_bias(mine, 4).tolist() == [0, 0, 0, 0]
    assert [fit.users for fit in fits if fit.key == first.key] == [1]
    assert len(fits) == len(rerank_fits()) + 1
    file.write_text("{}}")
    with pytest.raises(DataError, match="cannot be read") as damaged:
        rerank_fits(tmp_path / "fits")
    assert "xdrec-eval fit rerank --write" in damaged.value.hint


async def test_one_request_a_shuffle_generates_a_single_token():
    """A ranking costs one prefill: max_tokens 1, all labels named, nothing after the question."""
    fake = FakeLLM()
    await rerank(fake, retrieved(20), shuffles=1)
    (body,) = [call for call in fake.calls if "logprob_token_ids" in call and len(call["logprob_token_ids"]) == 20]
    assert body["max_tokens"] == 1
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert set(shown(body)) == set(LABELS[:20])


async def test_history_comes_before_candidates_and_is_shared_by_all_shuffles():
    """What shuffles share is a prefix of their prompts, so that a server's prefix cache serves it."""
    fake = FakeLLM()
    await rerank(fake, retrieved(6), shuffles=4)
    prompts = [c["messages"][1]["content"] for c in fake.calls if len(c.get("logprob_token_ids", ())) == 6]
    heads = {prompt.split("[A]")[0] for prompt in prompts}
    assert len(prompts) == 4
    assert len(heads) == 1
    assert "Alien" in heads.pop()


async def test_hybrid_with_weight_zero_asks_nobody():
    """A model without a say costs nothing and the retriever's order stands."""
    fake = FakeLLM(labels=prefers("Book 3"))
    ranking, usage = await rerank(fake, retrieved(5), "hybrid", weight=0.0)
    assert ranking.ids == retrieved(5).ids
    assert usage.requests == 0
    assert not fake.calls


async def test_hybrid_moves_from_the_retriever_to_the_model_with_its_weight():
    """Weight 1 is the model alone; a small weight keeps the retriever's first."""
    fake = FakeLLM(labels=prefers("Book 4"))
    model, _ = await rerank(fake, retrieved(5), "hybrid", weight=1.0)
    mixed, _ = await rerank(fake, retrieved(5), "hybrid", weight=0.05)
    assert model.ids[0] == "b4"
    assert mixed.ids[0] == "b0"


async def test_candidates_beyond_those_shown_stay_below_in_their_order():
    """Only the head is reranked; the tail is neither lost nor moved."""
    ranking, _ = await rerank(FakeLLM(labels=prefers("Book 3")), retrieved(10), candidates=4)
    assert ranking.ids[0] == "b3"
    assert ranking.ids[4:] == tuple(f"b{i}" for i in range(4, 10))


async def test_a_failing_model_raises_and_never_ranks():
    """An outage is an error of the tree, not an order."""
    fake = FakeLLM()
    fake.then(*[lambda *_: fake_llm.refusal(500, "broken")] * 40)
    with pytest.raises(LLMError):
        await rerank(fake, retrieved(5))


STRATEGIES = [*RERANKERS, *(f"hybrid of {judge}" for judge in JUDGES)]


def random_model(seed):
    """Log-probabilities, yes-no scores and permutations as a model without sense would give them."""
    rng = np.random.default_rng(seed)

    def labels(body):
        return {label: float(-rng.exponential(5)) for label in (*shown(body), "Y", "N")} | {"?": -1.0}

    def text(body):
        named = rng.choice(list(shown(body)) or ["A"], size=max(1, len(shown(body))))
        return json.dumps({"order": " > ".join(f"[{label}]" for label in named)})

    return FakeLLM(labels=labels, text=text, scores=lambda body: rng.random(len(body["items"])).tolist())


def options_of(name):
    """The strategy and settings that a name of `STRATEGIES` stands for."""
    strategy, _, judge = name.partition(" of ")
    return strategy, ({"judge": judge, "weight": 0.5} if judge else {})


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(STRATEGIES),
    n=st.integers(1, 60),
    seed=st.integers(0, 2**32),
    window=st.integers(10, 52),
    scheme=st.sampled_from(["windows", "tournament"]),
    candidates=st.integers(1, 80),
)
def test_any_strategy_gives_a_permutation(name, n, seed, window, scheme, candidates):
    """For any number of candidates, any window and whatever the model thinks."""
    strategy, options = options_of(name)
    options |= {"window": window, "scheme": scheme, "candidates": candidates, "max_shuffles": 2}
    ranking, _ = asyncio.run(rerank(random_model(seed), retrieved(n), strategy, seed=seed % 1000, **options))
    assert sorted(ranking.ids) == sorted(retrieved(n).ids)
    assert strategy in {ranking.source, "identity"}
    assert ranking.ids[candidates:] == retrieved(n).ids[candidates:]


@settings(max_examples=30, deadline=None)
@given(
    name=st.sampled_from([s for s in STRATEGIES if s not in {"identity", "hybrid"}]), garbage=st.binary(max_size=200)
)
def test_garbage_from_the_server_is_an_error_not_a_ranking(name, garbage):
    """Whatever bytes come back, the result is an LLMError."""
    fake = FakeLLM()
    fake.then(*[lambda *_: httpx2.Response(200, content=garbage)] * 40)
    strategy, options = options_of(name)
    with pytest.raises(LLMError):
        asyncio.run(rerank(fake, retrieved(5), strategy, **options))


def steady(body):
    """Prefers by the label and a little by the title, always the same."""
    likes = {label: -float(ord(label) % 7) - 0.01 * len(t) for label, t in shown(body).items()}
    return likes | {"Y": -0.1 * (len(str(body["messages"])) % 7), "N": -1.0, "?": -9.0}


@pytest.mark.parametrize("name", STRATEGIES)
async def test_the_same_seed_gives_the_same_ranking_and_concurrency_does_not_change_it(name):
    """Shuffles are derived from the person and the seed alone."""

    def scores(body):
        return [len(item) % 7 / 7 for item in body["items"]]

    def text(body):
        return json.dumps(
            {"order": " > ".join(f"[{label}]" for label in sorted(shown(body), key=lambda x: ord(x) % 5))}
        )

    strategy, options = options_of(name)

    async def run():
        fake = FakeLLM(labels=steady, scores=scores, text=text)
        return (await rerank(fake, retrieved(33), strategy, seed=4, candidates=33, **options))[0].ids

    one = await run()
    assert set(await asyncio.gather(*(run() for _ in range(4)))) == {one}


async def test_more_shuffles_are_drawn_only_while_they_agree_on_something_unsettled():
    """A sure model needs two; one that only likes places gets a few more, and tau says that it knows nothing."""
    sure = await reranked(FakeLLM(labels=ranks_by_title), retrieved(20))
    biased = await reranked(FakeLLM(labels=likes_places), retrieved(20))
    assert sure.shuffles == 2
    assert 4 <= biased.shuffles < 8
    assert sure.tau == 1
    assert abs(biased.tau) < 0.5
    assert sure.usage.requests == 2


def ranks_by_title(body):
    """A model that knows what it wants: a higher number is better."""
    return {label: float(title.split()[1]) - 30 for label, title in shown(body).items()} | {"?": -50.0}


def likes_places(body):
    """A model that looks at labels only, without any order in them."""
    return {label: -float(ord(label) * 7919 % 101) / 10 for label in shown(body)} | {"?": -50.0}


async def test_a_measured_position_bias_is_taken_off_a_single_shuffle():
    """A model that loves its first labels far more than any book still gets its favourite book to the top."""
    favour = -1.5 * np.arange(20)

    def labels(body):
        books = shown(body)
        return {label: favour[LABELS.index(label)] + 0.5 * (t == "Book 13") for label, t in books.items()} | {
            "?": -60.0
        }

    fake = FakeLLM(labels=labels)
    client = LLMClient(fake.endpoint(), LLMSettings(attempts=1), http_client=fake.http_client(), sleep=no_nap)
    async with client:
        context = RerankContext(RerankSettings(max_shuffles=1), TEMPLATES, client)
        biased = await JUDGES["listwise-logprob"](context, QUERY, retrieved(20).candidates)
        freed = await JUDGES["listwise-logprob"](replace(context, bias=favour), QUERY, retrieved(20).candidates)
    assert np.argmax(biased.scores) != 13
    assert np.argmax(freed.scores) == 13


async def test_borda_counts_places_and_not_margins():
    """A single shuffle that is very sure cannot overrule the others."""
    calls = []

    def labels(body):
        calls.append(body)
        books = shown(body)
        wild = len([c for c in calls if shown(c)]) == 1
        favourite = "Book 0" if wild else "Book 4"
        return {label: (-0.01 if t == favourite else -90.0 if wild else -3.0) for label, t in books.items()} | {
            "?": -99.0
        }

    mean, _ = await rerank(FakeLLM(labels=labels), retrieved(5), shuffles=4)
    calls.clear()
    borda, _ = await rerank(FakeLLM(labels=labels), retrieved(5), shuffles=4, aggregate="borda")
    assert mean.ids[0] == "b0"
    assert borda.ids[0] == "b4"


async def test_what_a_written_permutation_leaves_out_is_counted():
    """A model that names one label three times has ranked one candidate; the others follow in the retriever's order."""
    fake = FakeLLM(text=lambda body: json.dumps({"order": "[B] > [B] > [B]"}))
    found = await reranked(fake, retrieved(3), "listwise-generate")
    label_b = next(t for c in fake.calls for label, t in shown(c).items() if label == "B")
    assert found.left_out == 2
    assert found.ranking.ids == tuple(sorted(["b0", "b1", "b2"], key=lambda i: i != f"b{label_b.split()[1]}"))


@given(n=st.integers(1, 40), count=st.integers(1, 9), seed=st.integers(0, 1000))
def test_every_second_shuffle_mirrors_the_one_before(n, count, seed):
    """A linear position bias cancels within a pair: the two places of a candidate always sum to n - 1."""
    orders = shuffles(n, count, seed)
    assert len(orders) == count
    for order in orders:
        assert sorted(order) == list(range(n))
    for first, second in zip(orders[::2], orders[1::2], strict=False):
        assert np.all(np.argsort(first) + np.argsort(second) == n - 1)


def test_seeds_differ_between_people_and_not_between_runs():
    """One person's shuffles do not depend on who was served before."""
    other = QUERY.model_copy(update={"history": History(user="v", entries=(LIKED,))})
    assert seed_of(QUERY, 0) == seed_of(QUERY, 0)
    assert seed_of(QUERY, 0) != seed_of(other, 0)
    assert seed_of(QUERY, 0) != seed_of(QUERY, 1)


def test_equal_scores_standardise_to_zero():
    """A model that says the same of all has no influence, and nothing is divided by zero."""
    assert standardised(np.full(4, 3.0)).tolist() == [0, 0, 0, 0]
    assert np.isclose(standardised(np.array([1.0, 2.0, 4.0])).std(), 1)
