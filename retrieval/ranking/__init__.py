"""Ranking. Reads a query, produces the candidates of the target domain in order, with what each signal says."""

from retrieval.ranking.collaborative import Crowd
from retrieval.ranking.filters import eligible
from retrieval.ranking.fusion import BY_HAND, SOURCES, FusionFit, Source, Weight, fusion_fit, save_fusion
from retrieval.ranking.profile import liked_and_disliked
from retrieval.ranking.retriever import Retriever

__all__ = [
    "BY_HAND",
    "SOURCES",
    "Crowd",
    "FusionFit",
    "Retriever",
    "Source",
    "Weight",
    "eligible",
    "fusion_fit",
    "liked_and_disliked",
    "save_fusion",
]
