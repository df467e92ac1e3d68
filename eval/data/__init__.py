"""Evaluation data. Reads a store, produces cases by protocol, guarded against leakage."""

from eval.data.contamination import met_by_llm
from eval.data.history_ablation import Ablate, Shown, ablation, own
from eval.data.leakage import Watched, guard, guard_training, guarded_cases
from eval.data.out_of_fold import Others
from eval.data.protocols import (
    COLD_TARGET,
    FOLDS,
    TEST_FOLD,
    Case,
    Split,
    SplitName,
    cases,
    fold,
    histories,
    part_of,
    split_of,
)
from eval.data.rerank_tasks import CHANCE_OF_20, Kind, Task, in_hash_order, tasks
from eval.data.scorers import Baseline, Scorer, Scores
from eval.data.slices import slices_of
from eval.data.sources import CACHE, Dataset, Say, data_hash, index_dir, open_dataset, store_url

__all__ = [
    "CACHE",
    "CHANCE_OF_20",
    "COLD_TARGET",
    "FOLDS",
    "TEST_FOLD",
    "Ablate",
    "Baseline",
    "Case",
    "Dataset",
    "Kind",
    "Others",
    "Say",
    "Scorer",
    "Scores",
    "Shown",
    "Split",
    "SplitName",
    "Task",
    "Watched",
    "ablation",
    "cases",
    "data_hash",
    "fold",
    "guard",
    "guard_training",
    "guarded_cases",
    "histories",
    "in_hash_order",
    "index_dir",
    "met_by_llm",
    "open_dataset",
    "own",
    "part_of",
    "slices_of",
    "split_of",
    "store_url",
    "tasks",
]
