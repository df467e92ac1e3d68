"""Statistics. Reads values by user, produces metrics, intervals, tests and verdicts."""

from eval.stats.aa_simulation import COVERAGE, ENOUGH, LEAST_ALARMS, MOST_ALARMS, MOST_SEQUENTIAL, Validity, simulate_aa
from eval.stats.bootstrap import Estimate, mean, ratio_of_means
from eval.stats.calibration import Scored, calibrate
from eval.stats.metrics import (
    METRICS,
    Places,
    by_kind,
    coverage,
    ndcg,
    places,
    places_within,
    recall,
    reciprocal_rank,
    references,
)
from eval.stats.optional_dependencies import packages_of
from eval.stats.paired import (
    ALPHA,
    MIN_USERS,
    ArmScores,
    PairedDifference,
    compare,
    decimals_for,
    holm,
    number_text,
    p_text,
    writer,
)
from eval.stats.sequential import ConfidenceSequence, Decision, Interval, StoppingRule, users_to_decide
from eval.stats.unpaired import UserDifference, compare_groups

__all__ = [
    "ALPHA",
    "COVERAGE",
    "ENOUGH",
    "LEAST_ALARMS",
    "METRICS",
    "MIN_USERS",
    "MOST_ALARMS",
    "MOST_SEQUENTIAL",
    "ArmScores",
    "ConfidenceSequence",
    "Decision",
    "Estimate",
    "Interval",
    "PairedDifference",
    "Places",
    "Scored",
    "StoppingRule",
    "UserDifference",
    "Validity",
    "by_kind",
    "calibrate",
    "compare",
    "compare_groups",
    "coverage",
    "decimals_for",
    "holm",
    "mean",
    "ndcg",
    "number_text",
    "p_text",
    "packages_of",
    "places",
    "places_within",
    "ratio_of_means",
    "recall",
    "reciprocal_rank",
    "references",
    "simulate_aa",
    "users_to_decide",
    "writer",
]
