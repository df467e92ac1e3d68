"""The relation graph. Reads stored relations, produces paths between items and the items that relations lead to."""

from retrieval.relations.graph import PathFinder, RelationGraph

__all__ = ["PathFinder", "RelationGraph"]
