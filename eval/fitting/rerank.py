"""What a model's judgement is worth. Reads validation users' tasks and what a judge said, produces a `RerankFit`.

Each task has one truth item and 19 count-matched others. Retrieval scores and the judge's are standardised over the 20
and mixed; the weight with the best mean nDCG@10 is taken, if its paired gain over the retriever alone has a 95%
bootstrap interval (users as units) above zero. Otherwise the weight is 0: the model has not earned a say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eval.data import CHANCE_NDCG, TEST_FOLD, Dataset, RerankTask, Say, plan_cases, rerank_tasks
from eval.stats import Estimate, ScoredTask, calibrate, mean
from eval.systems import CONCURRENT_USERS, JudgedTask, judge_tasks, single_shuffle, task_ndcg
from xdrec_agent.llm import gathered
from xdrec_agent.rerank import TASK_OF, RerankContext, RerankFit, seed_of, shuffle_scores, shuffles, standardised

GRID: Final = np.linspace(0, 1, 21)

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class JudgeWeight:
    """The weight that was taken, the one that ranked best, and its gain over the retriever alone."""

    weight: float
    best: float
    gain: Estimate


def hybrid_scores(task: RerankTask, judge: Scores, weight: float) -> Scores:
    """The score of `hybrid`."""
    return (1 - weight) * standardised(task.retrieval) + weight * standardised(judge)


def fit_judge_weight(judged: Sequence[JudgedTask], rng: np.random.Generator) -> JudgeWeight:
    """The judge's weight on these users; tasks on which it failed do not count."""
    said = [(j.task, j.judgement.scores) for j in judged if j.judgement is not None]
    by_weight = {float(w): np.array([task_ndcg(hybrid_scores(t, s, float(w)), t) for t, s in said]) for w in GRID}
    best = max(by_weight, key=lambda w: (by_weight[w].mean(), -w))
    gain = mean(by_weight[best] - by_weight[0.0], [task.case.user for task, _ in said], rng)
    return JudgeWeight(best if gain.low > 0 else 0.0, best, gain)


async def fit_judges(
    context: RerankContext, data: Dataset, judges: Sequence[str], users: int, how: str, say: Say
) -> tuple[RerankFit, ...]:
    """Fit judges on at most `users` validation users, one case and one shuffle each.

    They are those whom the models have not met; if nobody was met, of all folds but the one that is kept for testing.

    Raises:
        LLMError: all failed.
    """
    once = single_shuffle(context)
    chosen = rerank_tasks(plan_cases(data), users, leave_out=() if data.training_users else (TEST_FOLD,))
    bias = np.empty(0)
    if "listwise-logprob" in judges:
        say("position bias: one shuffle a user")
        bias = await position_bias_of(once, chosen)
    once = replace(once, bias=bias)
    judged = await judge_tasks(once, judges, chosen, CONCURRENT_USERS, say)
    rng = np.random.default_rng(0)
    whom = "whom a model learnt from" if data.training_users else f"of fold {TEST_FOLD}"
    provenance = f"{how}; people {whom} left out"
    return tuple(
        fit_rerank(once, judge, said, bias if judge == "listwise-logprob" else np.empty(0), provenance, rng)
        for judge, said in judged.items()
    )


def fit_rerank(
    context: RerankContext, judge: str, judged: Sequence[JudgedTask], bias: Scores, how: str, rng: np.random.Generator
) -> RerankFit:
    """Fit on validation users' judgements.

    Args:
        bias: the labels' favour by place (`position_bias`); empty for judges without labels.
        how: the command and who was left out, for the provenance.
    """
    said = [(j.task, j.judgement.scores) for j in judged if j.judgement is not None]
    found = fit_judge_weight(judged, rng)
    return RerankFit(
        model=context.model.endpoint.model,
        template_fingerprint=context.templates[TASK_OF[judge]].fingerprint,
        judge=judge,
        weight=found.weight,
        position_bias=tuple(np.round(bias, 4).tolist()),
        hybrid=calibrate([ScoredTask(hybrid_scores(t, s, found.weight), t.truth) for t, s in said]),
        alone=calibrate([ScoredTask(s, t.truth) for t, s in said]),
        users=len(said),
        shuffles=context.settings.max_shuffles,
        ndcg_retrieval=float(np.mean([task_ndcg(t.retrieval, t) for t, _ in said])),
        ndcg_alone=float(np.mean([task_ndcg(s, t) for t, s in said])),
        ndcg_hybrid=float(np.mean([task_ndcg(hybrid_scores(t, s, found.weight), t) for t, s in said])),
        chance=CHANCE_NDCG,
        provenance=f"{how}; best weight {found.best:.2f}, gain {found.gain}",
    )


async def position_bias_of(context: RerankContext, chosen: Sequence[RerankTask]) -> Scores:
    """What each place is favoured by: mean log-probability over tasks, less its mean over places, in nats.

    Each task's first shuffle is looked at, which is in random order, so that items play no part. With the response
    cache listwise-logprob need not ask for it again.
    """

    async def first(task: RerankTask) -> Scores:
        candidates = task.ranking.candidates
        order = shuffles(len(candidates), 1, seed_of(task.query, context.settings.seed))[0]
        return (await shuffle_scores(context, task.query, candidates, order))[0]

    found = np.mean(await gathered(first(task) for task in chosen), axis=0)
    return np.asarray(found - found.mean())
