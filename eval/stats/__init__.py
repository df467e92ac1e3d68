"""Statistics. Reads values by user, produces metrics, intervals, tests and verdicts."""

from eval.stats.aa_simulation import COVERAGE, ENOUGH, LEAST_ALARMS, MOST_ALARMS, MOST_SEQUENTIAL, Validity, simulate_aa
from eval.stats.bootstrap import Estimate, mean, ratio_of_means
from eval.stats.calibration import ScoredTask, calibrate
from eval.stats.difference import (
    ALPHA,
    MIN_USERS,
    Difference,
    decimals_for,
    holm,
    number_text,
    number_writer,
    p_text,
    verdict,
)
from eval.stats.metrics import (
    METRICS,
    TiedRanks,
    by_kind,
    coverage,
    ndcg,
    recall,
    reciprocal_rank,
    reference_scores,
    tied_ranks,
    tied_ranks_within,
)
from eval.stats.paired import ArmScores, PairedDifference, compare_differences, compare_paired
from eval.stats.sequential import ConfidenceSequence, Decision, SequentialInterval, StoppingRule, users_to_decide
from eval.stats.unpaired import UnpairedDifference, compare_unpaired

__all__ = [
    "ALPHA", "COVERAGE", "ENOUGH", "LEAST_ALARMS", "METRICS", "MIN_USERS", "MOST_ALARMS", "MOST_SEQUENTIAL",
    "ArmScores", "ConfidenceSequence", "Decision", "Difference", "Estimate", "PairedDifference", "ScoredTask",
    "SequentialInterval", "StoppingRule", "TiedRanks", "UnpairedDifference", "Validity", "by_kind", "calibrate",
    "compare_differences", "compare_paired", "compare_unpaired", "coverage", "decimals_for", "holm", "mean", "ndcg",
    "number_text", "number_writer", "p_text", "ratio_of_means", "recall", "reciprocal_rank", "reference_scores",
    "simulate_aa", "tied_ranks", "tied_ranks_within", "users_to_decide", "verdict",
]  # fmt: skip
