"""What is searched. Reads the store, produces snapshots (vectors, BM25, metadata) and interactions, all as files."""

from retrieval.index.facets import Facets
from retrieval.index.index import IncrementalReport, Index, has_index
from retrieval.index.interactions import (
    INTERACTIONS_FILE,
    DomainInteractions,
    InteractionTable,
    delete_user,
    user_preferences,
)
from retrieval.index.metadata import attribute_key
from retrieval.index.snapshot import ItemScores, Positions, Snapshot, centred

__all__ = [
    "INTERACTIONS_FILE", "DomainInteractions", "Facets", "IncrementalReport", "Index", "InteractionTable",
    "ItemScores", "Positions", "Snapshot", "attribute_key", "centred", "delete_user", "has_index",
    "user_preferences",
]  # fmt: skip
