"""The graph of facts. Reads stored relations, produces paths between items."""

from retrieval.relations.graph import RelationGraph

__all__ = ["RelationGraph"]
