"""A run of a reranking strategy. Reads tasks and settings, produces the cases of a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter

import numpy as np

from eval.data import RerankTask, Say
from eval.runs.folder import CaseResult, RunFolder
from eval.stats import TiedRanks, ndcg, recall, reciprocal_rank, reference_scores, tied_ranks
from eval.systems import run_concurrently
from retrieval.types import Ranking
from xdrec_agent.errors import LLMError
from xdrec_agent.llm import Usage
from xdrec_agent.rerank import RERANKERS, RerankContext


async def run_rerank(
    folder: RunFolder, context: RerankContext, tasks: Sequence[RerankTask], repeats: int, at_once: int, say: Say
) -> None:
    """Rerank every task that the folder has not got, `repeats` times with other seeds, and keep the mean.

    A strategy whose model fails gives what its user would get: the retriever's order, marked.
    """
    done = {result.key for result in folder.results()}
    left = [task for task in tasks if (task.case.user, task.case.source, task.query.target) not in done]

    async def one(task: RerankTask) -> None:
        folder.append(await rerank_case(context, task, repeats))

    await run_concurrently(left, one, folder.manifest.name, say, at_once)


async def rerank_case(context: RerankContext, task: RerankTask, repeats: int) -> CaseResult:
    """One case."""
    began = perf_counter()
    metrics, usage, reason = [], Usage(), None
    ranking: Ranking = task.ranking
    for repeat in range(repeats):
        settings = context.settings.model_copy(update={"seed": context.settings.seed + repeat})
        try:
            found = await RERANKERS[settings.strategy](replace(context, settings=settings), task.query, task.ranking)
        except LLMError as exc:
            ranking, reason = task.ranking, str(exc)
        else:
            ranking, usage = found.ranking, usage + found.usage
        metrics.append(_metrics(ranking, task))
    case = task.case
    return CaseResult(
        user=case.user,
        source=case.source,
        target=case.target,
        slices=task.slices,
        ranking=ranking.ids,
        metrics={name: float(np.mean([m[name] for m in metrics])) for name in metrics[0]},
        references=reference_metrics(task),
        seconds=perf_counter() - began,
        usage=usage,
        degraded=reason is not None,
        reason=reason,
    )


def _metrics(ranking: Ranking, task: RerankTask) -> dict[str, float]:
    scores = -np.arange(len(ranking.ids), dtype=np.float64)
    return rerank_metrics(tied_ranks(scores, np.array([ranking.ids.index(task.truth_id)])))


def reference_metrics(task: RerankTask) -> dict[str, dict[str, float]]:
    """What rules that know nobody's taste would get."""
    truth = np.array([task.truth])
    return {name: rerank_metrics(tied_ranks(blind, truth)) for name, blind in reference_scores(task.counts).items()}


def rerank_metrics(at: TiedRanks) -> dict[str, float]:
    """What rankings of given candidates, one of them the truth, are measured by."""
    return {"ndcg@10": ndcg(at, 10), "mrr": reciprocal_rank(at), "hit@1": recall(at, 1), "hit@5": recall(at, 5)}
