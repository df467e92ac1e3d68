"""Benchmarks of retrieval: quality, speed, memory."""
