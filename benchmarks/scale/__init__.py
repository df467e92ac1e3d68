"""Benchmarks of size: what each step costs from ten thousand to a million items."""
