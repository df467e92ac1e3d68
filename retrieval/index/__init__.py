"""What is searched. Reads the store, produces snapshots: vectors, BM25, interactions and metadata as files."""

from retrieval.index.facets import Facets
from retrieval.index.index import Additions, Index, indexed
from retrieval.index.interactions import FILE, Behaviour, Likes
from retrieval.index.metadata import attribute_key
from retrieval.index.snapshot import Positions, Scores, Snapshot, centred

__all__ = [
    "FILE",
    "Additions",
    "Behaviour",
    "Facets",
    "Index",
    "Likes",
    "Positions",
    "Scores",
    "Snapshot",
    "attribute_key",
    "centred",
    "indexed",
]
