"""Systems under test. Reads training histories, produces scorers and judgements to compare."""

from eval.systems.baselines import BASELINES, cross_fitted
from eval.systems.judging import AT_ONCE, Judged, Progress, for_all, judge_tasks, ndcg_of, one_shuffle

__all__ = [
    "AT_ONCE",
    "BASELINES",
    "Judged",
    "Progress",
    "cross_fitted",
    "for_all",
    "judge_tasks",
    "ndcg_of",
    "one_shuffle",
]
