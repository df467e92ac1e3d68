"""Benchmarks of reranking: quality and cost."""
