"""Promises of what is fitted for a model's judgement, and of the benchmark that shows it."""

from __future__ import annotations

import re

import numpy as np
import pytest
from fake_llm import FakeLLM

from benchmarks.rerank.consistency import consistency_figures
from benchmarks.rerank.rerank import quality_figures
from eval.data import FOLDS, TEST_FOLD, Case, RerankTask, fold
from eval.fitting import fit_judge_weight, hybrid_scores
from eval.fitting.rerank import fit_rerank, position_bias_of
from eval.stats import ScoredTask, calibrate
from eval.stats.calibration import expected_error
from eval.systems import JudgedTask, judge_tasks, task_ndcg
from retrieval.templates import load_template
from retrieval.types import Candidate, History, HistoryEntry, Item, Query, Ranking
from xdrec_agent.llm import LLMClient, Usage
from xdrec_agent.rerank import Calibration, Judgement, RerankContext, rerank_fits, save_fits
from xdrec_agent.settings import LLMSettings, RerankSettings

RNG = np.random.default_rng(0)
TEMPLATES = {task: load_template(task) for task in ("rerank", "judge")}


def task(user, scores, truth):
    """A user whose candidates the retriever scored like this, best first."""
    items = [Item(domain="books", id=f"b{i}", title=f"Book {i}") for i in range(len(scores))]
    history = History(user=user, entries=(HistoryEntry(item=Item(domain="films", id="f", title="Film")),))
    ranking = tuple(Candidate(item=i, score=float(s)) for i, s in zip(items, scores, strict=True))
    case = Case(user, "films", "books", history, (f"b{truth}",), 0)
    return RerankTask(
        case=case,
        query=Query(history=history, target="books"),
        ranking=Ranking(candidates=ranking, source="retrieval"),
        truth=truth,
        counts=np.ones(len(scores), dtype=np.int64),
    )


def people(n, knows, rng):
    """n users whose judge scores the truth `knows` deviations above the others."""
    judged = []
    for user in range(n):
        one = task(str(user), -np.sort(rng.standard_normal(20)), int(rng.integers(20)))
        scores = rng.standard_normal(20)
        scores[one.truth] += knows
        judged.append(JudgedTask(one, Judgement(scores, Usage()), 0.1))
    return judged


async def client_of(fake):
    return LLMClient(fake.endpoint(), LLMSettings(attempts=1), http_client=fake.http_client())


def quiet(_line):
    """Nobody listens."""


def test_a_judge_that_knows_something_gets_a_weight_and_one_that_guesses_gets_none():
    """The gain's interval must lie above zero, not the gain alone."""
    rng = np.random.default_rng(1)
    assert fit_judge_weight(people(150, 2.0, rng), rng).weight > 0.3
    assert fit_judge_weight(people(150, 0.0, rng), rng).weight == 0


def test_the_mixture_moves_from_one_score_to_the_other():
    """Weight 0 is the retriever's nDCG, weight 1 the judge's."""
    one = task("1", np.linspace(1, 0, 20), 0)
    down = np.linspace(0, 1, 20)
    assert task_ndcg(hybrid_scores(one, down, 0.0), one) == 1
    assert task_ndcg(hybrid_scores(one, down, 1.0), one) == 0


def test_confidence_rises_with_the_score_and_is_what_happens():
    """On users it was not fitted on, confidence and share differ by little; the share never falls as scores rise."""
    rng = np.random.default_rng(2)
    scored = [ScoredTask(j.judgement.scores, j.task.truth) for j in people(600, 2.0, rng)]
    found = calibrate(scored[:400])
    assert list(found.shares) == sorted(found.shares)
    assert expected_error(found, scored[400:]) < 0.03
    assert found.error < 0.03
    assert found.of(np.array([3.0]))[0] > 0.3 > found.of(np.array([-2.0]))[0]
    assert found.tells_apart(3.0)


def test_scores_that_say_nothing_are_not_told_apart_from_chance():
    """All confidences lie near one in twenty, and "not enough evidence" is the answer."""
    rng = np.random.default_rng(3)
    found = calibrate([ScoredTask(j.judgement.scores, j.task.truth) for j in people(400, 0.0, rng)])
    assert np.allclose(found.shares, 0.05, atol=0.03)
    assert not found.tells_apart(2.5)


