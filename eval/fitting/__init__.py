"""Fitting. Reads validation users, produces weights of signals and what a judge is worth."""

from eval.fitting.fusion import UserWeights, choice_sets, cross_fit, cross_fit_weights, fit_weights
from eval.fitting.rerank import fit_judge_weight, fit_judges, hybrid_scores

__all__ = [
    "UserWeights", "choice_sets", "cross_fit", "cross_fit_weights", "fit_judge_weight", "fit_judges", "fit_weights",
    "hybrid_scores",
]  # fmt: skip
