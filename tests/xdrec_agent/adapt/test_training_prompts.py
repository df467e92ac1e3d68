"""Promises of the prompts that adapters learn from, and of what is computed from them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from fake_llm import FakeLLM

from retrieval.templates import load_template
from retrieval.types import Candidate
from xdrec_agent.adapt import LoraSettings, open_llm_for_training
from xdrec_agent.adapt.list_task import label_logits, listwise_loss, ndcg_and_accuracy
from xdrec_agent.adapt.prompts import ListwisePrompts, PointwisePrompts
from xdrec_agent.adapt.training_lists import ListSettings, catalogues, draw_group, training_cases
from xdrec_agent.llm import LLMClient
from xdrec_agent.models import load_tokenizer
from xdrec_agent.rerank import RerankContext, shuffle_scores
from xdrec_agent.rerank.judges import pointwise_logprob
from xdrec_agent.settings import LLMSettings, RerankSettings

HISTORY = 4


@pytest.fixture(scope="module")
def prompts(base):
    return ListwisePrompts(load_tokenizer(base), load_template("rerank"), HISTORY)


@pytest.fixture(scope="module")
def judge_prompts(base):
    return PointwisePrompts(load_tokenizer(base), load_template("judge"), HISTORY)


@pytest.fixture(scope="module")
def groups(store):
    cases, touched = training_cases(store, store.users(), [("films", "books")])
    catalogue, rng = catalogues(store, touched)["books"], np.random.default_rng(0)
    shape = ListSettings(fewest=5, most=8, positives=1, lists=3, history=HISTORY)
    return [draw_group(case, catalogue, shape, rng) for case in cases[:12]]


@pytest.fixture(scope="module")
def model(base):
    return open_llm_for_training(base, LoraSettings(rank=4), device="cpu")


async def test_the_prompt_is_the_rerankers_byte_for_byte(prompts, groups):
    """What the reranker sends about these candidates is what is learnt from, and nothing else."""
    fake = FakeLLM()
    async with LLMClient(fake.endpoint(), LLMSettings(attempts=1), http_client=fake.http_client()) as client:
        context = RerankContext(RerankSettings(max_history=HISTORY), {"rerank": prompts.template}, client)
        for group in groups:
            for drawn, chat in zip(group.lists, prompts.chats(group), strict=True):
                candidates = [Candidate(item=item, score=0) for item in drawn.candidates]
                await shuffle_scores(context, group.query, candidates, np.arange(len(candidates)))
                assert fake.calls[-1]["messages"] == chat


def test_prefix_and_rest_are_the_prompts_tokens(prompts, groups):
    """Nothing is lost or doubled where a group's prompts are cut."""
    tokenizer = prompts._tokenizer
    assert max(len(group.lists) for group in groups) > 1
    for group in groups:
        cut = prompts.tokens(group)
        for chat, rest in zip(prompts.chats(group), cut.rests, strict=True):
            text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
            assert list(cut.prefix + rest) == tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("kind", ["prompts", "judge_prompts"])
def test_logits_are_those_of_the_whole_prompts(kind, groups, model, request):
    """Sharing the beginning, packing, padding and projecting the last position only change nothing."""
    import torch

    written = request.getfixturevalue(kind)
    cut = [written.tokens(group) for group in groups]
    with torch.no_grad():
        found = label_logits(model, cut, written.label_ids)
        for some, group in zip(found, cut, strict=True):
            assert some.shape == (len(group.rests), len(written.label_ids))
            for row, rest in zip(some, group.rests, strict=True):
                logits = model.peft_model(input_ids=torch.tensor([group.prefix + rest])).logits[0, -1]
                assert torch.allclose(row, logits[list(written.label_ids)], atol=1e-4)


async def test_the_prompt_about_one_candidate_is_the_judges(judge_prompts, groups):
    """What `pointwise-logprob` sends about each candidate is what is learnt from, in the order of the lists."""
    fake = FakeLLM()
    tokenizer = judge_prompts._tokenizer
    async with LLMClient(fake.endpoint(), LLMSettings(attempts=1), http_client=fake.http_client()) as client:
        context = RerankContext(RerankSettings(max_history=HISTORY), {"judge": judge_prompts.template}, client)
        for group in groups:
            cut = judge_prompts.tokens(group)
            items = [item for drawn in group.lists for item in drawn.candidates]
            assert len(cut.rests) == len(items) == len(group.lists) * cut.size
            for item, rest in zip(items, cut.rests, strict=True):
                await pointwise_logprob(context, group.query, [Candidate(item=item, score=0)])
                sent = fake.calls[-1]["messages"]
                text = tokenizer.apply_chat_template(sent, tokenize=False, add_generation_prompt=True)
                assert list(cut.prefix + rest) == tokenizer(text, add_special_tokens=False)["input_ids"]


def test_the_score_of_a_candidate_is_the_log_odds_of_yes(judge_prompts, groups):
    """A row for each list, a column for each candidate."""
    import torch

    group = next(some for some in map(judge_prompts.tokens, groups) if len(some.positives) > 1)
    logits = torch.arange(2.0 * len(group.rests)).reshape(-1, 2) ** 2
    scores = judge_prompts.scores(logits, group)
    assert scores.shape == (len(group.positives), group.size)
    assert float(scores[1, 2]) == float(logits[group.size + 2, 0] - logits[group.size + 2, 1])


def test_the_loss_of_one_liked_item_is_cross_entropy_and_several_do_not_compete():
    """Equal scores cost log n; a second liked item in place of a negative makes the first one's task easier."""
    import torch

    assert float(listwise_loss(torch.zeros(1, 5), [[2]])) == pytest.approx(math.log(5))
    scores = torch.tensor([[2.0, 2.0, 0.0, 0.0]])
    rivals = float(torch.nn.functional.cross_entropy(scores, torch.tensor([0])))
    assert float(listwise_loss(scores, [[0, 1]])) == pytest.approx(math.log(1 + 2 * math.exp(-2)))
    assert float(listwise_loss(scores, [[0, 1]])) < rivals


def test_ties_count_as_expectations():
    """A model that cannot tell candidates apart has exactly chance, wherever the truth stands."""
    import torch

    chance = sum(1 / math.log2(place + 2) for place in range(10)) / 20
    assert ndcg_and_accuracy(torch.zeros(20), 7) == (pytest.approx(chance), pytest.approx(1 / 20))
    assert ndcg_and_accuracy(torch.arange(20.0), 19) == (1.0, 1.0)
    assert ndcg_and_accuracy(torch.arange(20.0), 0) == (0.0, 0.0)
