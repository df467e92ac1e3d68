"""Systems under test. Reads training histories, produces scorers and judgements to compare."""

from eval.systems.baselines import BASELINES, cross_fitted
from eval.systems.judging import (
    CONCURRENT_USERS,
    JudgedTask,
    ProgressLines,
    judge_tasks,
    run_concurrently,
    single_shuffle,
    task_ndcg,
)

__all__ = [
    "BASELINES", "CONCURRENT_USERS", "JudgedTask", "ProgressLines", "cross_fitted", "judge_tasks",
    "run_concurrently", "single_shuffle", "task_ndcg",
]  # fmt: skip
