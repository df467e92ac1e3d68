"""Ranking. Reads titles, users or queries, produces queries, and the best candidates with the score of each signal."""

from retrieval.ranking.query import apply_exclusions, build_query, eligible, history_profiles
from retrieval.ranking.retriever import Retriever
from retrieval.ranking.signals import (
    SIGNALS,
    UNFITTED_WEIGHTS,
    CollaborativeSignals,
    FusionFit,
    Signal,
    SignalWeight,
    fusion_fit,
    save_fusion,
)

__all__ = [
    "SIGNALS", "UNFITTED_WEIGHTS", "CollaborativeSignals", "FusionFit", "Retriever", "Signal", "SignalWeight",
    "apply_exclusions", "build_query", "eligible", "fusion_fit", "history_profiles", "save_fusion",
]  # fmt: skip
