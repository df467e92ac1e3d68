"""Reranking. Reads a query and the retriever's ranking, produces a permutation of it.

A strategy is a coroutine of the table `RERANKERS`. What a model thinks of candidates is a `Judgement`, and a judge of
the table `JUDGES` gives one: by log-probabilities of labels over shuffles (`listwise`), by log-odds of yes
(`pointwise`), or by a permutation written as text (`generate`).
"""

from xdrec_agent.rerank.consistency import TOP, kendall_tau, shuffles
from xdrec_agent.rerank.context import Judgement, RerankContext, Reranked, Reranker, Scores, seed_of, standardised
from xdrec_agent.rerank.fits import Calibration, RerankFit, rerank_fits, save_fits
from xdrec_agent.rerank.judges import LABELS, list_prompt, listwise_logprob, shuffle_scores, single_prompt
from xdrec_agent.rerank.strategies import JUDGES, RERANKERS, TASK_OF, asked_judge, fit_of, judge_of, task_of, weight_of

__all__ = [
    "JUDGES", "LABELS", "RERANKERS", "TASK_OF", "TOP", "Calibration", "Judgement", "RerankContext", "RerankFit",
    "Reranked", "Reranker", "Scores", "asked_judge", "fit_of", "judge_of", "kendall_tau", "list_prompt",
    "listwise_logprob", "rerank_fits", "save_fits", "seed_of", "shuffle_scores", "shuffles", "single_prompt",
    "standardised", "task_of", "weight_of",
]  # fmt: skip