def test_a_score_below_all_that_were_seen_has_the_least_confidence():
    """The steps reach to both sides without end."""
    steps = Calibration(candidates=20, scores=(-1.0, 1.0), shares=(0.02, 0.2), lows=(0.01, 0.1), error=0.0)
    assert steps.of(np.array([-9.0, 0.0, 1.0, 9.0])).tolist() == [0.02, 0.02, 0.2, 0.2]


def shown(body):
    text = "\n".join(message["content"] for message in body["messages"])
    return re.findall(r"^\[(\w)\] Book", text, re.M)


async def test_the_labels_favour_by_place_is_found():
    """A model that looks at places only shows exactly its favours, with mean zero."""
    favour = {label: -0.3 * i for i, label in enumerate("ABCDEFGHIJKLMNOPQRST")}
    fake = FakeLLM(labels=lambda body: {label: favour[label] for label in shown(body)} | {"?": -20.0})
    async with await client_of(fake) as client:
        context = RerankContext(RerankSettings(), TEMPLATES, client)
        found = await position_bias_of(context, [task(str(u), np.linspace(1, 0, 20), 3) for u in range(3)])
    assert found == pytest.approx(np.linspace(2.85, -2.85, 20))


async def test_a_fit_says_what_it_was_made_from_and_can_be_read_back(tmp_path):
    """The file's model, template, users and command are in it."""
    fake = FakeLLM()
    async with await client_of(fake) as client:
        context = RerankContext(RerankSettings(max_shuffles=1), TEMPLATES, client)
        fit = fit_rerank(context, "pointwise-logprob", people(60, 3.0, RNG), np.empty(0), "the command", RNG)
    assert fit.template_fingerprint == TEMPLATES["judge"].fingerprint
    assert (fit.users, fit.judge, fit.position_bias) == (60, "pointwise-logprob", ())
    assert fit.ndcg_hybrid >= fit.ndcg_retrieval
    assert fit.provenance.startswith("the command; best weight")
    save_fits([fit], tmp_path)
    assert fit in rerank_fits(tmp_path)


async def test_a_judge_that_fails_leaves_the_retrievers_order_and_counts_as_degraded():
    """A failure neither stops the benchmark nor is left out of it."""
    fake = FakeLLM(vllm=False, labels=lambda body: {"?": -1.0})
    async with await client_of(fake) as client:
        context = RerankContext(RerankSettings(max_shuffles=1), TEMPLATES, client)
        tasks = [task(str(u), np.linspace(1, 0, 20), 0) for u in range(6)]
        judged = await judge_tasks(context, ["pointwise-logprob"], tasks, 2, quiet)
    figures = {f.name: f.value for f in quality_figures(judged, np.random.default_rng(0))}
    assert figures["pointwise-logprob, degraded"] == 1
    assert figures["pointwise-logprob, nDCG@10"] == figures["identity, nDCG@10"] == 1


def test_the_weight_of_hybrid_comes_from_others():
    """Cross-fitted over parts of the people, also where all are of the one fold that a model has not met."""
    strangers = [judged for judged in people(2000, 3.0, RNG) if fold(judged.task.case.user, FOLDS) == TEST_FOLD]
    figures = {f.name: f for f in quality_figures({"pointwise-logprob": strangers}, np.random.default_rng(0))}
    mixed = figures["hybrid of pointwise-logprob, nDCG@10"]
    assert mixed.value > figures["identity, nDCG@10"].value + 0.3
    assert "0.00" not in mixed.note.split("weights")[1]


async def test_a_sure_model_needs_fewer_shuffles_than_eight_at_the_same_agreement():
    """Where all shuffles agree two are enough, and they agree with the consensus."""

    def labels(body):
        text = "\n".join(message["content"] for message in body["messages"])
        return {label: -float(n) for label, n in re.findall(r"^\[(\w)\] Book (\d+)", text, re.M)} | {"?": -50.0}

    async with await client_of(FakeLLM(labels=labels)) as client:
        context = RerankContext(RerankSettings(), TEMPLATES, client)
        tasks = [task(str(u), np.linspace(1, 0, 20), 0) for u in range(3)]
        figures = {f.name: f for f in await consistency_figures(context, tasks, quiet)}
    assert figures["stopping rule, saved"].value == 0.75
    assert figures["stopping rule, top-5 agreement"].value == 1
    assert figures["tau between single shuffles"].value == 1
