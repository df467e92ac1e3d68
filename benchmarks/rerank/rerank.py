"""The benchmark of reranking. Reads prepared data and a running model, produces figures for every strategy.

Quality is measured on many users, one shuffle each, with the response cache: a stopped run goes on where it was. Cost
is measured without the cache, each strategy on users of its own, so that none profits from another's prefix cache.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import Figure, figure
from benchmarks.rerank.consistency import consistency_figures
from benchmarks.rerank.cost import cost_figures
from eval.data import CHANCE_NDCG, FOLDS, RerankTask, Say, fitting_fold
from eval.fitting import fit_judge_weight, hybrid_scores
from eval.stats import mean
from eval.systems import CONCURRENT_USERS, JudgedTask, judge_tasks, single_shuffle, task_ndcg
from xdrec_agent.rerank import RerankContext
from xdrec_agent.settings import LLMSettings


@dataclass(frozen=True)
class Sizes:
    """How many users each part beside quality takes: one-user latency; saturation; shuffles (0 leaves it out)."""

    latency: int = 12
    saturation: int = 48
    shuffles: int = 24


async def bench_rerank(
    context: RerankContext,
    llm: LLMSettings,
    judges: Sequence[str],
    tasks: tuple[Sequence[RerankTask], Sequence[RerankTask]],
    sizes: Sizes,
    say: Say,
) -> list[Figure]:
    """Quality, cost and self-consistency of these judges with one model.

    Args:
        context: with a client that keeps replies.
        llm: settings for a client that does not.
        tasks: for quality, the first of them for consistency, too; and those of other people for cost, so that the
            server knows no prompt of theirs.
    """
    chosen, others = tasks
    rng = np.random.default_rng(0)
    model = context.model.endpoint.model
    judged = await judge_tasks(single_shuffle(context), judges, chosen, CONCURRENT_USERS, say)
    figures = quality_figures(judged, rng)
    if sizes.shuffles and "listwise-logprob" in judges:
        figures += await consistency_figures(context, chosen[: sizes.shuffles], say)
    figures += await cost_figures(single_shuffle(context), llm, judges, others, sizes.latency, sizes.saturation, say)
    return [f.model_copy(update={"name": f"{model}: {f.name}"}) for f in figures]


def quality_figures(judged: Mapping[str, Sequence[JudgedTask]], rng: np.random.Generator) -> list[Figure]:
    """nDCG@10 of each strategy with 95% intervals over users, beside chance and unseen-first."""
    tasks = [j.task for j in next(iter(judged.values()))]
    alone = np.array([task_ndcg(t.retrieval, t) for t in tasks])
    unseen = np.array([task_ndcg(t.unseen.astype(np.float64), t) for t in tasks])
    figures = [
        figure("chance, nDCG@10", CHANCE_NDCG, n=len(tasks)),
        _ndcg("unseen-first", unseen, tasks, rng),
        _ndcg("identity", alone, tasks, rng),
    ]
    for name, said in judged.items():
        failed = sum(j.judgement is None for j in said)
        left_out = sum(j.judgement.left_out for j in said if j.judgement is not None)
        figures.append(_ndcg(name, np.array([j.ndcg for j in said]), tasks, rng))
        figures.append(figure(f"{name}, degraded", failed / len(said), "share", len(said)))
        if failed == len(said):
            continue
        if left_out:
            answered = len(said) - failed
            figures.append(figure(f"{name}, candidates left out", left_out / answered, "of 20", answered))
        mixed, weights = _cross_fitted(said, rng)
        gain = mean(mixed - alone, [t.case.user for t in tasks], rng)
        note = f"gain over identity {gain.value:+.4f} {gain}; cross-fitted weights {weights}"
        figures.append(_ndcg(f"hybrid of {name}", mixed, tasks, rng, note, met=gain.high >= 0))
    return figures


def _cross_fitted(said: Sequence[JudgedTask], rng: np.random.Generator) -> tuple[NDArray[np.float64], str]:
    """nDCG@10 of `hybrid`, each user with the weight that users of the other parts gave."""
    found = np.empty(len(said))
    parts = [fitting_fold(j.task.case.user) for j in said]
    weights = []
    for part in range(FOLDS):
        weight = fit_judge_weight([j for j, own in zip(said, parts, strict=True) if own != part], rng).weight
        weights.append(weight)
        for at, j in enumerate(said):
            if parts[at] == part:
                scores = j.task.retrieval if j.judgement is None else hybrid_scores(j.task, j.judgement.scores, weight)
                found[at] = task_ndcg(scores, j.task)
    return found, "/".join(f"{w:.2f}" for w in weights)


def _ndcg(
    name: str,
    values: NDArray[np.float64],
    tasks: Sequence[RerankTask],
    rng: np.random.Generator,
    note: str = "",
    *,
    met: bool | None = None,
) -> Figure:
    found = mean(values, [t.case.user for t in tasks], rng)
    target = None if met is None else "not below identity"
    return figure(f"{name}, nDCG@10", found.value, "", len(values), f"{found}{note and f'; {note}'}", target, met)
