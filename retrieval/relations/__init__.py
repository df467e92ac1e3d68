"""The graph of facts. Reads stored relations, produces paths between items."""
