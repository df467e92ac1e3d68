"""Fitting. Reads validation users, produces weights of signals and what a judge is worth."""

from eval.fitting.fusion import Weights, cross_fits, fit_apart, fit_shipped, picks_of
from eval.fitting.rerank import fit_all, fused, weigh

__all__ = ["Weights", "cross_fits", "fit_all", "fit_apart", "fit_shipped", "fused", "picks_of", "weigh"]
