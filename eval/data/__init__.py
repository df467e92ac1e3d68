"""Evaluation data. Reads a store, produces cases by protocol, guarded against leakage."""

from eval.data.contamination import llm_training_users
from eval.data.history_ablation import Ablate, ShownHistory, ablation, unchanged
from eval.data.leakage import guard, guarded_cases, guarded_fit
from eval.data.out_of_fold import OutOfFold
from eval.data.plan import CasePlan, in_hash_order, plan_cases
from eval.data.protocols import (
    COLD_TARGET,
    FOLDS,
    TEST_FOLD,
    Baseline,
    Case,
    CatalogueScores,
    Scorer,
    Split,
    SplitName,
    cases,
    fitting_fold,
    histories,
    split_of,
)
from eval.data.rerank_tasks import CHANCE_NDCG, CandidateKind, RerankTask, rerank_tasks
from eval.data.slices import slices_of
from eval.data.sources import CACHE, Dataset, Say, data_hash, index_dir, open_dataset, store_url
from retrieval.folds import fold

__all__ = [
    "CACHE", "CHANCE_NDCG", "COLD_TARGET", "FOLDS", "TEST_FOLD", "Ablate", "Baseline", "CandidateKind", "Case",
    "CasePlan", "CatalogueScores", "Dataset", "OutOfFold", "RerankTask", "Say", "Scorer", "ShownHistory", "Split",
    "SplitName", "ablation", "cases", "data_hash", "fitting_fold", "fold", "guard", "guarded_cases", "guarded_fit",
    "histories", "in_hash_order", "index_dir", "llm_training_users", "open_dataset", "plan_cases", "rerank_tasks",
    "slices_of", "split_of", "store_url", "unchanged",
]  # fmt: skip
