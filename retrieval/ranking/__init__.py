"""Ranking. Reads a query, produces the target domain's candidates in order, with the score of each signal."""

from retrieval.ranking.query import eligible, history_profiles
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
