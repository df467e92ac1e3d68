"""Ranking. Reads a query, produces the target domain's candidates in order, with the score of each signal."""

from retrieval.ranking.collaborative import CollaborativeSignals
from retrieval.ranking.filters import eligible
from retrieval.ranking.fusion import (
    SIGNALS,
    UNFITTED_WEIGHTS,
    FusionFit,
    Signal,
    SignalWeight,
    fusion_fit,
    save_fusion,
)
from retrieval.ranking.profile import history_profiles
from retrieval.ranking.retriever import Retriever

__all__ = [
    "SIGNALS",
    "UNFITTED_WEIGHTS",
    "CollaborativeSignals",
    "FusionFit",
    "Retriever",
    "Signal",
    "SignalWeight",
    "eligible",
    "fusion_fit",
    "history_profiles",
    "save_fusion",
]
