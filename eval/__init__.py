"""Evaluation: protocols, metrics, paired statistics and benchmarks over the other two packages."""
