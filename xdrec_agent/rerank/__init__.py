"""Reranking. Reads a query and the retriever's ranking, produces a permutation of it.

A strategy is a coroutine of the table `RERANKERS`. What a model thinks of candidates is a `Judgement`, and a judge of
the table `JUDGES` gives one: by log-probabilities of labels over shuffles (`listwise`), by log-odds of yes
(`pointwise`), or by a permutation written as text (`generate`).
"""

from xdrec_agent.rerank.context import Judgement, RerankContext, Reranked, Reranker
from xdrec_agent.rerank.strategies import JUDGES, RERANKERS, TASK_OF, asked_judge, fit_of, judge_of, task_of, weight_of

__all__ = [
    "JUDGES",
    "RERANKERS",
    "TASK_OF",
    "Judgement",
    "RerankContext",
    "Reranked",
    "Reranker",
    "asked_judge",
    "fit_of",
    "judge_of",
    "task_of",
    "weight_of",
]
